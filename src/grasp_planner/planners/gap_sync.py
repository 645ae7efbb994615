"""The serial planner of a sync: which planners fit, and a deviation that follows the gap to the rollout."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Scored
from grasp_planner.core.problem import Problem
from grasp_planner.planning.protocol import Planner, SamplingPlanner, is_planner


def check_sync(sync: object, gap_std: float) -> None:
    """Raise unless ``sync`` can be the serial planner of GRASP.

    Raises:
        GraspPlannerError: it is neither ``None`` nor a planner, or a gap is asked for and the planner does not sample.
    """
    if sync is not None and not is_planner(sync):
        raise GraspPlannerError(f"GRASP.sync must be None or a planner such as GD(), got {sync!r}")
    if gap_std > 0 and not isinstance(sync, SamplingPlanner):
        raise GraspPlannerError(
            f"GRASP.gap_std sets the deviation of a sampling sync (CEM, ICEM, MPPI), got sync={sync!r}"
        )


def with_gap_std(
    problem: Problem,
    sync: Planner | None,
    serial: Any,
    virtual: Float[Tensor, "b t_less_1 s"],
    rolled_out: Scored,
    gap_std: float,
) -> Any:
    """Return the state of a sampling planner whose standard deviation is ``gap_std`` times the gap at each time step.

    Args:
        problem: the normalised problem.
        sync: the sampling planner.
        serial: its state.
        virtual: the virtual states.
        rolled_out: the rollout of the actions of the virtual states.
        gap_std: standard deviation of the actions per unit of the gap.
    """
    assert isinstance(sync, SamplingPlanner)  # see check_sync
    gap = gap_deviation(problem, virtual, rolled_out.states)
    return sync.with_std(serial, gap_std * gap.expand_as(rolled_out.actions))


def gap_deviation(
    problem: Problem, states: Float[Tensor, "b t_less_1 s"], rolled_out: Float[Tensor, "b t s"]
) -> Float[Tensor, "b t 1"]:
    """Compute the root mean square distance of virtual states from a rollout, as a standard deviation for each action.

    Action t gets the gap at s_t. The first action, whose state is exact, gets the mean over time. With a horizon of 1
    there is no virtual state, and the gap is the distance between the end of the rollout and the goal.

    Source: the CEM sync of the authors' code for LeWM, which uses variances in latent units. Here the gap is in units
    of the problem's scale.
    """
    if problem.horizon == 1:
        return (rolled_out[:, -1:] - problem.goal[:, None]).square().mean(-1, keepdim=True).sqrt()
    squared = (rolled_out[:, :-1] - states).square().mean(-1, keepdim=True)
    return torch.cat([squared.mean(1, keepdim=True), squared], dim=1).sqrt()
