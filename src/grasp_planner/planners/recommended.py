"""The planner and the budget that we recommend, and ``plan``, which uses them by default."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from grasp_planner.core.constraints import unconstrained
from grasp_planner.core.noise import Noise
from grasp_planner.core.objectives import SumOfSquares
from grasp_planner.core.plans import Budget, Plan, WarmStart
from grasp_planner.core.problem import Problem
from grasp_planner.planners.gauss_newton import GaussNewton
from grasp_planner.planners.gd import GD
from grasp_planner.planning.loop import run
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.protocol import Callback, Planner
from grasp_planner.planning.sequential import Sequential

RECOMMENDED_BUDGET = Budget(steps=300)
"""A budget that suffices for :func:`recommended` on the problems that docs/planners.md measures."""


def recommended() -> Planner:
    """Return the planner that we recommend for a differentiable model, with its one setting for all problems.

    ``GaussNewton`` from 24 starts, of which the best 8 go on after 4 steps, which are one linearisation and three
    rollouts. Every 14 further steps, the worse half of the starts takes over the plans of the better half, and all
    plans are kicked by noise that is smooth in time. The kicks grow while a problem makes no progress. docs/planners.md
    shows the measurements behind this choice.

    The cost must be a sum of squares, such as ``GoalDistance``. For other costs, see :func:`recommended_for_any_cost`.

    Example:
        >>> recommended().race_starts, recommended().starts
        (24, 8)
    """
    return MultiStart(
        GaussNewton(),
        starts=8,
        start_std=2.0,
        restart_every=14,
        survivors=0.5,
        kick_std=0.3,
        kick_growth=1.25,
        noise_beta=2.0,
        race_starts=24,
        race_steps=4,
    )


def recommended_for_any_cost() -> Planner:
    """Return the planner that we recommend for a differentiable cost that is not a sum of squares, such as a reward.

    Gradient descent from 16 starts for three quarters of the budget, then gradient descent with a smaller learning rate
    from the best plan only.

    Example:
        >>> recommended_for_any_cost().second
        GD(lr=0.02, optimiser='adam', action_noise=0.0, tolerance=0.0)
    """
    return Sequential(MultiStart(GD(lr=0.2), starts=16, start_std=1.0), GD(lr=0.02), share=0.25)


def plan(
    problem: Problem,
    planner: Planner | None = None,
    budget: Budget | None = None,
    *,
    seeds: int | Sequence[int] | Tensor | Noise | None = None,
    warm_start: WarmStart | Tensor | None = None,
    callback: Callback | None = None,
) -> Plan:
    """Run ``planner`` on ``problem`` until ``budget`` is spent, and return the best plan seen by true rollout.

    The plan is never worse than the actions that planning starts from. Problems of a batch do not influence each other.
    The model is left as it was. With a budget in steps or transitions, the plan does not depend on how fast the
    machine is.

    Args:
        problem: a batch of b problems; its horizon is in model steps.
        planner: one of ``PLANNERS``, or any object with the methods of
            :class:`~grasp_planner.planning.protocol.Planner`. ``None``: :func:`recommended` if the objective is a sum
            of squares, such as ``GoalDistance``, and :func:`recommended_for_any_cost` otherwise.
        budget: limits on steps, seconds and transitions; planning ends at the first one reached. ``None``:
            ``RECOMMENDED_BUDGET``, 300 steps.
        seeds: one integer for all problems, or one per problem; ``None`` is 0 for all. The same seed gives the same
            plan.
        warm_start: ``Plan.warm_start`` of an earlier call, or actions ``(b, t, a)``; ``None`` starts at zero actions.
            Actions beyond the horizon are dropped, a missing tail repeats the last action, and all are clamped to the
            bounds.
        callback: called with a :class:`~grasp_planner.planning.protocol.Progress` after the start and after every
            step; planning stops if it returns True.

    Raises:
        GraspPlannerError: arguments do not fit the problem, or memory does not suffice even for one row of the model
            at a time. If memory suffices only for fewer rows, calls are cut into pieces, and the plan is the same.
            Other errors of the model pass through.

    Example:
        >>> import torch
        >>> from grasp_planner import GD, Budget, Markov, Problem, plan
        >>> step = Markov(lambda state, action: state + 0.1 * action)
        >>> problem = Problem.between(step, torch.zeros(1, 2), torch.full((1, 2), 0.5), 10, low=-torch.ones(2), high=1)
        >>> found = plan(problem, GD(), Budget(steps=200))
        >>> bool(found.cost < 1e-4), found.status
        (True, [BUDGET])
    """
    chosen = _default(problem) if planner is None else planner
    limits = RECOMMENDED_BUDGET if budget is None else budget
    return run(problem, chosen, limits, seeds=seeds, warm_start=warm_start, callback=callback)


def _default(problem: object) -> Planner:
    squares = isinstance(problem, Problem) and isinstance(unconstrained(problem.objective), SumOfSquares)
    return recommended() if squares else recommended_for_any_cost()
