"""Studies of models agree with known results: linear theory, quadratics, and a wall that no path crosses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from world_models import SeenDot

from grasp_planner import GraspPlannerError
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.studies.adversarial_states import adversarial
from grasp_planner.bench.studies.goal_paths import goal_paths
from grasp_planner.bench.studies.loss_growth import curvature, growth, linear_growth
from grasp_planner.bench.studies.loss_landscape import landscape
from grasp_planner.bench.studies.wall_crossing import wall_crossing
from grasp_planner.bench.tasks import episodes, task

WALL = task("wall/dset/v1", horizon=20)


def test_curvature_is_the_largest_eigenvalue_of_each_row() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    matrices = matrices + matrices.mT

    def loss(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * torch.einsum("bi,bij,bj->b", x, matrices, x)

    found = curvature(loss, torch.ones(3, 5, dtype=torch.float64), steps=300)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrices).abs().max(1).values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rho", [0.9, 1.2])
def test_linear_growth_is_what_theory_says(rho: float) -> None:
    found = linear_growth(rho, (2, 5, 10, 20))
    np.testing.assert_allclose(found.shooting_curvature, found.shooting_theory, rtol=0.02)
    assert all(value <= bound for value, bound in zip(found.lifted_curvature, found.lifted_bound, strict=True))
    assert found.lifted_curvature[-1] < 1.5 * found.lifted_curvature[0]
    grown = found.shooting_curvature[-1] / found.shooting_curvature[0]
    assert grown > 100 if rho > 1 else grown < 10


def test_growth_is_the_same_twice_and_leaves_no_gradients() -> None:
    problem = problem_of(WALL, SeenDot(), episodes(WALL, count=3))
    first, second = (growth("dot", problem, (2, 4)) for _ in range(2))
    assert first == second and first.shooting_theory == ()
    # x' = x + sum of the block: the rollout's Hessian is 2 C'C with C'C = T * 5 * 0.2^2.
    np.testing.assert_allclose(first.shooting_curvature, [2 * 2 * 5 * 0.04, 2 * 4 * 5 * 0.04], rtol=0.01)


def test_a_landscape_is_low_at_the_plan() -> None:
    found = landscape(problem_of(WALL, SeenDot(), episodes(WALL, count=1)), points=5)
    for values in (np.array(found.shooting), np.array(found.lifted)):
        assert values.shape == (5, 5) and values[2, 2] < 0.5 * np.median(values)


def test_paths_end_at_the_goal_and_wander_on_the_way() -> None:
    found = goal_paths(WALL, SeenDot(), episodes(WALL, count=6))
    cost = np.array(found.cost)
    assert found.steps == (0, 5, 10, 15, 20) and (cost[:, 0] == 1).all() and cost[:, -1].max() < 1e-3
    assert found.away == pytest.approx(np.mean(np.diff(cost) > 1e-6)) and 0 < found.away < 1
    with pytest.raises(GraspPlannerError, match="dset"):
        random = task("wall/random_state/v1")
        goal_paths(random, SeenDot(), episodes(random, count=1))


def test_an_honest_model_is_believed_as_far_as_it_is_true() -> None:
    # The model's latent is the state, so the simulator agrees where the model says that a changed state is nearer.
    # The changes are so small that no wall is in between.
    asked = [e for e in episodes(WALL, count=12) if 8 < e.start.min() and e.start[0] < 22 and e.start[1] < 56][:3]
    assert len(asked) >= 2
    found = adversarial(WALL, SeenDot(), asked, sizes=(0.01, 0.1, 100.0))
    np.testing.assert_allclose(np.array(found.truth[:2], dtype=float), found.gradient[:2], rtol=1e-3)
    assert found.truth[2] is None and found.impossible == (0.0, 0.0, 1.0)  # far outside of the room
    assert found.gradient[1] < found.gradient[0] < 1 and found.gradient[1] < found.chance[1]


def test_gradients_to_the_states_cut_through_the_wall() -> None:
    found = wall_crossing(batch=2, steps=30)
    assert found.crossed["state gradients"] == 1.0 and found.reached["state gradients"] == 0.0
    assert len(found.virtual["GRASP"]) == 13 and found.virtual["GRASP"][-1] == found.goal
