"""Agents that act for rewards in a batch of environments, and the table that compares their returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np

from grasp_planner import Agent, Budget, DiscountedReturn, Planner, WorldModel

Reset = Callable[[gymnasium.Env, int], np.ndarray]
"""A function of an environment and the number of its start that resets it and returns the observed state."""
Step = Callable[[gymnasium.Env, np.ndarray], tuple[np.ndarray, float]]
"""A function of an environment and one action that returns the next observed state and the reward."""


@dataclass(frozen=True)
class Driven:
    """The return of the episode from each start, and what a decision costs.

    Attributes:
        returns: (starts,) sum of the rewards of the episode.
        transitions: model transitions of a decision.
        calls: model calls of a decision for all starts together.
    """

    returns: np.ndarray
    transitions: float = 0.0
    calls: float = 0.0


@dataclass(frozen=True)
class Worlds:
    """A batch of environments with the same starts for all agents.

    Args:
        envs: the environments.
        reset: see ``Reset``.
        step: see ``Step``.
        decisions: model steps of an episode.
    """

    envs: Sequence[gymnasium.Env]
    reset: Reset
    step: Step
    decisions: int

    def play(self, act: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """Run an episode in each environment, and return the sums of the rewards.

        Args:
            act: function of the states (n, s) and of the number of the decision that returns environment actions
                (n, frameskip, e).
        """
        here = np.stack([self.reset(env, i) for i, env in enumerate(self.envs)])
        total = np.zeros(len(self.envs))
        for decision in range(self.decisions):
            for action in np.moveaxis(act(here, decision), 1, 0):
                outcomes = [self.step(env, one) for env, one in zip(self.envs, action, strict=True)]
                here = np.stack([state for state, _ in outcomes])
                total += [reward for _, reward in outcomes]
        return total

    def drive(
        self, model: WorldModel, planner: Planner, budget: Budget, objective: DiscountedReturn, horizon: int
    ) -> Driven:
        """Run an agent that plans before every model step."""
        count = len(self.envs)
        agent = Agent(
            model, planner, budget, horizon=horizon, objective=objective, seeds=list(range(count)), batch=count
        )
        transitions, calls = 0, 0

        def act(here: np.ndarray, decision: int) -> np.ndarray:
            nonlocal transitions, calls
            actions = agent.act({"state": here})
            assert agent.plan is not None
            transitions, calls = transitions + agent.plan.transitions, calls + agent.plan.calls
            return actions

        returns = self.play(act)
        return Driven(returns, transitions / self.decisions, calls / self.decisions)


def mean_and_error(values: np.ndarray) -> str:
    """Return the mean and its standard error as text."""
    return f"{values.mean():.1f} ({values.std(ddof=1) / len(values) ** 0.5:.1f})"


def print_table(rows: Iterable[tuple[str, int | None, Driven]]) -> None:
    """Print a line for each agent and horizon as soon as it is measured, compared with the first line."""
    print("| agent | horizon | mean return | difference from the first row | transitions | model calls |")
    print("|---|---:|---:|---:|---:|---:|")
    first: Driven | None = None
    for name, horizon, found in rows:
        first = found if first is None else first
        apart = mean_and_error(found.returns - first.returns)
        print(
            f"| {name} | {horizon or '-'} | {mean_and_error(found.returns)} | {apart} | {found.transitions:,.0f} | "
            f"{found.calls:.0f} |",
            flush=True,
        )
