"""AugmentedLagrangian: run any planner on a constrained objective, and raise a multiplier for every violated term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, whole
from grasp_planner.core.constraints import Constrained, path_of, term_count
from grasp_planner.core.noise import Noise
from grasp_planner.core.plans import Scored, best_of
from grasp_planner.core.problem import Problem
from grasp_planner.planning.protocol import Planner, check_planner, tolerance_of, virtual_states


class AugmentedLagrangianState(NamedTuple):
    """The inner planner's state, and the multipliers.

    Attributes:
        inner: the state of the inner planner.
        shift: u of each problem and term, in units of the margin; no terms without constraints. The multiplier is
            2 * weight * u.
        best: the best rollouts since the last update, with the costs that the inner planner minimises; ``None``: no
            rollout yet.
        steps: steps since the last update.
    """

    inner: Any
    shift: Float[Tensor, "b k"]
    best: Scored | None
    steps: int


@dataclass(frozen=True)
class AugmentedLagrangian:
    """Run a planner on a ``Constrained`` objective, and shift the penalty where a margin is too small.

        J + weight * sum_i max(0, clearance + u_i - m_i)^2,    u = 0 at first
        after every K steps:  u_i <- max(0, clearance + u_i - m_i)  at the best plan for this u;  begin again there

    A penalty alone ends where its slope balances the slope of J, so that the margin stays below the clearance by an
    amount that shrinks with the weight. The shift moves this point until the margin reaches the clearance, at a weight
    that keeps the problem well-conditioned. The inner planner does not see the violation cost. The loop compares plans
    by the cost of the ``Constrained`` objective, without shift and with violation cost. For an objective without
    constraints, the planner runs unchanged.

    Put ``AugmentedLagrangian`` around ``MultiStart``, not inside: a restart begins the inner planner again, and would
    set the shifts to 0.

    Args:
        planner: the inner planner.
        update_every: K, steps of the inner planner between two updates; at least one cycle of a planner that works in
            cycles, such as GRASP. If none of these steps rolled actions out, the update follows the next rollout.
        tolerance: stop a problem whose best cost is at or below this. It is raised to the inner planner's tolerance.

    Raises:
        GraspPlannerError: a setting is out of range, or ``planner`` is not a planner.

    Example:
        >>> from grasp_planner import CEM
        >>> planner = AugmentedLagrangian(CEM(samples=64, elites=8), update_every=10)

    Source: Hestenes (1969) and Powell (1969), whose method shifts a quadratic penalty; for inequalities Rockafellar
    (1973). Nocedal and Wright, Numerical Optimization (2006), chapter 17. Differences: the weight is constant, and an
    update takes place after K steps, whether or not the inner planner has converged.
    """

    planner: Planner
    update_every: int = 25
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_planner(self, "planner")
        whole(self, 1, "update_every")
        at_least(self, 0, "tolerance")
        object.__setattr__(self, "tolerance", max(self.tolerance, tolerance_of(self.planner)))

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> AugmentedLagrangianState:
        """Begin with shifts of 0."""
        shift, objective = actions.new_zeros(len(actions), term_count(problem)), problem.objective
        shifted = problem.under(objective.shifted(shift)) if isinstance(objective, Constrained) else problem
        return AugmentedLagrangianState(self.planner.init(shifted, actions, noise), shift, best=None, steps=0)

    def step(
        self, problem: Problem, state: AugmentedLagrangianState, noise: Noise
    ) -> tuple[AugmentedLagrangianState, Scored | None]:
        """Make one step of the inner planner, after an update of the shifts if one is due."""
        objective = problem.objective
        if not isinstance(objective, Constrained):
            inner, scored = self.planner.step(problem, state.inner, noise)
            return state._replace(inner=inner), scored
        if state.best is not None and state.steps >= self.update_every:
            path = path_of(problem, state.best.states, state.best.actions)
            shift = objective.shifted(state.shift).shortfall(path)
            inner = self.planner.init(problem.under(objective.shifted(shift)), state.best.actions, noise.fold(0))
            state = AugmentedLagrangianState(inner, shift, best=None, steps=0)
        shifted = problem.under(objective.shifted(state.shift))
        inner, scored = self.planner.step(shifted, state.inner, noise.fold(1))
        state = AugmentedLagrangianState(inner, state.shift, best_of(state.best, scored), state.steps + 1)
        return state, None if scored is None else scored._replace(cost=problem.cost(scored.states, scored.actions))

    def actions(self, state: AugmentedLagrangianState) -> Float[Tensor, "b t a"]:
        """Return the actions of the inner planner."""
        return self.planner.actions(state.inner)

    def virtual(self, state: AugmentedLagrangianState) -> Float[Tensor, "b t_less_1 s"] | None:
        """Return the virtual states of the inner planner; ``None`` if it has no virtual states."""
        return virtual_states(self.planner, state.inner)
