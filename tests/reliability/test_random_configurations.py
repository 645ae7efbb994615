"""Every promise holds for random combinations of planners on random problems with random budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    AugmentedLagrangian,
    Budget,
    Chunked,
    Constrained,
    DiscountedReturn,
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    LatCo,
    Margin,
    MultiStart,
    Planner,
    Problem,
    RandomShooting,
    Sequential,
    Status,
    action_rate,
    always,
    eventually,
    inside_ball,
    plan,
)

PER_CHUNK, CHUNKS = 125, 16


class Rewarded:
    """A reward that grows as the last state gets closer to the goal."""

    def terminal(self, states, goal):
        return -torch.exp(-(states - goal).square().sum(-1))

    def stage(self, states, actions, goal):
        return 0.01 * actions.square().sum(-1)


class Draw:
    """Random planners, problems and budgets from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = numpy.random.default_rng(seed)

    def one(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: float, high: float) -> float:
        """Return a number between two, on a logarithmic scale; sometimes 0."""
        return 0.0 if self.rng.random() < 0.1 else float(low * (high / low) ** self.rng.random())

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def flag(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def sampler(self) -> Planner:
        samples = self.whole(2, 9)
        fit = {"samples": samples, "elites": self.whole(1, samples), "std": self.number(0.01, 10.0)}
        fit |= {"min_std": self.number(1e-3, 0.5), "momentum": self.one(0.0, 0.1, 0.9)}
        mppi = MPPI(samples=samples, temperature=self.number(1e-6, 1e6), std=fit["std"], refit_std=self.flag())
        icem = ICEM(**fit, noise_beta=self.number(0.1, 4), kept_share=self.one(0.0, 0.3, 1.0), decay=self.one(1, 1.5))
        return self.one(CEM(**fit), icem, mppi, RandomShooting(samples=samples))

    def grasp(self, depth: int) -> Planner:
        sync = None if self.rng.random() < 0.15 else self.planner(depth - 1)
        gap_std = self.number(0.1, 3.0) if isinstance(sync, (CEM, ICEM, MPPI)) and self.flag() else 0.0
        return GRASP(
            state_lr=self.number(1e-3, 2.0),
            action_lr=self.number(1e-3, 2.0),
            state_noise=self.number(1e-3, 5.0),
            goal_weight=self.number(1e-3, 10.0),
            sync=sync,
            sync_every=self.whole(1, 4),
            sync_steps=self.whole(1, 3),
            stop_gradient=self.flag(),
            optimiser=self.one("adam", "sgd"),
            initial_noise=self.number(0.01, 2.0),
            noise_schedule=self.one("constant", "linear"),
            goal_schedule=self.one("constant", "linear"),
            score_first=self.flag(),
            noise_beta=self.one(0.0, 1.0, 3.0),
            reset_states=self.flag(),
            reset_moments=self.flag(),
            gap_std=gap_std,
            state_epsilon=self.one(None, 1e-8, 0.1),
        )

    def planner(self, depth: int) -> Planner:
        leaves = [
            self.sampler,
            lambda: GD(self.number(1e-3, 3.0), self.one("adam", "sgd"), self.number(0.01, 1.0)),
            lambda: LatCo(
                self.one("first_order", "gauss_newton"),
                state_lr=self.number(1e-3, 1.0),
                action_lr=self.number(1e-3, 1.0),
                damping=self.number(1e-6, 10.0),
                dual_every=self.whole(1, 3),
                score_every=self.whole(1, 3),
                initial_noise=self.number(0.01, 2.0),
            ),
        ]
        leaves.append(
            lambda: GaussNewton(
                damping=1e-8 + self.number(1e-6, 100.0),
                accepted=self.one(0.1, 0.3, 1.0),
                rejected=self.one(1.0, 4.0),
                rollouts=self.whole(1, 4),
                products=self.whole(1, 4),
            )
        )
        if depth <= 0:
            return self.one(*leaves)()
        around = [
            lambda: self.grasp(depth),
            lambda: MultiStart(
                self.planner(depth - 1),
                starts=self.whole(1, 3),
                start_std=self.number(0.01, 5.0),
                restart_every=self.one(None, 1, 4),
                survivors=self.one(0.0, 0.5, 1.0),
                kick_std=self.number(0.01, 5.0),
                kick_growth=self.one(1.0, 2.0),
                noise_beta=self.one(0.0, 2.0),
                race_starts=self.one(None, 3, 4),
                race_steps=self.whole(1, 5),
            ),
            lambda: Sequential(self.planner(depth - 1), self.planner(depth - 1), share=float(self.rng.random())),
        ]
        return self.one(*leaves, *around, *around)()

    def problem(self) -> Problem:
        dtype, latent, action = self.one(torch.float32, torch.float64), self.whole(1, 3), self.whole(1, 2)
        model: Any = toys.Nonlinear(latent, action, seed=self.whole(0, 99)).to(dtype)
        if self.rng.random() < 0.3:
            model = toys.Remembering(self.whole(1, 3), latent, action)
        model = Chunked(model, rows=self.whole(1, 4)) if self.rng.random() < 0.1 else model
        objective = self.one(
            GoalDistance(),
            GoalDistance(),
            GoalDistance(weights=[self.number(0.1, 2.0) for _ in range(latent)], stage_weight=0.1, effort=0.01),
            Rewarded(),
        )
        scale = None if self.flag() else torch.tensor([0.05 + self.number(0.1, 9.0) for _ in range(latent)]).to(dtype)
        made = toys.problem(
            self.whole(1, 3),
            self.whole(1, 5),
            model,
            seed=self.whole(0, 10**6),
            latent=latent,
            action=action,
            bound=self.one(1.0, 0.01, 100.0, float("inf")),
            dtype=dtype,
            objective=objective,
            scale=scale,
        )
        return dataclasses.replace(made, low=made.high * 0.5) if self.rng.random() < 0.1 and made.high[0] < 9 else made

    def constrained(self, problem: Problem) -> Problem:
        """Return the problem with a random event as its constraint, with random settings."""
        bound = self.number(0.1, 2.0)
        low = Margin(lambda states, actions: bound - states[..., 0])
        zone = inside_ball(lambda states: states[..., :1], (self.number(0.1, 2.0),), 0.5, scale=0.1 + self.number(1, 9))
        rate = action_rate(self.number(0.01, 2.0), frameskip=problem.action_size)
        event = self.one(
            always(low),
            always(~zone, first=1) & eventually(low, self.whole(0, 3)),
            always(rate) & eventually(zone, last=self.whole(0, 6)),
            eventually(always(zone, last=1)) | ~always(rate | low),
        )
        limits = {"weight": self.number(0.1, 100.0), "clearance": self.number(0.01, 1.0)}
        limits |= {"violation_cost": self.number(1.0, 100.0), "smoothing": self.number(0.01, 1.0)}
        return problem.under(Constrained(problem.objective, event, **limits))

    def rewarded(self, problem: Problem) -> Problem:
        """Return the problem without a goal, with a random reward and perhaps a value."""
        width = self.number(0.5, 3.0)

        def near(states):
            return torch.exp(-(states / width).square().sum(-1))

        objective = DiscountedReturn(
            lambda states, actions: near(states - 0.5) - 0.01 * actions.square().sum(-1),
            self.one(None, near, lambda states: 3.0 - states[..., 0].abs()),
            self.one(1.0, 0.9, 0.5, 0.0),
        )
        return dataclasses.replace(problem, goal=None, objective=objective)

    def budget(self, problem: Problem) -> Budget:
        limits = {"steps": self.whole(0, 10), "transitions": self.whole(problem.horizon, 40 * problem.horizon)}
        return Budget(**{name: limits[name] for name in self.one(["steps"], ["transitions"], ["steps", "transitions"])})


def holds(problem: Problem, planner: Planner, budget: Budget, seeds: list[int]) -> bool:
    """Return whether it was planned (a planner may refuse a problem by name); every promise is asserted."""
    before = [part.clone() for part in (problem.states, problem.past_actions, problem.goal)]
    world = torch.get_rng_state()
    counted = toys.Counted(problem.dynamics)
    try:
        found = plan(problem.through(counted), planner, budget, seeds=seeds)
    except GraspPlannerError as error:
        assert any(word in str(error) for word in ("sum of squares", "needs them finite")), error
        return False
    assert torch.equal(world, torch.get_rng_state())
    for part, now in zip(before, (problem.states, problem.past_actions, problem.goal), strict=True):
        assert torch.equal(part, now)
    assert torch.isfinite(found.actions).all() and not found.actions.requires_grad
    assert (found.actions >= problem.low).all() and (found.actions <= problem.high).all()
    start = found.trace.cost[0]
    assert not (found.cost > start).any() and (found.trace.cost.diff(dim=0) <= 0).all()
    sound = torch.isfinite(found.cost)
    if found.violation is not None:
        margin = problem.objective.event.margin(torch.cat([problem.start[:, None], found.states], 1), found.actions)
        assert torch.equal(found.violation, torch.relu(-margin))
        told = (found.status == Status.NONFINITE) | (found.status == Status.INTERRUPTED)
        assert torch.equal(found.status == Status.VIOLATED, (margin < 0) & ~told)
        sound &= margin.abs() > 1e-4  # closer to the boundary, rounding decides whether the violation cost is added
    rolled_out = problem.rollout(found.actions).detach()
    cost = problem.cost(rolled_out, found.actions).detach()
    torch.testing.assert_close(found.cost[sound], cost[sound], rtol=2e-3, atol=1e-4)
    assert all(Status(value) in Status for value in found.status.tolist())
    assert found.calls == counted.calls and sum(counted.rows) <= found.transitions * problem.batch
    if (found.status == Status.BUDGET).all():  # otherwise the model was not evaluated for the problems that stopped
        assert sum(counted.rows) == found.transitions * problem.batch
    assert budget.steps is None or found.steps <= budget.steps
    assert budget.transitions is None or found.transitions <= budget.transitions
    again = plan(problem, planner, budget, seeds=seeds)
    assert torch.equal(again.actions, found.actions) and torch.equal(again.status, found.status)
    return True


@contextmanager
def named(configuration: str) -> Iterator[None]:
    """Name the configuration in every error of the block, so that it can be run again."""
    try:
        yield
    except BaseException as error:
        error.add_note(configuration)
        raise


def test_random_configurations_with_constraints(figure):
    planned = 0
    for k in range(PER_CHUNK):
        draw = Draw(10**6 + k)
        planner, problem = draw.planner(depth=1), draw.constrained(draw.problem())
        if draw.flag():
            planner = AugmentedLagrangian(planner, update_every=draw.whole(1, 5))
        budget = draw.budget(problem)
        with named(f"configuration {10**6 + k}: {planner} with {budget}"):
            planned += holds(problem, planner, budget, [draw.whole(0, 99)] * problem.batch)
    figure("random configurations with constraints", PER_CHUNK)
    assert planned > 0.75 * PER_CHUNK


def test_random_configurations_of_rewards(figure):
    planned = 0
    for k in range(PER_CHUNK):
        draw = Draw(2 * 10**6 + k)
        planner, problem = draw.planner(depth=1), draw.rewarded(draw.problem())
        if draw.rng.random() < 0.2:
            problem = draw.constrained(problem)
        budget = draw.budget(problem)
        with named(f"configuration {2 * 10**6 + k}: {planner} with {budget}"):
            planned += holds(problem, planner, budget, [draw.whole(0, 99)] * problem.batch)
    figure("random configurations of rewards", PER_CHUNK)
    assert planned > 0.5 * PER_CHUNK


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_configurations(chunk, figure):
    planned = 0
    for k in range(PER_CHUNK):
        draw = Draw(1000 * chunk + k)
        planner, problem = draw.planner(depth=2), draw.problem()
        budget = draw.budget(problem)
        with named(f"configuration {1000 * chunk + k}: {planner} with {budget}"):
            planned += holds(problem, planner, budget, [draw.whole(-(2**62), 2**62) for _ in range(problem.batch)])
    figure("random configurations", PER_CHUNK)
    figure("of these refused by name", PER_CHUNK - planned)
    assert planned > 0.75 * PER_CHUNK
