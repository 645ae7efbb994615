"""The planners that must keep the promises: every row of PLANNERS, small and fast, some in several settings.

A new planner joins by one row here; `test_registry.py` fails until it has one. No test asks which planner it has. What
a planner needs of a problem is found by trying it out, not declared.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Budget,
    GoalDistance,
    GraspPlannerError,
    LatCo,
    MultiStart,
    Planner,
    RandomShooting,
    Sequential,
    plan,
)

HORIZON = 7  # of the trials below; no planner has as many candidates


@dataclass(frozen=True)
class Row:
    name: str
    """The planner's name in PLANNERS."""
    variant: str
    planner: Planner

    @property
    def differentiates(self) -> bool:
        """Gradients of the model are used, so a fault in them alone is seen."""
        return _trial(self).gradients

    @property
    def lifts_one_plan(self) -> bool:
        """In some model call the rows of a problem are the time steps of one plan, so a fault in one spoils it."""
        return HORIZON in _trial(self).rows

    @property
    def finite_bounds(self) -> bool:
        """The planner cannot work with an infinite bound, and says so."""
        return not _accepts(self.planner, toys.problem(1, HORIZON, bound=float("inf")))

    @property
    def any_objective(self) -> bool:
        """Objectives other than GoalDistance are accepted; otherwise they are refused."""
        return _accepts(self.planner, toys.problem(1, HORIZON, objective=Other()))

    @property
    def reads_the_budget(self) -> bool:
        """What a step does depends on the share of the budget that is spent: two short runs are not one long run."""
        return _reads_the_budget(self.planner)


class Other:
    """The goal distance by another name."""

    def terminal(self, states, goal):
        return GoalDistance().terminal(states, goal)

    def stage(self, states, actions, goal):
        return GoalDistance().stage(states, actions, goal)


@functools.cache
def _trial(row: Row) -> toys.Counted:
    """What a planner asks of a model after the first plan is scored, until its last step."""
    model = toys.Counted(toys.Nonlinear())
    asked = toys.Counted(toys.Nonlinear())

    def watch(progress):
        asked.rows, asked.gradients = list(model.rows[HORIZON:]), model.gradients

    plan(toys.problem(1, HORIZON, model), row.planner, Budget(steps=12), seeds=1, callback=watch)
    return asked


@functools.cache
def _accepts(planner: Planner, problem) -> bool:
    try:
        plan(problem, planner, Budget(steps=1))
    except GraspPlannerError:
        return False
    return True


@functools.cache
def _reads_the_budget(planner: Planner) -> bool:
    seen = []
    for steps in (10, 20):
        actions = []
        plan(
            toys.problem(1, HORIZON),
            planner,
            Budget(steps=steps),
            seeds=1,
            callback=lambda p, a=actions: a.append(planner.actions(p.state)) if p.step else None,
        )
        seen.append(torch.stack(actions[:10]))
    return not torch.equal(*seen)


ROWS = [
    Row("grasp", "", GRASP(sync_every=3, sync_steps=2)),
    Row(
        "grasp",
        "cem-sync",
        GRASP(
            sync=CEM(samples=6, elites=3),
            sync_every=3,
            sync_steps=2,
            gap_std=1.0,
            initial_noise=0.1,
            reset_states=True,
            noise_schedule="linear",
            goal_schedule="linear",
        ),
    ),
    Row(
        "grasp",
        "sgd-full-gradient",
        GRASP(optimiser="sgd", sync=None, sync_every=2, stop_gradient=False, reset_moments=False),
    ),
    Row("gd", "", GD(lr=0.1)),
    Row("gd", "sgd-noise", GD(lr=0.02, optimiser="sgd", action_noise=0.05)),
    Row("cem", "", CEM(samples=12, elites=4)),
    Row("icem", "", ICEM(samples=12, elites=4, decay=1.25)),
    Row("mppi", "", MPPI(samples=12, temperature=0.1)),
    Row("mppi", "constant-std", MPPI(samples=12, temperature=0.5, std=0.3, refit_std=False)),
    Row("latco", "", LatCo(dual_every=2, score_every=2, initial_noise=0.1)),
    Row("latco", "gauss-newton", LatCo(method="gauss_newton", damping=0.1, score_every=1)),
    Row("random_shooting", "", RandomShooting(samples=12)),
    Row("multi_start", "gd", MultiStart(GD(lr=0.02, optimiser="sgd", action_noise=0.05), starts=3, start_std=0.5)),
    Row(
        "multi_start",
        "grasp-cem-sync",
        MultiStart(
            GRASP(
                sync=CEM(samples=6, elites=3),
                sync_every=3,
                sync_steps=2,
                gap_std=1.0,
                initial_noise=0.1,
                reset_states=True,
                noise_schedule="linear",
                goal_schedule="linear",
            ),
            starts=2,
            start_std=0.2,
        ),
    ),
    Row("multi_start", "latco", MultiStart(LatCo(score_every=2), starts=2, start_std=0.3)),
    Row(
        "sequential",
        "grasp-gd",
        Sequential(MultiStart(GRASP(sync_every=3, sync_steps=2), starts=2, start_std=0.2), GD(lr=0.1), share=0.4),
    ),
    Row("sequential", "latco-cem", Sequential(LatCo(score_every=2), CEM(samples=6, elites=3, std=0.1), share=0.3)),
]


def _id(row: Row) -> str:
    return "-".join(filter(None, (row.name, row.variant)))


every_row = pytest.mark.parametrize("row", ROWS, ids=_id)
# For what `plan` does before and after any planner: one that differentiates and one that samples stand for all.
some_rows = pytest.mark.parametrize("row", [ROWS[0], ROWS[5]], ids=_id)
