"""``WorldModelSolver``: any planner as a solver for stable-worldmodel's ``WorldModelPolicy``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import Objective
from grasp_planner.core.plans import Budget, Plan
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import SeesPictures, WorldModel, goal_objective
from grasp_planner.models.normalisation import identity_statistics
from grasp_planner.models.stable_worldmodel.cores import core_of
from grasp_planner.models.stable_worldmodel.model import StableWorldModel
from grasp_planner.models.stable_worldmodel.objective import objective_like
from grasp_planner.models.use_settings import UseSettings
from grasp_planner.planning.loop import run
from grasp_planner.planning.protocol import Planner, Progress

# Entries of an information dictionary that are not observations. The action is NaN right after a reset.
_NO_OBSERVATIONS = ("action", "action_history", "reward", "terminated", "truncated", "id", "step_idx")


class WorldModelSolver:
    """A solver for stable-worldmodel's policy, with the methods ``configure``, ``solve`` and ``__call__``.

    A call plans for the problems in the given tensors, which may belong to only some of the environments. The horizon
    is ``config.horizon`` model steps of ``config.action_block`` environment actions each. A plan starts from
    ``init_action``, with zeros appended if it is too short. During a call, the model is frozen and in evaluation mode.
    After the call, the model is in its previous mode.

    Args:
        planner: any planner, for example a class in ``PLANNERS``.
        budget: the budget of each call.
        cost: an evaluator of stable-worldmodel with a ``model`` (and an ``objective``), or the model itself. Give
            exactly one of ``cost`` and ``model``.
        model: any :class:`~grasp_planner.core.world_model.WorldModel` of this package, in the policy's action units.
        objective: ``None``: the objective of ``cost`` (GoalMSE, ControlPenalty, WeightedSum), or the goal distance
            with the model's own weights if there is none.
        low: lowest action in the solver's units: one number, one per coordinate of an environment action, or one per
            coordinate of a block. ``None``: the bounds of ``model``; with ``cost`` there is no bound, since the
            policy's scaler is not known.
        high: highest action, in the same form.
        action_scaler: ``process["action"]`` of the policy, which maps the bounds of the environment's action space.
        seed: seed of the planner's noise. Every call has noise of its own, which it shares with no other seed.
        callbacks: recorders of stable-worldmodel. They are called after every planner step with the best plan so far:
            ``step``, ``params``, ``candidates`` (b, 1, horizon, block), ``cost`` and ``costs`` (b, 1).

    Attributes:
        plan: the last :class:`~grasp_planner.core.plans.Plan`, with status, cost and trace; ``None`` before the first
            call.

    Raises:
        GraspPlannerError: arguments do not fit together, or the model has no one-step prediction in its latent.

    Example:
        >>> from grasp_planner import GRASP, load_world_model
        >>> solver = WorldModelSolver(GRASP(), Budget(seconds=2.0), model=load_world_model("pusht-state"))

        ``examples/stable_worldmodel_solver.py`` makes the calls of stable-worldmodel's policy.

    Source: the solver protocol of stable-worldmodel 0.1.1 and of its main branch of August 2026. Differences from the
    solvers in stable-worldmodel: actions respect the bounds, problems do not influence each other, nothing is printed,
    and ``costs`` is the cost of the returned plan.
    """

    def __init__(
        self,
        planner: Planner,
        budget: Budget,
        cost: Any = None,
        *,
        model: WorldModel | None = None,
        objective: Objective | None = None,
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        action_scaler: Any = None,
        seed: int = 0,
        callbacks: Sequence[Any] = (),
    ) -> None:
        if (cost is None) == (model is None):
            raise GraspPlannerError("WorldModelSolver needs either cost= (or a model of stable-worldmodel) or model=")
        if action_scaler is not None and (low is not None or high is not None):
            raise GraspPlannerError("give low= and high=, or action_scaler=, which takes them from the environment")
        self.planner, self.budget, self.seed = planner, budget, seed
        self.cost, self.given_model, self.objective = cost, model, objective
        self.low, self.high, self.action_scaler = low, high, action_scaler
        self.callbacks = list(callbacks)
        self.plan: Plan | None = None
        self._calls = 0
        self._setting: _Setting | None = None

    def configure(self, *, action_space: Any, n_envs: int, config: Any) -> None:
        """Set the environments and the shape of a plan.

        Args:
            action_space: the batched action space (n_envs, ...).
            n_envs: number of environments.
            config: a config with ``horizon`` (model steps) and ``action_block`` (environment steps per model step).

        Raises:
            GraspPlannerError: actions are discrete, or the model takes blocks of another size.
        """
        shape = tuple(getattr(action_space, "shape", None) or ())
        if len(shape) < 2 or not str(getattr(action_space, "dtype", "")).startswith("float"):
            raise GraspPlannerError(f"needed a batched space of continuous actions (n, size), got {action_space!r}")
        each, block = math.prod(shape[1:]), int(config.action_block)
        if self.given_model is None:
            inner = self.cost if not isinstance(getattr(self.cost, "model", None), nn.Module) else self.cost.model
            if not isinstance(inner, nn.Module):
                raise GraspPlannerError(
                    f"needed a model with one step in its latent space (LeWM, PLDM, PreJEPA, TDMPC2) as cost or "
                    f"cost.model, got {type(inner).__name__}; wrap your own as a WorldModel and pass model="
                )
            use = UseSettings(bounds=(-math.inf, math.inf))
            model: WorldModel = StableWorldModel(core_of(inner), identity_statistics(each, 0), block, use=use)
        else:
            model = self.given_model
        if len(model.low) != each * block:
            raise GraspPlannerError(
                f"the model takes action blocks of {len(model.low)} numbers; {block} actions of {each} numbers make "
                f"{each * block}"
            )
        low, high = self._bounds(action_space, each, block, model)
        objective, factor = self._objective_of(model)
        self._setting = _Setting(model, objective, factor, low, high, int(n_envs), int(config.horizon))

    def _bounds(self, action_space: Any, each: int, block: int, model: WorldModel) -> tuple[Tensor, Tensor]:
        """Return the bounds of an action block, in the solver's units."""
        low, high = self.low, self.high
        if self.action_scaler is not None:
            ends = (action_space.low[0].reshape(1, -1), action_space.high[0].reshape(1, -1))
            first, second = (torch.as_tensor(self.action_scaler.transform(end)).flatten() for end in ends)
            low, high = torch.minimum(first, second).tolist(), torch.maximum(first, second).tolist()
        return (
            model.low if low is None else _block(low, each, block, model.low, "low"),
            model.high if high is None else _block(high, each, block, model.high, "high"),
        )

    def _objective_of(self, model: WorldModel) -> tuple[Objective, float]:
        """Return the objective, and the factor from its costs to the units of the given objective."""
        if self.objective is not None:
            return self.objective, 1.0
        if isinstance(model, StableWorldModel):
            return objective_like(getattr(self.cost, "objective", None), model)
        return goal_objective(model), 1.0

    @property
    def setting(self) -> _Setting:
        """The setting from ``configure``.

        Raises:
            GraspPlannerError: ``configure`` has not been called.
        """
        if self._setting is None:
            raise GraspPlannerError("call configure(action_space=, n_envs=, config=) first; WorldModelPolicy does")
        return self._setting

    @property
    def n_envs(self) -> int:
        """Number of environments."""
        return self.setting.n_envs

    @property
    def action_dim(self) -> int:
        """Numbers in an action block."""
        return len(self.setting.low)

    @property
    def horizon(self) -> int:
        """Horizon of a plan, in model steps."""
        return self.setting.horizon

    def __call__(self, info_dict: Mapping[str, Any], init_action: Tensor | None = None) -> dict[str, Any]:
        """Call ``solve``. The policy calls its solver in this way."""
        return self.solve(info_dict, init_action)

    def solve(self, info_dict: Mapping[str, Any], init_action: Tensor | None = None) -> dict[str, Any]:
        """Plan for every problem in ``info_dict``.

        Args:
            info_dict: observations (b, frames, ...) and their goals (``"goal"`` for pixels, ``"goal_<key>"`` for other
                keys). With several frames it must hold ``"action_history"`` (b, frames - 1, block). It is not changed.
            init_action: (b, t, block) the initial actions, for any t.

        Returns:
            ``actions`` (b, horizon, block), float32 on the CPU; ``costs`` and ``status`` (see
            :class:`~grasp_planner.core.plans.Status`), one number per problem each; ``callbacks``, if there are any.

        Raises:
            GraspPlannerError: observations, goals or actions have another shape than the model takes.
        """
        setting = self.setting
        # The policy may run in inference mode, whose tensors cannot be used in a gradient.
        with torch.inference_mode(False):
            problem = setting.problem(info_dict)
            start = _padded(init_action, problem)
        for callback in self.callbacks:
            callback.reset()
            callback.start_batch()
        found = run(
            problem,
            self.planner,
            self.budget,
            seeds=Noise.of(self.seed, problem.batch).fold(self._calls),
            warm_start=start,
            callback=self._record if self.callbacks else None,
        )
        self._calls += 1
        self.plan = found
        result: dict[str, Any] = {
            "actions": found.actions.detach().to("cpu", torch.float32),
            "costs": (found.cost * setting.factor).tolist(),
            "status": found.status.tolist(),
        }
        if self.callbacks:
            for callback in self.callbacks:
                callback.end_solve()
            result["callbacks"] = {callback.output_key: callback.history for callback in self.callbacks}
        return result

    def _record(self, progress: Progress) -> None:
        """Pass the best plans to the recorders, except before the first step, which recorders do not expect."""
        if progress.step == 0:
            return
        costs = progress.best.cost[:, None] * self.setting.factor
        candidates = progress.best.actions[:, None]
        for callback in self.callbacks:
            callback(step=progress.step - 1, params=candidates, candidates=candidates, cost=costs.sum(), costs=costs)


@dataclass(frozen=True, eq=False)
class _Setting:
    """The model, the objective and the shape of a plan, which ``configure`` determines."""

    model: WorldModel
    objective: Objective
    factor: float
    low: Float[Tensor, " a"]
    high: Float[Tensor, " a"]
    n_envs: int
    horizon: int

    def problem(self, info: Mapping[str, Any]) -> Problem:
        """Make the problems that the tensors describe."""
        tensors = {key: value for key, value in info.items() if isinstance(value, Tensor) and value.ndim >= 2}
        seen = {
            key: value
            for key, value in tensors.items()
            if key not in _NO_OBSERVATIONS and key != "goal" and not key.startswith("goal_")
        }
        wanted = {key.removeprefix("goal_"): value[:, -1:] for key, value in tensors.items() if key.startswith("goal_")}
        if "goal" in tensors:
            wanted["pixels"] = tensors["goal"][:, -1:]
        if not seen or not wanted:
            raise GraspPlannerError(f"needed observations and a goal ('goal' or 'goal_<key>'), got {sorted(info)}")
        if missing := [_goal_key(key) for key in _read_by(self.model) if key not in wanted]:
            picture = "no goal picture" if "goal" in missing else "no goal for all that the model compares"
            raise GraspPlannerError(
                f"the environment gives {picture}: the model needs info {missing}, got {sorted(info)}. The environment "
                "must return them in the info of reset and step"
            )
        frames = max(value.shape[1] for value in seen.values())
        batch = len(next(iter(seen.values())))
        problem = Problem.observed(
            self.model,
            _filled({k: v for k, v in seen.items() if v.shape[1] == frames}, self.model.context),
            wanted,
            self.horizon,
            past_actions=self._past(tensors.get("action_history"), batch, frames),
            objective=self.objective,
        )
        return replace(problem, low=self.low, high=self.high)

    def _past(self, history: Tensor | None, batch: int, frames: int) -> Float[Tensor, "b h_less_1 a"]:
        """Return the action blocks between the frames of the window; zeros before the first observed frame."""
        like = self.model.low
        shape = (batch, frames - 1, len(like))
        if history is None and frames > 1:
            raise GraspPlannerError(f"{frames} frames need info['action_history'] {shape}; there is none")
        known = like.new_zeros(shape) if history is None else history.to(like)
        if tuple(known.shape) != shape:
            raise GraspPlannerError(f"info['action_history'] must be {shape}, got {tuple(known.shape)}")
        count = self.model.context - 1
        before = like.new_zeros(batch, max(0, count - known.shape[1]), len(like))
        return torch.cat([before, known[:, known.shape[1] - min(count, known.shape[1]) :]], dim=1)


def _read_by(model: WorldModel) -> tuple[str, ...]:
    """The observations that a model reads, as far as it says so."""
    if isinstance(model, StableWorldModel):
        return model.keys
    return ("pixels",) if isinstance(model, SeesPictures) else ()


def _goal_key(key: str) -> str:
    """The entry of the information dictionary that holds the goal of an observation."""
    return "goal" if key == "pixels" else f"goal_{key}"


def _filled(observations: Mapping[str, Tensor], context: int) -> dict[str, Tensor]:
    """Return the newest ``context`` frames. Missing frames are copies of the first, which models ignore."""
    filled = {}
    for key, value in observations.items():
        newest = value[:, -context:]
        before = newest[:, :1].expand(-1, context - newest.shape[1], *newest.shape[2:])
        filled[key] = torch.cat([before, newest], dim=1)
    return filled


def _padded(given: Tensor | None, problem: Problem) -> Float[Tensor, "b t a"] | None:
    """Return the initial actions, cut to the horizon or with zeros appended."""
    if given is None:
        return None
    shape = (problem.batch, problem.horizon, problem.action_size)
    if given.ndim != 3 or (given.shape[0], given.shape[2]) != (shape[0], shape[2]):
        raise GraspPlannerError(f"init_action must be (b, t, block) = {shape} with any t, got {tuple(given.shape)}")
    given = given.detach().to(problem.start)[:, : problem.horizon]
    return torch.cat([given, given.new_zeros(shape[0], shape[1] - given.shape[1], shape[2])], dim=1)


def _block(value: float | Sequence[float], each: int, block: int, like: Tensor, name: str) -> Float[Tensor, " a"]:
    """Return one bound per coordinate of an action block."""
    numbers = torch.as_tensor(value, dtype=like.dtype, device=like.device).flatten()
    for count, times in ((1, each * block), (each, block), (each * block, 1)):
        if len(numbers) == count:
            return numbers.repeat(times)
    raise GraspPlannerError(f"{name} must be 1, {each} or {each * block} numbers, got {len(numbers)}")
