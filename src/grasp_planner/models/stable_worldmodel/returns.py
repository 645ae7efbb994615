"""The reward, the Q ensemble and the policy of TD-MPC2: an objective without a goal, and initial actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem
from grasp_planner.core.returns import DiscountedReturn
from grasp_planner.models.policy_rollout import policy_rollout
from grasp_planner.models.stable_worldmodel.cores import TDMPC2Core, needed
from grasp_planner.models.stable_worldmodel.model import StableWorldModel


@dataclass(frozen=True, eq=False)
class Heads:
    """The heads of a TD-MPC2 model as functions of latents and model actions, with any leading axes.

    Args:
        model: the model, with ``reward``, ``pi``, ``qs`` and ``cfg.wm.num_bins, .vmin, .vmax``.
        uncertainty: weight of the disagreement of the Q ensemble.

    Raises:
        GraspPlannerError: the weight is negative.
    """

    model: Any
    uncertainty: float

    def __post_init__(self) -> None:
        at_least(self, 0, "uncertainty")

    def reward(self, states: Float[Tensor, "*batch s"], actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch"]:
        """Return the expected reward of a step."""
        return self._number(self.model.reward(torch.cat([states, actions], dim=-1)))

    def policy(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch a"]:
        """Return the mean action of the policy."""
        return torch.tanh(self.model.pi(states).chunk(2, dim=-1)[0])

    def value(self, states: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch"]:
        """Return the mean Q of the policy's action, less the weighted disagreement of the ensemble times its size."""
        both = torch.cat([states, self.policy(states)], dim=-1)
        found = torch.stack([self._number(q(both)) for q in self.model.qs])
        mean = found.mean(0)
        apart = found.std(0) if len(found) > 1 else torch.zeros_like(mean)
        return mean - self.uncertainty * mean.abs() * apart

    def _number(self, logits: Float[Tensor, "*batch bins"]) -> Float[Tensor, "*batch"]:
        """Return the number that two-hot logits stand for: symexp of the expected bin."""
        settings = self.model.cfg.wm
        bins = torch.linspace(settings.vmin, settings.vmax, settings.num_bins, dtype=logits.dtype, device=logits.device)
        expected = (logits.softmax(-1) * bins).sum(-1)
        return expected.sign() * torch.expm1(expected.abs())


def heads_of(model: StableWorldModel, uncertainty: float = 0.0) -> Heads:
    """Return the heads of a TD-MPC2 model.

    Raises:
        GraspPlannerError: the model is of another kind, or it lacks a head.
    """
    if not isinstance(model.core, TDMPC2Core):
        raise GraspPlannerError(f"rewards and values need a TD-MPC2 model, got {type(model.core.model).__name__}")
    for name in ("reward", "pi", "qs", "cfg.wm.num_bins", "cfg.wm.vmin", "cfg.wm.vmax"):
        needed(model.core.model, name)
    return Heads(model.core.model, uncertainty)


def tdmpc2_return(model: StableWorldModel, uncertainty: float = 0.5, discount: float = 0.99) -> DiscountedReturn:
    """Return the objective of TD-MPC2: its own reward up to the horizon, and its own Q ensemble after the horizon.

        V(s) = mean_i Q_i(s, pi(s)) - uncertainty * |mean_i Q_i| * std_i Q_i

    Args:
        model: a TD-MPC2 model, from ``from_stable_worldmodel``.
        uncertainty: weight of the disagreement of the Q ensemble.
        discount: the discount of a model step with which the model was trained.

    Raises:
        GraspPlannerError: the model is of another kind or lacks a head, or a number is out of range.

    Example:
        >>> model = from_stable_worldmodel(load_pretrained("user/tdmpc2"), units, frameskip=1)  # doctest: +SKIP
        >>> objective = tdmpc2_return(model)  # doctest: +SKIP
        >>> problem = Problem.observed(model, observations, None, 3, objective=objective)  # doctest: +SKIP

    Source: TD-MPC2 (Hansen, Su and Wang, ICLR 2024), in the form of stable-worldmodel's ``TDMPC2.get_cost``.
    """
    heads = heads_of(model, uncertainty)
    return DiscountedReturn(heads.reward, heads.value, discount)


def policy_actions(model: StableWorldModel, problem: Problem) -> Float[Tensor, "b t a"]:
    """Return the actions of TD-MPC2's policy along its own rollout, as ``warm_start`` of ``plan``.

    Every planner begins with its initial actions, and never returns a plan that is worse.

    Args:
        model: a TD-MPC2 model, from ``from_stable_worldmodel``.
        problem: problems in this model.

    Returns:
        The actions, ``(b, t, a)`` in the model's action units and within the bounds.

    Raises:
        GraspPlannerError: the model is of another kind, or it lacks a head.

    Example:
        >>> found = plan(problem, warm_start=policy_actions(model, problem))  # doctest: +SKIP
    """
    heads = heads_of(model)
    return policy_rollout(problem, lambda states, left: heads.policy(states), model)
