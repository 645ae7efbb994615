"""Planning in learned world models over long horizons: GRASP and its rivals behind one interface."""

from __future__ import annotations

from grasp_planner.agent import Agent
from grasp_planner.errors import GraspPlannerError
from grasp_planner.models.base import WorldModel, load_world_model
from grasp_planner.models.check import check_world_model
from grasp_planner.objectives import GoalDistance, Objective
from grasp_planner.planner import Planner, Progress, plan
from grasp_planner.planners import CEM, GD, GRASP, ICEM, MPPI, PLANNERS, LatCo, RandomShooting
from grasp_planner.plans import Budget, Plan, Status, WarmStart
from grasp_planner.problem import Dynamics, Markov, Problem

__version__ = "0.1.0"

__all__ = [
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "Agent",
    "Budget",
    "Dynamics",
    "GoalDistance",
    "GraspPlannerError",
    "LatCo",
    "Markov",
    "Objective",
    "Plan",
    "Planner",
    "Problem",
    "Progress",
    "RandomShooting",
    "Status",
    "WarmStart",
    "WorldModel",
    "check_world_model",
    "load_world_model",
    "plan",
]
