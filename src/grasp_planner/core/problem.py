"""The planning problem, whose formulas define the names that the whole package uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.costs import trajectory_cost
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance, Objective
from grasp_planner.core.problem_checks import as_tensors, check_problem
from grasp_planner.core.scale import units_of
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.core.world_model import WorldModel, goal_objective, idle_block, one_moment_repeated

Array = Tensor | numpy.ndarray


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of b finite-horizon planning problems in one model.

        min_a  sum_{t=0}^{T-1} l(s_t, a_t) + phi(s_T, g)
        s.t.   s_{t+1} = F(s_{t-h+1:t}, a_{t-h+1:t}),    low <= a_t <= high

    Shape letters of the package: b problems, n candidates, t horizon, h context, s latent, a action. A latent is one
    flat axis. A planner evaluates the model in exactly two ways: :meth:`rollout` is sequential, and feeds the model its
    own predictions; :meth:`predict` is parallel over time, and makes one step from every given state in one model call.

    The loop hands planners the :meth:`normalised` problem, whose latents are in units of ``scale``.

    Args:
        dynamics: F. Called with ``(rows, h, s)`` and ``(rows, h, a)``; returns ``(rows, s)``.
        states: ``(b, h, s)``, the observed states s_{1-h} .. s_0; float32 or float64.
        past_actions: ``(b, h-1, a)``, the actions between these states.
        goal: ``(b, s)``, g; ``None`` for objectives of rewards, such as
            :class:`~grasp_planner.core.returns.DiscountedReturn`. The start then takes the place of g.
        horizon: T, in model steps.
        low: ``(a,)`` lower bounds, or one number for all coordinates, in the model's action units; may be ``-inf``.
        high: ``(a,)`` upper bounds, or one number.
        objective: l and phi; it sees states and goal divided by ``scale``, except for objectives of rewards.
        scale: ``(s,)`` typical size of each latent coordinate, > 0. ``None``: one number per problem for all
            coordinates, the root mean square of g - s_0. The root mean square of g is used if the start equals the
            goal, and 1 if both are zero.

    Tensors may also be given as numpy arrays, which are converted to the dtype and device of ``states``.

    Raises:
        GraspPlannerError: shapes, dtypes or devices do not fit together, a start or goal is not finite, a lower bound
            is above its upper bound, the horizon is not a positive integer, a scale is not positive, the distance
            from start to goal overflows and no scale is given, or the goal is missing and the objective needs one.

    Example:
        >>> import torch
        >>> from grasp_planner import Markov
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.ones(1, 2), horizon=10, low=-torch.ones(2), high=1)
        >>> problem.rollout(torch.ones(1, 10, 2))[0, -1]
        tensor([1.0000, 1.0000])

    Source: GRASP (arXiv 2602.00475), section 2. Stage costs, bounds and context windows are additions.
    """

    dynamics: Dynamics
    states: Float[Tensor, "b h s"]
    past_actions: Float[Tensor, "b h_less_1 a"]
    goal: Float[Tensor, "b s"]
    horizon: int
    low: Float[Tensor, " a"]
    high: Float[Tensor, " a"]
    objective: Objective = field(default_factory=GoalDistance)
    scale: Float[Tensor, " s"] | None = None
    unit: Float[Tensor, "b s"] = field(init=False, repr=False)
    """The scale of every problem and coordinate, ``(b, s)``, as given or as derived from start and goal."""
    spent: float = field(init=False, repr=False, default=0.0)
    """Share of the budget that is spent, from 0 to 1. ``plan`` keeps it up to date; elsewhere it is 0."""
    history: Float[Tensor, "b h s"] | None = field(init=False, repr=False, default=None)
    """In a normalised problem: the observed states in the model's own units."""

    def __post_init__(self) -> None:
        for name, value in as_tensors(self).items():
            object.__setattr__(self, name, value)
        check_problem(self)
        object.__setattr__(self, "unit", units_of(self.start, self.goal, self.scale))

    @classmethod
    def between(
        cls,
        dynamics: Dynamics,
        start: Float[Array, "b s"],
        goal: Float[Array, "b s"] | None,
        horizon: int,
        low: Float[Array, " a"] | float,
        high: Float[Array, " a"] | float,
        *,
        objective: Objective | None = None,
        scale: Float[Array, " s"] | None = None,
        action_size: int | None = None,
    ) -> Problem:
        """Make the problems from ``start`` to ``goal`` in a model of context 1.

        Args:
            dynamics: F, of context 1.
            start: ``(b, s)``, s_0.
            goal: ``(b, s)``, g; ``None``: see :class:`Problem`.
            horizon: T, in model steps.
            low: ``(a,)`` lower bounds, or one number for all coordinates.
            high: ``(a,)`` upper bounds, or one number.
            objective: ``None`` is ``GoalDistance()``.
            scale: see :class:`Problem`.
            action_size: a, needed where both bounds are numbers and an action has more than one coordinate.

        Raises:
            GraspPlannerError: see :class:`Problem`.
        """
        start = torch.as_tensor(start) if isinstance(start, numpy.ndarray) else start
        if not isinstance(start, Tensor):
            raise GraspPlannerError(f"start must be a tensor, got {type(start).__name__}")
        if start.ndim != 2:
            raise GraspPlannerError(f"start must be (b, s), got {tuple(start.shape)}")
        size = action_size
        for bound in (low, high):
            shape = getattr(bound, "shape", ())
            size = shape[0] if size is None and len(shape) == 1 else size
        return cls(
            dynamics,
            states=start[:, None],
            past_actions=start.new_zeros(start.shape[0], 0, 1 if size is None else size),
            goal=goal,  # type: ignore[arg-type]  (arrays and numbers become tensors in __post_init__)
            horizon=horizon,
            low=low,  # type: ignore[arg-type]
            high=high,  # type: ignore[arg-type]
            objective=GoalDistance() if objective is None else objective,
            scale=scale,  # type: ignore[arg-type]
        )

    @classmethod
    def observed(
        cls,
        model: WorldModel,
        observations: Mapping[str, Any] | Float[Tensor, "b h s"],
        goals: Mapping[str, Any] | Float[Tensor, "b s"] | None,
        horizon: int,
        *,
        past_actions: Float[Tensor, "b h_less_1 a"] | None = None,
        objective: Objective | None = None,
        dynamics: Dynamics | None = None,
    ) -> Problem:
        """Make problems in a world model from observations and goals, which the model encodes.

        Args:
            model: the world model, which encodes observations and goals and has bounds and a scale.
            observations: latents ``(b, h, s)``, or a mapping of arrays ``(b, h, ...)`` with the keys that
                ``model.encode`` reads. A single moment ``(b, 1, ...)`` is repeated h times.
            goals: latents ``(b, s)``, or a mapping of arrays of one moment ``(b, 1, ...)``; ``None``: no goal.
            horizon: T, in model steps.
            past_actions: ``(b, h-1, a)`` model actions between the observations; ``None``: the environment's zero
                action.
            objective: ``None``: the distance to the goal, weighted by ``model.goal_weights`` if the model has them.
            dynamics: how the model is evaluated, such as ``Compiled(model)``; ``None``: the model itself.

        Raises:
            GraspPlannerError: see :class:`Problem`.
        """
        with planning_mode(model.low.device, model):
            if isinstance(observations, Tensor):
                states = observations
            else:
                states = model.encode(one_moment_repeated(observations, model.context))
            goal = goals if goals is None or isinstance(goals, Tensor) else model.encode(goals)[:, -1]
        if past_actions is None:
            past_actions = idle_block(model).expand(len(states), model.context - 1, -1)
        return cls(
            model if dynamics is None else dynamics,
            states=states,
            past_actions=past_actions,
            goal=goal,  # type: ignore[arg-type]  (the start takes the place of a missing goal)
            horizon=horizon,
            low=model.low,
            high=model.high,
            objective=goal_objective(model) if objective is None else objective,
            scale=model.scale,
        )

    @property
    def batch(self) -> int:
        """b, the number of problems."""
        return self.states.shape[0]

    @property
    def context(self) -> int:
        """h, the number of states in the history."""
        return self.states.shape[1]

    @property
    def latent_size(self) -> int:
        """s, the length of a state."""
        return self.states.shape[2]

    @property
    def action_size(self) -> int:
        """a, the length of an action."""
        return self.low.shape[0]

    @property
    def start(self) -> Float[Tensor, "b s"]:
        """s_0, the newest state of each history."""
        return self.states[:, -1]

    def normalised(self) -> Problem:
        """Return the same problems with states and goals in units of the scale; planners work on this form.

        The model still gets its own units: :meth:`rollout` and :meth:`predict` convert.
        """
        unit = self.unit[:, None]
        return self._with(history=self.states, states=self.states / unit, goal=self.goal / self.unit)

    def rollout(self, actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t s"]:
        """Predict s_1 .. s_T, ``(b, t, s)``, for ``actions`` a_0 .. a_{T-1}, ``(b, t, a)``, one step after another.

        Each step starts from the model's own prediction.
        """
        # The window is a copy, since a model may write to its input.
        window = (self.states if self.history is None else self.history).clone()
        taken = torch.cat([self.past_actions, actions], dim=1)
        states = []
        for t in range(actions.shape[1]):
            next_state = self.call(window, taken[:, t : t + self.context])
            states.append(next_state)
            window = torch.cat([window[:, 1:], next_state[:, None]], dim=1)
        rolled_out = torch.stack(states, dim=1)
        return rolled_out if self.history is None else rolled_out / self.unit[:, None]

    def predict(self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t s"]:
        """Predict one step from each of the states s_0 .. s_{T-1}, ``(b, t, s)``, in one model call on b * t rows.

        Windows of ``context`` states are cut from the history followed by ``states``. Prediction from the states of a
        rollout therefore returns the same rollout, to rounding.
        """
        if self.history is None:
            return self.call(*self.windows(states, actions)).reshape(states.shape)
        unit = self.unit[:, None]
        return self.call(*self._windows(self.history, states * unit, actions)).reshape(states.shape) / unit

    def windows(
        self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
    ) -> tuple[Float[Tensor, "b_t h s"], Float[Tensor, "b_t h a"]]:
        """Cut the window of states and actions that the model reads to step from each of the given states."""
        return self._windows(self.states, states, actions)

    def _windows(self, history: Tensor, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        rows = states.shape[0] * states.shape[1]
        if self.context == 1:
            return states.reshape(rows, 1, -1), actions.reshape(rows, 1, -1)
        past = torch.cat([history[:, :-1], states], dim=1)
        taken = torch.cat([self.past_actions, actions], dim=1)
        windows = past.unfold(1, self.context, 1).movedim(-1, 2).reshape(rows, self.context, -1)
        blocks = taken.unfold(1, self.context, 1).movedim(-1, 2).reshape(rows, self.context, -1)
        return windows, blocks

    def one_step(self, windows: Float[Tensor, "b_t h s"], blocks: Float[Tensor, "b_t h a"]) -> Float[Tensor, "b_t s"]:
        """Predict the state that follows each window. The windows are ordered by problem."""
        if self.history is None:
            return self.call(windows, blocks)
        inputs = windows.unflatten(0, (self.batch, -1)) * self.unit[:, None, None]
        outputs = self.call(inputs.flatten(0, 1), blocks)
        return (outputs.unflatten(0, (self.batch, -1)) / self.unit[:, None]).flatten(0, 1)

    def cost(self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Float[Tensor, " b"]:
        """Compute the objective ``(b,)`` for ``states`` s_1 .. s_T, ``(b, t, s)``, and ``actions`` ``(b, t, a)``."""
        if self.history is None:
            return self.normalised().cost(states / self.unit[:, None], actions)
        return trajectory_cost(self, states, actions)

    def clamp(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch a"]:
        """Move actions to the nearest actions within the bounds."""
        return torch.clamp(actions, self.low, self.high)

    def repeat(self, candidates: int) -> Problem:
        """Repeat each problem for its candidates: row ``i * candidates + j`` is candidate j of problem i."""
        if candidates == 1:
            return self
        parts = {name: getattr(self, name) for name in ("states", "past_actions", "goal", "unit", "history")}
        return self._with(
            **{
                name: part[:, None].expand(-1, candidates, *part.shape[1:]).flatten(0, 1)
                for name, part in parts.items()
                if part is not None
            }
        )

    def through(self, dynamics: Dynamics) -> Problem:
        """Return the same problems in another model of the same interface, such as a wrapper that counts."""
        return self._with(dynamics=dynamics)

    def under(self, objective: Objective) -> Problem:
        """Return the same problems with another objective."""
        return self._with(objective=objective)

    def at(self, spent: float) -> Problem:
        """Return the same problems with ``spent`` as the share of the budget that is spent."""
        return self._with(spent=spent)

    def detached(self) -> Problem:
        """Return the same problems without a graph and without tensors that were made in inference mode."""
        parts = {
            name: getattr(self, name).detach() for name in ("states", "past_actions", "goal", "low", "high", "unit")
        }
        return self._with(**{name: part.clone() if part.is_inference() else part for name, part in parts.items()})

    def call(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """Evaluate the model on windows in its own units; :meth:`rollout` and :meth:`predict` call this.

        Raises:
            GraspPlannerError: the model's answer has another shape or dtype, or gradients are needed and the model
                does not pass them.
        """
        next_states = self.dynamics(states, actions)
        expected = (states.shape[0], states.shape[2])
        if not isinstance(next_states, Tensor):
            raise GraspPlannerError(f"the model must return a tensor, got {type(next_states).__name__}")
        if tuple(next_states.shape) != expected or next_states.dtype != states.dtype:
            raise GraspPlannerError(
                f"the model was given states {tuple(states.shape)} {states.dtype} and must return {expected} of the "
                f"same dtype, got {tuple(next_states.shape)} {next_states.dtype}"
            )
        if torch.is_grad_enabled() and actions.requires_grad and not next_states.requires_grad:
            raise GraspPlannerError(
                "the model's prediction does not depend on the actions as far as autograd can see: does it run under "
                "no_grad, detach, or leave torch? Gradient planners need a differentiable model; use CEM, ICEM, MPPI "
                "or RandomShooting with one that is not"
            )
        return next_states

    def _with(self, **parts: Any) -> Problem:
        """Return a copy in which the given fields are replaced. The new values are not checked."""
        changed = object.__new__(type(self))  # `copy.copy` takes four times as long, and every step makes such a copy
        changed.__dict__.update(self.__dict__, **parts)
        return changed
