"""The information that stable-worldmodel's policy gives to a solver, and configured solvers."""

import foreign_swm as swm
import torch
from foreign_swm import BLOCK, SIDE
from torch import nn

from grasp_planner import GD, Budget
from grasp_planner.models import Statistics
from grasp_planner.models.stable_worldmodel.solver import WorldModelSolver

UNITS = Statistics((0.1, -0.1), (0.5, 2.0))


def lively(model):
    """Give a model random weights, and put it in training mode, where statistics would change."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.train()


def information(batch=2, frames=1, seed=0):
    """Return the information that the policy gives to its solver."""
    torch.manual_seed(seed)
    return {
        "pixels": torch.randn(batch, frames, 3, SIDE, SIDE),
        "goal": torch.randn(batch, 1, 3, SIDE, SIDE),
        "proprio": torch.randn(batch, frames, 4),
        "goal_proprio": torch.randn(batch, 1, 4),
        "extra": torch.randn(batch, frames, 2),
        "goal_extra": torch.randn(batch, 1, 2),
        "state": torch.randn(batch, frames, 4),
        "goal_state": torch.randn(batch, 1, 4),
        "action": torch.full((batch, 1, 2), torch.nan),
        "action_history": torch.randn(batch, frames - 1, BLOCK),
        "reward": torch.full((batch, 1), torch.nan, dtype=torch.float64),
        "id": torch.arange(batch)[:, None],
        "step_idx": torch.zeros(batch, 1, dtype=torch.int64),
        "env_name": ["x"] * batch,
    }


def solver(cost, planner=None, budget=None, *, n_envs=2, horizon=4, **rest):
    made = WorldModelSolver(planner or GD(), budget or Budget(steps=4), cost, **rest)
    made.configure(action_space=swm.Batched(n_envs), n_envs=n_envs, config=swm.PlanConfig(horizon, 2))
    return made


def evaluator(model=None, objective=None):
    return swm.ShootingCostEvaluator(lively(swm.LeWM()) if model is None else model, objective or swm.GoalMSE())
