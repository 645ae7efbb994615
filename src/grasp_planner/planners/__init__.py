"""Planners, one algorithm per file. All planners have the same three methods."""

from __future__ import annotations

from grasp_planner.planners.cem import CEM
from grasp_planner.planners.gauss_newton import GaussNewton
from grasp_planner.planners.gd import GD
from grasp_planner.planners.grasp import GRASP
from grasp_planner.planners.icem import ICEM
from grasp_planner.planners.latco import LatCo
from grasp_planner.planners.mppi import MPPI
from grasp_planner.planners.random_shooting import RandomShooting
from grasp_planner.planning.augmented_lagrangian import AugmentedLagrangian
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.sequential import Sequential

PLANNERS = {
    "grasp": GRASP,
    "gd": GD,
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "latco": LatCo,
    "random_shooting": RandomShooting,
    "gauss_newton": GaussNewton,
    "multi_start": MultiStart,
    "sequential": Sequential,
    "augmented_lagrangian": AugmentedLagrangian,
}

__all__ = [
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "AugmentedLagrangian",
    "GaussNewton",
    "LatCo",
    "MultiStart",
    "RandomShooting",
    "Sequential",
]
