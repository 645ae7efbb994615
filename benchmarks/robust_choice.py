"""Measure which of the plans that reach the goal under the model should be executed in the simulator.

A planner with many starts plans validation episodes. The plans of all starts that reach the goal under the model are
executed in the simulator. The first table compares criteria that choose one of them. The second table continues from
the plan of least cost by gradient descent, on the model and on a model with noise.

    python benchmarks/robust_choice.py --model pusht-state --horizons 60 80 --episodes 100 --rollouts 1000
    python benchmarks/robust_choice.py --model pusht-pixels --horizons 60 80 --episodes 100 --rollouts 300
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_planner import GD, Budget, MultiStart, Planner, Problem, Scored, TrustLaw, WorldModel, load_world_model
from grasp_planner.bench.analysing.significance import Paired
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import decoded, executable
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task, episodes, task
from grasp_planner.control.planner_files import planner_of, settings_of
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import better, score
from grasp_planner.core.world_model import SeesPictures, environment_actions, goal_objective, idle_block, model_actions
from grasp_planner.models import Ensemble, Sampled
from grasp_planner.planning.loop import run
from grasp_planner.trust.law import disagreement_of

PLANNER = MultiStart(GD(lr=0.2), starts=16, start_std=2.3)
Measure = Callable[[Problem, Tensor, Tensor], Tensor]
LARGE = 10.0  # the largest cost that a perturbed rollout counts, so that one rollout does not decide a mean
COPIES = 16
POLISHING_STEPS = 40


@dataclass(frozen=True)
class Remembering:
    """A planner around a planner that keeps the best plan of every row since each call of ``init``."""

    planner: Planner
    kept: list[Scored] = field(default_factory=list, compare=False)

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> tuple[Any, bool]:
        """Begin the inner planner and a new row of plans."""
        return self.planner.init(problem, actions, noise), True

    def step(self, problem: Problem, state: tuple[Any, bool], noise: Noise) -> tuple[tuple[Any, bool], Scored | None]:
        """Make a step of the inner planner, and keep what it scored."""
        inner, begins = state
        inner, scored = self.planner.step(problem, inner, noise)
        if scored is None:
            return (inner, begins), None
        if begins:
            self.kept.append(scored)
        else:
            self.kept[-1] = better(self.kept[-1], scored)
        return (inner, False), scored

    def actions(self, state: tuple[Any, bool]) -> Tensor:
        """Return the actions of the inner planner."""
        return self.planner.actions(state[0])


class Aligned:
    """A model of the same latents in the action units of another model, whose data had other statistics."""

    def __init__(self, model: WorldModel, like: WorldModel) -> None:
        self.model, self.like = model, like
        self.context, self.frameskip = like.context, like.frameskip
        self.low, self.high, self.scale = like.low, like.high, like.scale
        self.encode = like.encode

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict one step."""
        return self.model(states, model_actions(self.model, environment_actions(self.like, actions)))


class Noisy:
    """A world model with normal noise on every prediction, as ``Sampled`` needs it."""

    def __init__(self, model: WorldModel, std: float) -> None:
        self.model, self.std = model, std
        self.context, self.frameskip = model.context, model.frameskip
        self.low, self.high, self.scale = model.low, model.high, model.scale
        self.goal_weights = goal_objective(model).weights_like(model.scale)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict without noise."""
        return self.model(states, actions)

    def distribution(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prediction and the standard deviation of the noise."""
        after = self.model(states, actions)
        return after, (self.std * self.scale).expand_as(after)

    def encode(self, observations: Mapping[str, Any]) -> Tensor:
        """Encode observations with the model."""
        return self.model.encode(observations)

    def environment_actions(self, actions: Tensor) -> Tensor:
        """Convert action blocks to environment actions."""
        return environment_actions(self.model, actions)

    def model_actions(self, actions: Tensor) -> Tensor:
        """Convert environment actions to action blocks."""
        return model_actions(self.model, actions)


@dataclass(frozen=True)
class Candidates:
    """The plans of a task's episodes, in order of their cost: the plan that the planner returns is the first.

    Attributes:
        actions: (b, n, t, a).
        cost: (b, n).
        reach: (b, n) whether the plan reaches the goal under the model.
        hold: (b, n) whether it reaches the goal in the simulator; False for plans that were not executed.
    """

    problem: Problem
    actions: Tensor
    cost: Tensor
    reach: np.ndarray
    hold: np.ndarray


def candidates(
    chosen: Task, model: WorldModel, drawn: list[Episode], planner: MultiStart, rollouts: int, most: int
) -> Candidates:
    """Plan, keep the ``most`` plans of least cost for each episode, and execute those that reach the goal."""
    pixels = model.pixels if isinstance(model, SeesPictures) else None
    problem = problem_of(chosen, model, drawn, pixels=pixels)
    inner = Remembering(planner.planner)
    budget = Budget(transitions=rollouts * problem.horizon)
    run(problem, replace(planner, planner=inner), budget, seeds=[episode.seed for episode in drawn])
    count = (len(drawn), planner.starts)
    actions = torch.cat([one.actions.unflatten(0, count) for one in inner.kept], dim=1)
    cost = torch.cat([one.cost.unflatten(0, count) for one in inner.kept], dim=1)
    cost = torch.where(torch.isfinite(cost), cost, torch.inf)
    order = cost.argsort(dim=1, stable=True)[:, :most]
    rows = torch.arange(len(drawn))[:, None]
    actions, cost = actions[rows, order], cost[rows, order]
    kept = actions.shape[1]
    states = score(problem.repeat(kept), actions.flatten(0, 1)).states
    last = decoded(model, states[:, -1])
    assert last is not None, "the model does not decode states"
    goals = np.stack([episode.goal for episode in drawn])
    reach = chosen.success(last.reshape(len(drawn), kept, -1), goals[:, None])
    env, hold = chosen.make(), np.zeros_like(reach)
    for i, episode in enumerate(drawn):
        for j in np.flatnonzero(reach[i]):
            hold[i, j] = execute(chosen, episode, executable(model, actions[i, j]), env).success_end
    return Candidates(problem, actions, cost, reach, hold)


def criteria(model: WorldModel, other: WorldModel | None) -> dict[str, Measure]:
    """Return functions of problems, actions and costs (one row per candidate); the least value is chosen."""
    law = TrustLaw(step_error=0.01, samples=8)

    def perturbed(problem: Problem, actions: Tensor, std: float) -> Tensor:
        noise = std * Noise.of(0, 1).normal((COPIES, *actions.shape[1:]), actions.dtype)[0]
        costs = [score(problem, problem.clamp(actions + one)).cost.clamp(max=LARGE) for one in noise]
        return torch.stack(costs).mean(0)

    def idle(problem: Problem, actions: Tensor, _: Tensor) -> Tensor:
        longer = replace(problem, horizon=problem.horizon + 1)
        return score(longer, torch.cat([actions, idle_block(model).expand(len(actions), 1, -1)], dim=1)).cost

    def jerk(problem: Problem, actions: Tensor, _: Tensor) -> Tensor:
        return environment_actions(model, actions).flatten(1, 2).diff(dim=1).square().sum((1, 2))

    found: dict[str, Measure] = {
        "least cost": lambda problem, actions, cost: cost,
        "least effort": lambda problem, actions, cost: actions.square().sum((1, 2)),
        "least change of the actions": jerk,
        "action noise of 0.02": lambda problem, actions, cost: perturbed(problem, actions, 0.02),
        "action noise of 0.05": lambda problem, actions, cost: perturbed(problem, actions, 0.05),
        "action noise of 0.1": lambda problem, actions, cost: perturbed(problem, actions, 0.1),
        "trust law, last error": lambda problem, actions, cost: law.errors(problem, actions)[:, -1],
        "cost after an idle step": idle,
    }
    if other is None:
        return found
    aligned = Aligned(other, model)
    ensemble = Ensemble([model, aligned])

    def disagreement(problem: Problem, actions: Tensor, _: Tensor) -> Tensor:
        states = torch.cat([problem.start[:, None], problem.rollout(actions)[:, :-1]], dim=1)
        windows, blocks = problem.windows(states, actions)
        unsure = disagreement_of(ensemble, torch.cat([windows, torch.zeros_like(windows[..., :1])], dim=-1), blocks)
        assert unsure is not None
        return unsure.unflatten(0, actions.shape[:2]).sum(1)

    return found | {
        "disagreement of two models": disagreement,
        "worse cost of two models": lambda problem, actions, cost: torch.maximum(
            cost, score(problem.through(aligned), actions).cost
        ),
    }


def measured(measure: Measure, found: Candidates) -> np.ndarray:
    """Return the value (b, n) of a criterion for the plans that reach the goal; infinite for the others."""
    value = np.full(found.reach.shape, np.inf)
    if found.reach.any():
        rows = torch.from_numpy(found.reach.flatten()).nonzero()[:, 0]
        many = found.problem.repeat(found.reach.shape[1])
        problem = replace(many, **{name: getattr(many, name)[rows] for name in ("states", "past_actions", "goal")})
        with torch.no_grad():
            numbers = measure(problem, found.actions.flatten(0, 1)[rows], found.cost.flatten()[rows])
        value[found.reach] = numbers.nan_to_num(1e9).numpy()
    return value


def chosen_by(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the allowed candidate of least value for each episode, or the first candidate if none is allowed."""
    return np.where(allowed.any(1), np.where(allowed, values, np.inf).argmin(1), 0)


def area(values: np.ndarray, fails: np.ndarray) -> float:
    """Return the probability that a plan that fails has a larger value than a plan that holds."""
    fail, hold = values[fails], values[~fails]
    if not len(fail) or not len(hold):
        return float("nan")
    return float((fail[:, None] > hold).mean() + 0.5 * (fail[:, None] == hold).mean())


def polished(
    chosen: Task, model: WorldModel, drawn: list[Episode], found: Candidates, noise: float, copies: int
) -> tuple[np.ndarray, np.ndarray]:
    """Continue from the plan of least cost by gradient descent; return success under the model and in the simulator."""
    pixels = model.pixels if isinstance(model, SeesPictures) else None
    plans_in = Sampled(Noisy(model, noise), copies) if copies > 1 else model
    problem = problem_of(chosen, plans_in, drawn, pixels=pixels)
    actions = run(problem, GD(lr=0.02), Budget(steps=POLISHING_STEPS), warm_start=found.actions[:, 0]).actions
    last = decoded(model, score(found.problem, actions).states[:, -1])
    assert last is not None
    reach = chosen.success(last, np.stack([episode.goal for episode in drawn]))
    env, taken = chosen.make(), executable(model, actions)
    outcomes = [execute(chosen, episode, taken[i], env).success_end for i, episode in enumerate(drawn)]
    return reach, np.array(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pusht-state")
    parser.add_argument("--other", help="a second model, for the disagreement of an ensemble")
    parser.add_argument("--horizons", type=int, nargs="+", default=[60, 80])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--tolerance", type=float, default=0.1, help="largest cost of a plan that may be chosen")
    parser.add_argument("--candidates", type=int, default=24, help="plans per episode, those of least cost")
    parser.add_argument("--planner", default=json.dumps(settings_of(PLANNER)), help="settings of a multi_start")
    parser.add_argument("--no-polishing", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    planner = planner_of(json.loads(given.planner))
    assert isinstance(planner, MultiStart), "the planner must be a multi_start"
    model = load_world_model(given.model)
    measures = criteria(model, None if given.other is None else load_world_model(given.other))
    picked: dict[str, list[np.ndarray]] = {}
    values: dict[str, list[np.ndarray]] = {}
    fails, reached, polish = [], [], {"none": [], "GD": [], "GD, noise 0.02": []}
    for horizon in given.horizons:
        chosen = task("push_t/dset/v1", horizon)
        for first in range(0, given.episodes, 50):
            drawn = episodes(chosen, "validation", min(50, given.episodes - first), first)
            found = candidates(chosen, model, drawn, planner, given.rollouts, given.candidates)
            rows = np.arange(len(drawn))
            allowed = found.reach & (found.cost <= given.tolerance).numpy()
            fails.append(~found.hold[found.reach])
            reached.append(found.reach[:, 0])
            for name, measure in measures.items():
                value = measured(measure, found)
                values.setdefault(name, []).append(value[found.reach])
                picked.setdefault(name, []).append(found.hold[rows, chosen_by(value, allowed)])
            best = (found.hold & allowed).any(1) | found.hold[:, 0]
            picked.setdefault("best possible choice", []).append(best)
            polish["none"].append((found.reach[:, 0], found.hold[:, 0]))
            if not given.no_polishing:
                for name, copies in (("GD", 1), ("GD, noise 0.02", 8)):
                    polish[name].append(polished(chosen, model, drawn, found, 0.02, copies))
    failing = np.concatenate(fails)
    print(
        f"{len(np.concatenate(reached))} episodes, {np.concatenate(reached).mean():.1%} reach the goal under the model"
    )
    print(f"{len(failing)} plans that reach the goal under the model, of which {failing.sum()} fail in the simulator\n")
    print("| criterion | success in the simulator | only this | only least cost | failures ranked worse |")
    print("|---|---:|---:|---:|---:|")
    least = np.concatenate(picked["least cost"])
    for name, successes in picked.items():
        success = np.concatenate(successes)
        pair = Paired.of(success.tolist(), least.tolist())
        ranked = area(np.concatenate(values[name]), failing) if name in values else float("nan")
        print(f"| {name} | {success.mean():.1%} | {pair.first_only} | {pair.second_only} | {ranked:.2f} |")
    if given.no_polishing:
        return
    print("\n| polishing | success under the model | in the simulator | only this | only without | p |")
    print("|---|---:|---:|---:|---:|---:|")
    without = np.concatenate([hold for _, hold in polish["none"]])
    for name, pairs in polish.items():
        reach, hold = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        pair = Paired.of(hold.tolist(), without.tolist())
        print(
            f"| {name} | {reach.mean():.1%} | {hold.mean():.1%} | {pair.first_only} | {pair.second_only} | "
            f"{pair.p_value:.2g} |"
        )


if __name__ == "__main__":
    main()
