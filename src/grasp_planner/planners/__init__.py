"""Planners: one algorithm a file, all behind the same four methods."""

from __future__ import annotations

from grasp_planner.planners.cem import CEM
from grasp_planner.planners.gd import GD
from grasp_planner.planners.grasp import GRASP
from grasp_planner.planners.icem import ICEM
from grasp_planner.planners.latco import LatCo
from grasp_planner.planners.mppi import MPPI
from grasp_planner.planners.random_shooting import RandomShooting

PLANNERS = {
    "grasp": GRASP,
    "gd": GD,
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "latco": LatCo,
    "random_shooting": RandomShooting,
}

__all__ = ["CEM", "GD", "GRASP", "ICEM", "MPPI", "PLANNERS", "LatCo", "RandomShooting"]
