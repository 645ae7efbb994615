"""The planners that must keep the promises: every row of PLANNERS, small and fast, some in several settings.

A new planner joins by one row here; `test_registry.py` fails until it has one. No test asks which planner it has:
what a planner may ask of a problem is a field of its row.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from grasp_planner import CEM, GD, GRASP, ICEM, MPPI, LatCo, Planner, RandomShooting


@dataclass(frozen=True)
class Row:
    name: str
    """The planner's name in PLANNERS."""
    variant: str
    planner: Planner
    differentiates: bool = True
    """Gradients of the model are used, so a fault in them alone is seen."""
    finite_bounds: bool = False
    """The planner cannot work with an infinite bound, and says so."""
    any_objective: bool = True
    """Objectives other than GoalDistance are accepted; otherwise they are refused."""
    one_row_is_one_step: bool = False
    """The rows of a problem in one model call are its time steps; otherwise each is a plan by itself."""
    rollouts_to_polish: int = 0
    """When all steps are made, the best plan is improved once more, for so many rollouts."""


ROWS = [
    Row("grasp", "", GRASP(sync_every=3, sync_steps=2), one_row_is_one_step=True),
    Row(
        "grasp",
        "particles-cem",
        GRASP(
            sync=CEM(samples=6, elites=3),
            sync_every=3,
            sync_steps=2,
            particles=2,
            start_std=0.2,
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
        one_row_is_one_step=True,
    ),
    Row("gd", "", GD(lr=0.1)),
    Row("gd", "sgd-starts-noise", GD(lr=0.02, optimiser="sgd", action_noise=0.05, starts=3, start_std=0.5)),
    Row("cem", "", CEM(samples=12, elites=4), differentiates=False),
    Row("icem", "", ICEM(samples=12, elites=4, decay=1.25), differentiates=False),
    Row("mppi", "", MPPI(samples=12, temperature=0.1), differentiates=False),
    Row("mppi", "constant-std", MPPI(samples=12, temperature=0.5, std=0.3, refit_std=False), differentiates=False),
    Row("latco", "", LatCo(dual_every=2, score_every=2, initial_noise=0.1), one_row_is_one_step=True),
    Row(
        "latco",
        "gauss-newton",
        LatCo(method="gauss_newton", damping=0.1, score_every=1),
        any_objective=False,
        one_row_is_one_step=True,
    ),
    Row("random_shooting", "", RandomShooting(samples=12), differentiates=False, finite_bounds=True),
    Row(
        "grasp",
        "polished",
        GRASP(sync_every=3, sync_steps=2, polish=GD(lr=0.1), polish_steps=3),
        one_row_is_one_step=True,
        rollouts_to_polish=4,
    ),
    Row(
        "latco",
        "polished",
        LatCo(polish=CEM(samples=6, elites=3, std=0.1), polish_steps=2),
        one_row_is_one_step=True,
        rollouts_to_polish=13,
    ),
]


def _id(row: Row) -> str:
    return "-".join(filter(None, (row.name, row.variant)))


every_row = pytest.mark.parametrize("row", ROWS, ids=_id)
# For what `plan` does before and after any planner: one that differentiates and one that samples stand for all.
some_rows = pytest.mark.parametrize("row", [ROWS[0], ROWS[5]], ids=_id)
