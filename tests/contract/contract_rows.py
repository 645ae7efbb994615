"""The planners and models of the contract tests. Every row of PLANNERS has small settings, some several settings.

A new planner needs one row in this table; `test_registry.py` fails without it. No contract test depends on the name of
a planner. The requirements of a planner on a problem are found by trial runs, and are not declared.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

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
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    LatCo,
    MultiStart,
    Planner,
    RandomShooting,
    Sequential,
    plan,
)
from grasp_planner.models import StateModel, StateModelConfig

HORIZON = 7  # model steps in the trial runs below; no planner has as many candidates


@dataclass(frozen=True)
class Row:
    name: str
    """The planner's name in PLANNERS."""
    variant: str
    planner: Planner

    @property
    def differentiates(self) -> bool:
        """Whether the planner uses gradients of the model, so that a fault only in gradients has an effect."""
        return _trial(self).gradients

    @property
    def lifts_one_plan(self) -> bool:
        """Whether some model call has a row per time step of one plan, so that a fault in one row spoils the plan."""
        return HORIZON in _trial(self).rows

    @property
    def finite_bounds(self) -> bool:
        """Whether the planner requires finite bounds, and says so in an error."""
        return not _accepts(self.planner, toys.problem(1, HORIZON, bound=float("inf")))

    @property
    def any_objective(self) -> bool:
        """Whether the planner accepts objectives other than GoalDistance."""
        return _accepts(self.planner, toys.problem(1, HORIZON, objective=Other()))

    @property
    def reads_the_budget(self) -> bool:
        """Whether a step depends on the spent share of the budget: two short runs do not equal one long run."""
        return _reads_the_budget(self.planner)


class Other:
    """The goal distance, as another class."""

    def terminal(self, states, goal):
        return GoalDistance().terminal(states, goal)

    def stage(self, states, actions, goal):
        return GoalDistance().stage(states, actions, goal)


@functools.cache
def _trial(row: Row) -> toys.Counted:
    """Record the model calls of a planner after the first plan is scored, until its last step."""
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


# GRASP with most of its settings away from their defaults.
SAMPLING_GRASP = GRASP(
    sync=CEM(samples=6, elites=3),
    sync_every=3,
    sync_steps=2,
    gap_std=1.0,
    initial_noise=0.1,
    reset_states=True,
    noise_schedule="linear",
    goal_schedule="linear",
)

ROWS = [
    Row("grasp", "", GRASP(sync_every=3, sync_steps=2)),
    Row(
        "grasp",
        "cem-sync",
        SAMPLING_GRASP,
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
    Row("gauss_newton", "", GaussNewton()),
    Row("gauss_newton", "no-secants", GaussNewton(damping=1.0, rollouts=1)),
    Row("gauss_newton", "sketched", GaussNewton(products=2, damping=1.0)),
    Row("multi_start", "gd", MultiStart(GD(lr=0.02, optimiser="sgd", action_noise=0.05), starts=3, start_std=0.5)),
    Row(
        "multi_start",
        "grasp-cem-sync",
        MultiStart(
            SAMPLING_GRASP,
            starts=2,
            start_std=0.2,
        ),
    ),
    Row(
        "multi_start",
        "gauss-newton-kicks",
        MultiStart(
            GaussNewton(rollouts=2),
            starts=4,
            start_std=0.3,
            restart_every=4,
            survivors=0.5,
            kick_std=0.2,
            kick_growth=1.5,
            noise_beta=2.0,
        ),
    ),
    Row(
        "multi_start",
        "grasp-gauss-newton",
        MultiStart(
            GRASP(sync=GaussNewton(), sync_every=2, sync_steps=3, score_first=True, reset_states=True, noise_beta=1.0),
            starts=2,
            restart_every=7,
            survivors=0.5,
        ),
    ),
    Row(
        "multi_start",
        "gauss-newton-race",
        MultiStart(GaussNewton(), starts=2, start_std=0.5, race_starts=4, race_steps=2, restart_every=4, kick_std=0.1),
    ),
    Row("multi_start", "latco", MultiStart(LatCo(score_every=2), starts=2, start_std=0.3)),
    Row(
        "sequential",
        "grasp-gd",
        Sequential(MultiStart(GRASP(sync_every=3, sync_steps=2), starts=2, start_std=0.2), GD(lr=0.1), share=0.4),
    ),
    Row("sequential", "smoothing", Sequential(GD(lr=0.1), CEM(samples=6, elites=3, std=0.1), share=0.5, smoothing=1.0)),
    Row("sequential", "latco-cem", Sequential(LatCo(score_every=2), CEM(samples=6, elites=3, std=0.1), share=0.3)),
    Row("augmented_lagrangian", "gd", AugmentedLagrangian(GD(lr=0.1), update_every=3)),
]


def _id(row: Row) -> str:
    return "-".join(filter(None, (row.name, row.variant)))


every_row = pytest.mark.parametrize("row", ROWS, ids=_id)
# For the parts of `plan` that do not depend on the planner, one gradient planner and one sampler are enough.
some_rows = pytest.mark.parametrize("row", [ROWS[0], ROWS[5]], ids=_id)


@dataclass(frozen=True)
class ModelRow:
    """One of our trainable models, untrained."""

    name: str
    config: StateModelConfig

    def model(self) -> StateModel:
        """Return the model in float64, with weights that change the state and do not depend on the random state."""
        model = StateModel(self.config).double()
        for seed, tensor in enumerate([*model.parameters(), model.get_buffer(self.inputs)]):
            tensor.detach().copy_(0.3 * toys.fixed(*tensor.shape, seed=seed))
        return model

    @property
    def inputs(self) -> str:
        """The name of the buffer through which actions move the state."""
        return {"plain": "dynamics.linear", "push_t": "dynamics.pusher"}[self.config.features]


_PLAIN = StateModelConfig(state_size=3, action_size=2, frameskip=2, substeps=2, width=8, depth=2, octaves=1)
_PUSH_T = StateModelConfig(state_size=7, action_size=2, features="push_t", frameskip=2, substeps=2, width=8, depth=2)

MODELS = [
    ModelRow("state", _PLAIN),
    ModelRow("state-mixture", replace(_PLAIN, experts=3)),
    ModelRow("push-t-state", _PUSH_T),
    ModelRow("push-t-state-mixture", replace(_PUSH_T, experts=3)),
]

every_model = pytest.mark.parametrize("asked", MODELS, ids=lambda asked: asked.name)
