"""The planning problem: one page of mathematics, after which everything else is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance, Objective, costs_of, only_the_end_counts


@runtime_checkable
class Dynamics(Protocol):
    """What a planner needs of a model; structural, nothing to inherit.

        s_{t+1} = F(s_{t-h+1:t}, a_{t-h+1:t})

    ``context`` is h, the number of past states (and actions) that one prediction reads; a Markov model has 1.
    """

    context: int

    def __call__(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The state that follows each window: rows are independent of each other."""
        ...


@dataclass(frozen=True)
class Markov:
    """A function ``fn(state (n, s), action (n, a)) -> (n, s)`` as a ``Dynamics`` of context 1.

    Example:
        >>> import torch
        >>> double = Markov(lambda state, action: state + action)
        >>> double(torch.ones(2, 1, 3), torch.ones(2, 1, 3)).shape
        torch.Size([2, 3])
    """

    fn: Callable[[Tensor, Tensor], Tensor]
    context: int = field(default=1, init=False)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """The next states of the only state and action in each window."""
        return self.fn(states[:, -1], actions[:, -1])


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of b finite-horizon planning problems in one model.

        min_a  sum_{t=0}^{T-1} l(s_t, a_t) + phi(s_T, g)
        s.t.   s_{t+1} = F(s_{t-h+1:t}, a_{t-h+1:t}),    low <= a_t <= high

    Shape letters, everywhere: b problems, n candidates, t horizon, h context, s latent, a action.
    A latent is one flat axis. There are two doors to the model and no others: ``rollout`` (sequential, the model is
    fed its own predictions) and ``predict`` (parallel over time, one step from every given state, one model call).

    Args:
        dynamics: F. Called with ``(rows, h, s)`` and ``(rows, h, a)``; returns ``(rows, s)``.
        states: ``(b, h, s)``, the states s_{1-h} .. s_0 that were observed; float32 or float64.
        past_actions: ``(b, h-1, a)``, the actions taken between them.
        goal: ``(b, s)``, g.
        horizon: T, in model steps.
        low: ``(a,)`` lower bounds, in the model's own action units; may be ``-inf``.
        high: ``(a,)`` upper bounds.
        objective: l and phi; sees states and goal divided by ``scale``.
        scale: ``(s,)`` typical size of each latent coordinate, > 0. ``None``: one number a problem for all
            coordinates, the root mean square of g - s_0 (of g where the start is the goal; 1 where that is 0 too).

    Raises:
        GraspPlannerError: shapes, dtypes or devices do not fit together, a start or goal is not finite, bounds are
            upside down, the horizon is not a positive integer, a scale is not positive.

    Example:
        >>> import torch
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> start, goal, bound = torch.zeros(1, 2), torch.ones(1, 2), torch.ones(2)
        >>> problem = Problem.between(step, start, goal, horizon=10, low=-bound, high=bound)
        >>> problem.rollout(torch.ones(1, 10, 2))[0, -1]
        tensor([1.0000, 1.0000])

    Source: GRASP (arXiv 2602.00475), section 2, with stage costs, bounds and context windows added.
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
    """The scale of every problem and coordinate, whether it was given or derived."""

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "unit", _unit(self))

    @classmethod
    def between(
        cls,
        dynamics: Dynamics,
        start: Float[Tensor, "b s"],
        goal: Float[Tensor, "b s"],
        horizon: int,
        low: Float[Tensor, " a"],
        high: Float[Tensor, " a"],
        *,
        objective: Objective | None = None,
        scale: Float[Tensor, " s"] | None = None,
    ) -> Problem:
        """The problems from ``start`` to ``goal`` in a model of context 1, whose history is the start alone."""
        for name, value in (("start", start), ("low", low)):
            if not isinstance(value, Tensor):
                raise GraspPlannerError(f"{name} must be a tensor, got {type(value).__name__}")
        if start.ndim != 2 or low.ndim != 1:
            raise GraspPlannerError(
                f"start must be (b, s) and low (a,), got {tuple(start.shape)} and {tuple(low.shape)}"
            )
        return cls(
            dynamics,
            states=start[:, None],
            past_actions=start.new_zeros(start.shape[0], 0, low.shape[0]),
            goal=goal,
            horizon=horizon,
            low=low,
            high=high,
            objective=GoalDistance() if objective is None else objective,
            scale=scale,
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

    def rollout(self, actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t s"]:
        """s_1 .. s_T: the model fed its own predictions, one call after the other."""
        # A model that writes to its input must not reach the caller's own tensors.
        window, taken = self.states.clone(), torch.cat([self.past_actions, actions], dim=1)
        states = []
        for t in range(actions.shape[1]):
            next_state = self.call(window, taken[:, t : t + self.context])
            states.append(next_state)
            window = torch.cat([window[:, 1:], next_state[:, None]], dim=1)
        return torch.stack(states, dim=1)

    def predict(self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Float[Tensor, "b t s"]:
        """One step from every given state s_0 .. s_{T-1}: one model call on b * t rows.

        Windows of ``context`` states are cut from the history followed by ``states``, so predicting along a
        rollout gives back the rollout.
        """
        windows, blocks = self.windows(states, actions)
        return self.call(windows, blocks).reshape(*states.shape[:2], -1)

    def windows(
        self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]
    ) -> tuple[Float[Tensor, "b_t h s"], Float[Tensor, "b_t h a"]]:
        """What the model is called with to step from every given state: histories cut from the past and ``states``."""
        rows = states.shape[0] * states.shape[1]
        if self.context == 1:
            return states.reshape(rows, 1, -1), actions.reshape(rows, 1, -1)
        past = torch.cat([self.states[:, :-1], states], dim=1)
        taken = torch.cat([self.past_actions, actions], dim=1)
        windows = past.unfold(1, self.context, 1).movedim(-1, 2).reshape(rows, self.context, -1)
        blocks = taken.unfold(1, self.context, 1).movedim(-1, 2).reshape(rows, self.context, -1)
        return windows, blocks

    def cost(self, states: Float[Tensor, "b t s"], actions: Float[Tensor, "b t a"]) -> Float[Tensor, " b"]:
        """The objective of ``states`` (s_1 .. s_T) reached by ``actions``, per problem."""
        goal = self.goal / self.unit
        last = states[:, -1] / self.unit
        terminal = costs_of("terminal", self.objective.terminal(last, goal), last)
        if only_the_end_counts(self.objective):
            return terminal
        before = torch.cat([self.start[:, None], states[:, :-1]], dim=1) / self.unit[:, None]
        return costs_of("stage", self.objective.stage(before, actions, goal[:, None]), before).sum(1) + terminal

    def clamp(self, actions: Float[Tensor, "*batch a"]) -> Float[Tensor, "*batch a"]:
        """The nearest actions within the bounds."""
        return torch.clamp(actions, self.low, self.high)

    def repeat(self, candidates: int) -> Problem:
        """The same problems with ``candidates`` rows each: row ``i * candidates + j`` is candidate j of problem i."""
        if candidates == 1:
            return self
        repeated = copy.copy(self)  # already checked: not checked again
        for name in ("states", "past_actions", "goal", "unit"):
            value = getattr(self, name)
            rows = value[:, None].expand(-1, candidates, *value.shape[1:]).flatten(0, 1)
            object.__setattr__(repeated, name, rows)
        return repeated

    def through(self, dynamics: Dynamics) -> Problem:
        """The same problems in another model of the same interface, such as a wrapper that counts."""
        changed = copy.copy(self)
        object.__setattr__(changed, "dynamics", dynamics)
        return changed

    def detached(self) -> Problem:
        """The same problems without a graph, and without tensors made in inference mode (no gradient passes those)."""
        changed = copy.copy(self)
        for name in ("states", "past_actions", "goal", "low", "high", "unit"):
            value = getattr(self, name).detach()
            object.__setattr__(changed, name, value.clone() if value.is_inference() else value)
        return changed

    def call(self, states: Float[Tensor, "n h s"], actions: Float[Tensor, "n h a"]) -> Float[Tensor, "n s"]:
        """The model on windows as it takes them; what both doors go through.

        Raises:
            GraspPlannerError: its answer has another shape or dtype, or gradients are wanted and do not pass it.
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


def _unit(problem: Problem) -> Tensor:
    """``scale`` for every problem and coordinate, ``(b, s)``; derived from start and goal where none was given."""
    if problem.scale is not None:
        return problem.scale.expand_as(problem.goal)
    distance = (problem.goal - problem.start).square().mean(-1, keepdim=True).sqrt()
    size = problem.goal.square().mean(-1, keepdim=True).sqrt()
    fallback = torch.where(size > 0, size, torch.ones_like(size))
    return torch.where(distance > 0, distance, fallback).expand_as(problem.goal)


def _check(problem: Problem) -> None:
    """Everything that can be known to be wrong before planning starts."""
    if not isinstance(problem.dynamics, Dynamics) or isinstance(problem.dynamics, type):
        raise GraspPlannerError(
            "dynamics must have `context: int` and be callable with (n, h, s) states and (n, h, a) actions; "
            f"got {type(problem.dynamics).__name__}. Wrap a function of one state and one action in Markov(fn)"
        )
    context = problem.dynamics.context
    if isinstance(context, bool) or not isinstance(context, int) or context < 1:
        raise GraspPlannerError(f"dynamics.context must be an integer >= 1, got {context!r}")
    if isinstance(problem.horizon, bool) or not isinstance(problem.horizon, int) or problem.horizon < 1:
        raise GraspPlannerError(f"horizon must be an integer >= 1 (model steps), got {problem.horizon!r}")

    tensors = {name: getattr(problem, name) for name in ("states", "past_actions", "goal", "low", "high")}
    if problem.scale is not None:
        tensors["scale"] = problem.scale
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise GraspPlannerError(f"{name} must be a tensor, got {type(value).__name__}")

    states = problem.states
    if states.ndim != 3 or states.shape[1] != context or 0 in states.shape:
        raise GraspPlannerError(
            f"states must be (b, h, s) with h = {context} (the model's context) and no empty axis, "
            f"got {tuple(states.shape)}"
        )
    if not states.is_floating_point():
        raise GraspPlannerError(f"states must be floating point, got {states.dtype}")
    if problem.low.ndim != 1 or problem.low.shape[0] == 0:
        raise GraspPlannerError(f"low must be (a,), got {tuple(problem.low.shape)}")
    batch, _, latent = states.shape
    expected = {
        "past_actions": (batch, context - 1, problem.low.shape[0]),
        "goal": (batch, latent),
        "high": tuple(problem.low.shape),
        "scale": (latent,),
    }
    for name, value in tensors.items():
        if name in expected and tuple(value.shape) != expected[name]:
            raise GraspPlannerError(
                f"{name} must be {expected[name]} to go with states {tuple(states.shape)} and low "
                f"{tuple(problem.low.shape)}, got {tuple(value.shape)}"
            )
        if value.dtype != states.dtype or value.device != states.device:
            raise GraspPlannerError(
                f"{name} must be {states.dtype} on {states.device} like states, got {value.dtype} on {value.device}"
            )

    for name in ("states", "past_actions", "goal"):
        bad = ~torch.isfinite(tensors[name]).flatten(1).all(1)
        if bool(bad.any()):
            rows = bad.nonzero().flatten().tolist()
            raise GraspPlannerError(f"{name} must be finite, got NaN or infinity in problem(s) {rows[:10]}")
    if not bool((problem.low <= problem.high).all()):
        raise GraspPlannerError(
            f"bounds must satisfy low <= high in every coordinate, got low {problem.low.tolist()}, "
            f"high {problem.high.tolist()}"
        )
    if bool((problem.low == torch.inf).any()) or bool((problem.high == -torch.inf).any()):
        raise GraspPlannerError("bounds leave no action: low is +inf or high is -inf in some coordinate")
    if problem.scale is not None and not bool(((problem.scale > 0) & torch.isfinite(problem.scale)).all()):
        raise GraspPlannerError(f"scale must be finite and > 0 in every coordinate, got {problem.scale.tolist()}")

    if not isinstance(problem.objective, Objective) or isinstance(problem.objective, type):
        raise GraspPlannerError(
            "objective must have methods terminal(states, goal) and stage(states, actions, goal), "
            f"got {type(problem.objective).__name__}"
        )
    if isinstance(problem.objective, GoalDistance) and problem.objective.weights is not None:
        given = len(problem.objective.weights)
        if given != latent:
            raise GraspPlannerError(f"GoalDistance.weights must be ({latent},) like a state, got ({given},)")
