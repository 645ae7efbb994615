"""Linear dynamics with quadratic costs, whose optimal plans are known in closed form: test problems for planners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.objectives import GoalDistance, Objective
from grasp_planner.core.problem import Problem


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A quadratic objective with full matrices.

        phi(s_T, g) = (s_T - g)' last (s_T - g),    l(s_t, a_t) = (s_t - g)' state (s_t - g) + a_t' action a_t

    States and goal are in units of ``Problem.scale``.

    Args:
        last: (s, s), symmetric and positive semidefinite.
        state: (s, s), symmetric and positive semidefinite; ``None``: intermediate states have no cost.
        action: (a, a), symmetric and positive semidefinite; ``None``: actions have no cost.

    Raises:
        GraspPlannerError: a matrix is not square, symmetric and positive semidefinite.

    Example:
        >>> import torch
        >>> Quadratic(torch.diag(torch.tensor([1.0, 4.0]))).terminal(torch.ones(2), torch.zeros(2))
        tensor(5.)
    """

    last: Float[Tensor, "s s"]
    state: Float[Tensor, "s s"] | None = None
    action: Float[Tensor, "a a"] | None = None

    def __post_init__(self) -> None:
        for name in ("last", "state", "action"):
            matrix = getattr(self, name)
            if matrix is None:
                continue
            square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
            if not square or not torch.allclose(matrix, matrix.mT):
                raise GraspPlannerError(f"Quadratic.{name} must be square and symmetric, got {tuple(matrix.shape)}")
            lowest = torch.linalg.eigvalsh(matrix).min()
            if lowest < -1e-6 * matrix.abs().max():
                raise GraspPlannerError(
                    f"Quadratic.{name} must be positive semidefinite, got the eigenvalue {lowest.item():.3g}"
                )

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
        """Return (s_T - g)' last (s_T - g)."""
        return _form(states - goal, self.last)

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        """Return (s_t - g)' state (s_t - g) + a_t' action a_t."""
        cost = torch.zeros_like(actions[..., 0]) if self.action is None else _form(actions, self.action)
        return cost if self.state is None else cost + _form(states - goal, self.state)


def _form(vectors: Tensor, matrix: Tensor) -> Tensor:
    return (vectors @ matrix.to(vectors) * vectors).sum(-1)


class Optimum(NamedTuple):
    """Actions of least cost (one plan if there are several), and their cost."""

    actions: Float[Tensor, "b t a"]
    cost: Float[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class LinearQuadratic:
    """A model with linear dynamics, for which the plan of least quadratic cost is known in closed form.

        s_{t+1} = A s_t + B a_t

    Args:
        transition: A (s, s).
        control: B (s, a).

    Raises:
        GraspPlannerError: the matrices do not fit together.

    Example:
        >>> from grasp_planner import GD, Budget, plan
        >>> model = LinearQuadratic.random(seed=3)
        >>> problem = model.problem(batch=2, horizon=8)
        >>> found, best = plan(problem, GD(), Budget(steps=500)), model.optimum(problem)
        >>> bool(((found.cost - best.cost).abs() < 1e-5).all())
        True

    Source: Anderson and Moore, Optimal Control: Linear Quadratic Methods (1990), for the recursion.
    """

    transition: Float[Tensor, "s s"]
    control: Float[Tensor, "s a"]

    context = 1

    def __post_init__(self) -> None:
        a, b = self.transition, self.control
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != a.shape[1] or b.shape[0] != a.shape[0] or a.dtype != b.dtype:
            raise GraspPlannerError(
                f"transition and control must be (s, s) and (s, a) of one dtype, got {tuple(a.shape)} {a.dtype} and "
                f"{tuple(b.shape)} {b.dtype}"
            )

    @classmethod
    def random(
        cls,
        state_size: int = 4,
        action_size: int = 2,
        *,
        radius: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> LinearQuadratic:
        """Draw controllable dynamics: A is ``radius`` times a random rotation, B is normal.

        With radius > 1, the curvature of the rollout's cost grows with the horizon T (model steps) like radius^(2T).
        Problems are then ill-conditioned for planners that optimise only actions, but not for planners with virtual
        states.
        """
        generator = torch.Generator().manual_seed(seed)
        while True:
            a, b = (
                torch.randn(state_size, size, generator=generator, dtype=torch.float64)
                for size in (state_size, action_size)
            )
            rotation, upper = torch.linalg.qr(a)
            # Without these signs, the distribution would depend on the QR routine.
            rotation = rotation * torch.sign(torch.diagonal(upper))
            model = cls((radius * rotation).to(dtype), b.to(dtype))
            if model.controllable:
                return model

    @property
    def controllable(self) -> bool:
        """Whether every state can be reached from every other state in s steps: [B, AB, .., A^(s-1) B] has rank s."""
        block, blocks = self.control.double(), []
        for _ in range(self.transition.shape[0]):
            blocks.append(block)
            block = self.transition.double() @ block
        return int(torch.linalg.matrix_rank(torch.cat(blocks, dim=1))) == self.transition.shape[0]

    def __call__(self, states: Float[Tensor, "n 1 s"], actions: Float[Tensor, "n 1 a"]) -> Float[Tensor, "n s"]:
        """Compute A s + B a."""
        return states[:, -1] @ self.transition.to(states).mT + actions[:, -1] @ self.control.to(actions).mT

    def problem(
        self,
        batch: int,
        horizon: int,
        *,
        seed: int = 0,
        objective: Objective | None = None,
        bound: float = float("inf"),
        scale: Float[Tensor, " s"] | None = None,
    ) -> Problem:
        """Draw problems with normal starts and goals.

        Args:
            batch: b, number of problems.
            horizon: T, in model steps.
            seed: seed of starts and goals.
            objective: ``None``: the goal distance.
            bound: actions are in [-bound, bound]. For ``optimum``, the bound must not restrict the optimal actions.
            scale: (s,); ``None``: derived from starts and goals.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (2, batch, self.transition.shape[0])
        start, goal = torch.randn(shape, generator=generator, dtype=torch.float64).to(self.transition)
        high = self.control.new_full((self.control.shape[1],), bound)
        return Problem.between(self, start, goal, horizon, -high, high, objective=objective, scale=scale)

    def optimum(self, problem: Problem, method: Literal["riccati", "stacked"] = "riccati") -> Optimum:
        """Compute the actions of least cost.

        ``"riccati"`` recurs backward in time: V_t(s) = min_a l(s, a) + V_{t+1}(As + Ba), where V_t is quadratic.
        ``"stacked"`` writes all states as a linear function of all actions and solves one least-squares problem. The
        two methods share only the matrices of the costs, so each checks the other.

        Args:
            problem: a problem with these dynamics; its objective is a ``GoalDistance`` or a ``Quadratic``.
            method: ``"riccati"`` or ``"stacked"``.

        Raises:
            GraspPlannerError: the objective has another type, or the unbounded optimum violates the bounds, so that
                there is no closed form.
        """
        costs = _costs(problem)
        solve = {"riccati": self._riccati, "stacked": self._stacked}
        if method not in solve:
            raise GraspPlannerError(f"method must be 'riccati' or 'stacked', got {method!r}")
        actions = solve[method](problem, *costs).to(problem.start)
        if not torch.equal(problem.clamp(actions), actions):
            raise GraspPlannerError(
                f"the unbounded optimum has actions up to {actions.abs().max().item():.3g}, outside the bounds: there "
                "is no closed form; choose a larger bound"
            )
        with torch.no_grad():
            return Optimum(actions, problem.cost(problem.through(self).rollout(actions), actions))

    def _riccati(self, problem: Problem, last: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """Solve by the Riccati recursion.

        With e = s - g:  e' = A e + B a + c,  c = A g - g,  V_t(e) = e' P e + 2 p' e + const.
        """
        a, b = self.transition.double(), self.control.double()
        goal = problem.goal.double()
        offset = (goal @ a.mT - goal)[..., None]
        value, slope = last, torch.zeros_like(offset)
        gains = []
        for _ in range(problem.horizon):
            ahead = value @ offset + slope
            inverse = torch.linalg.pinv(action + b.mT @ value @ b, hermitian=True, rtol=1e-13)
            gain, shift = inverse @ b.mT @ value @ a, inverse @ b.mT @ ahead
            gains.append((gain, shift))
            slope = a.mT @ ahead - gain.mT @ b.mT @ ahead
            value = state + a.mT @ value @ (a - b @ gain)
            value = (value + value.mT) / 2
        error, actions = (problem.start.double() - goal)[..., None], []
        for gain, shift in reversed(gains):
            actions.append(-gain @ error - shift)
            error = a @ error + b @ actions[-1] + offset
        return torch.stack(actions, dim=1)[..., 0]

    def _stacked(self, problem: Problem, last: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """Solve by least squares over all actions: minimise |roots of the costs (free motion + response a - g)|^2."""
        a, b = self.transition.double(), self.control.double()
        (latent, pushes), horizon = b.shape, problem.horizon
        response = b.new_zeros(horizon, latent, horizon, pushes)
        free = [problem.start.double()]
        for t in range(horizon):
            free.append(free[-1] @ a.mT)
            response[t] = torch.einsum("ij,jkl->ikl", a, response[t - 1]) if t else 0.0
            response[t, :, t] = b
        roots = torch.stack([_root(state)] * (horizon - 1) + [_root(last)], dim=1)
        matrix = torch.einsum("btij,tjkl->btikl", roots, response).flatten(1, 2).flatten(2, 3)
        target = torch.einsum("btij,btj->bti", roots, problem.goal.double()[:, None] - torch.stack(free[1:], 1))
        effort = torch.block_diag(*[_root(action)] * horizon).expand(problem.batch, -1, -1)
        matrix = torch.cat([matrix, effort], dim=1)
        target = torch.cat([target.flatten(1), effort.new_zeros(effort.shape[:2])], dim=1)
        solved = torch.linalg.lstsq(matrix, target[..., None], driver="gelsd", rcond=1e-13).solution
        return solved[..., 0].unflatten(1, (horizon, pushes))


def _root(matrix: Tensor) -> Tensor:
    """Compute R with R'R = matrix, for a matrix that can be singular."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp(min=0).sqrt()[..., None] * vectors.mT


def _costs(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cost matrices of terminal and stage states (b, s, s) and actions (a, a), in latent units."""
    objective, unit = problem.objective, problem.unit.double()
    per_unit = 1.0 / (unit[:, :, None] * unit[:, None, :])
    zero = torch.zeros(problem.action_size, problem.action_size, dtype=torch.float64, device=unit.device)
    if isinstance(objective, GoalDistance):
        last = torch.diag_embed(objective.weights_like(unit)) * per_unit
        return last, objective.stage_weight * last, objective.effort * torch.eye(len(zero)).to(zero)
    if isinstance(objective, Quadratic):
        state = torch.zeros_like(objective.last) if objective.state is None else objective.state
        action = zero if objective.action is None else objective.action
        return objective.last.to(unit) * per_unit, state.to(unit) * per_unit, action.to(unit)
    raise GraspPlannerError(
        f"a closed form is known for GoalDistance and Quadratic objectives, got {type(objective).__name__}"
    )


def double_integrator(step: float = 0.1, axes: int = 1, dtype: torch.dtype = torch.float64) -> LinearQuadratic:
    """Make a point mass that is pushed by one force per axis. A goal has a position and a velocity.

        x' = x + step * v + step^2 / 2 * a,    v' = v + step * a

    The state is (x, v) with ``axes`` numbers each. The system is underactuated. It is the reference problem for
    schedules of GRASP's goal weight: a constant weight pulls the states towards the goal, while the optimal plan first
    moves away from the goal.

    Args:
        step: duration of a model step.
        axes: number of axes.
        dtype: dtype of the matrices.

    >>> double_integrator().transition
    tensor([[1.0000, 0.1000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """
    one = torch.eye(axes, dtype=dtype)
    zero = torch.zeros_like(one)
    transition = torch.cat([torch.cat([one, step * one], dim=1), torch.cat([zero, one], dim=1)])
    return LinearQuadratic(transition, torch.cat([step**2 / 2 * one, step * one]))
