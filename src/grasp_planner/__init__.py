"""Planning in learned world models over long horizons: GRASP and other planners behind one interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grasp_planner.control.agent import Agent
    from grasp_planner.control.planner_files import load_planner, save_planner
    from grasp_planner.core.constraints import Constrained
    from grasp_planner.core.dynamics import Dynamics, Markov
    from grasp_planner.core.errors import GraspPlannerError
    from grasp_planner.core.events import Event, Margin, always, eventually
    from grasp_planner.core.margins import action_rate, along_the_way, inside_ball, inside_box
    from grasp_planner.core.objectives import GoalDistance, Objective
    from grasp_planner.core.plans import Budget, Plan, Scored, Status, WarmStart
    from grasp_planner.core.problem import Problem
    from grasp_planner.core.returns import DiscountedReturn
    from grasp_planner.core.world_model import WorldModel
    from grasp_planner.models.check import check_world_model
    from grasp_planner.models.registry import load_world_model
    from grasp_planner.planners import (
        CEM,
        GD,
        GRASP,
        ICEM,
        MPPI,
        PLANNERS,
        AugmentedLagrangian,
        GaussNewton,
        LatCo,
        MultiStart,
        RandomShooting,
        Sequential,
    )
    from grasp_planner.planners.recommended import plan, recommended
    from grasp_planner.planning.protocol import Planner, Progress
    from grasp_planner.trust.diagnosis import diagnose
    from grasp_planner.trust.law import TrustLaw
    from grasp_planner.wrappers.chunked import Chunked
    from grasp_planner.wrappers.compiled import Compiled
    from grasp_planner.wrappers.low_precision import LowPrecision

__version__ = "0.3.0"

__all__ = [
    "inside_box",
    "inside_ball",
    "action_rate",
    "along_the_way",
    "eventually",
    "always",
    "Margin",
    "Event",
    "Constrained",
    "AugmentedLagrangian",
    "DiscountedReturn",
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "Agent",
    "Budget",
    "Chunked",
    "Compiled",
    "Dynamics",
    "GaussNewton",
    "GoalDistance",
    "GraspPlannerError",
    "LatCo",
    "LowPrecision",
    "Markov",
    "MultiStart",
    "Objective",
    "Plan",
    "Planner",
    "Problem",
    "Progress",
    "RandomShooting",
    "Scored",
    "Sequential",
    "Status",
    "TrustLaw",
    "WarmStart",
    "WorldModel",
    "check_world_model",
    "diagnose",
    "load_planner",
    "load_world_model",
    "plan",
    "recommended",
    "save_planner",
]

# Names are imported at their first access: torch takes seconds to import, and `grasp --help`, the environments and the
# processes that collect data do not need it.
_HOMES = {
    "CEM": "planners",
    "GD": "planners",
    "GRASP": "planners",
    "ICEM": "planners",
    "MPPI": "planners",
    "PLANNERS": "planners",
    "Agent": "control.agent",
    "AugmentedLagrangian": "planners",
    "Budget": "core.plans",
    "Chunked": "wrappers.chunked",
    "Compiled": "wrappers.compiled",
    "Constrained": "core.constraints",
    "DiscountedReturn": "core.returns",
    "Dynamics": "core.dynamics",
    "Event": "core.events",
    "GaussNewton": "planners",
    "GoalDistance": "core.objectives",
    "GraspPlannerError": "core.errors",
    "LatCo": "planners",
    "LowPrecision": "wrappers.low_precision",
    "Margin": "core.events",
    "Markov": "core.dynamics",
    "MultiStart": "planners",
    "Objective": "core.objectives",
    "Plan": "core.plans",
    "Planner": "planning.protocol",
    "Problem": "core.problem",
    "Progress": "planning.protocol",
    "RandomShooting": "planners",
    "Scored": "core.plans",
    "Sequential": "planners",
    "Status": "core.plans",
    "TrustLaw": "trust.law",
    "WarmStart": "core.plans",
    "WorldModel": "core.world_model",
    "action_rate": "core.margins",
    "along_the_way": "core.margins",
    "always": "core.events",
    "check_world_model": "models.check",
    "diagnose": "trust.diagnosis",
    "eventually": "core.events",
    "inside_ball": "core.margins",
    "inside_box": "core.margins",
    "load_planner": "control.planner_files",
    "load_world_model": "models.registry",
    "plan": "planners.recommended",
    "recommended": "planners.recommended",
    "save_planner": "control.planner_files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"grasp_planner.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
