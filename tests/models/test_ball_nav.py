"""BallNav as a model: the same numbers as the environment, exact gradients, walls that hold, and local minima."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner import GraspPlannerError, check_world_model, load_world_model
from grasp_planner.domains.ball_nav.paths import MARGIN, path_length, path_steps, shortest_path
from grasp_planner.domains.ball_nav.physics import (
    MAPS,
    PACE,
    RADIUS,
    SIZE,
    checked_pace,
    clearance,
    sample_free,
    sample_pair,
    step_points,
    walls_of,
)
from grasp_planner.domains.ball_nav.task import success
from grasp_planner.models.ball_nav import BallNav

FASTEST = 0.9 * RADIUS / 2**0.5
every_map = pytest.mark.parametrize("map", MAPS)
maps = st.sampled_from(sorted(MAPS))


def free_points(map, count, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([sample_free(rng, walls_of(map)) for _ in range(count)])


def follow(map, start, goal, pace=PACE, steps=60):
    """Return the positions of a ball that is pushed along the shortest path, corner by corner, at full speed."""
    position, way, seen = start, list(shortest_path(map, start, goal)[1:]), [start]
    for _ in range(steps):
        while len(way) > 1 and ((way[0] - position) ** 2).sum() < 0.3**2:
            way.pop(0)
        towards = way[0] - position
        position = step_points(position, towards / max(np.abs(towards).max(), pace), walls_of(map), pace)
        seen.append(position)
    return np.array(seen)


# The dynamics


@every_map
@pytest.mark.parametrize("frameskip", [1, 5])
def test_the_model_is_the_world(map, frameskip):
    """The dynamics agree wherever a ball can be, and where only virtual states are (in walls, outside the room)."""
    rng = np.random.default_rng(1)
    free, anywhere = free_points(map, 200), rng.uniform(-3, SIZE + 3, (200, 2))
    position, pushes = np.concatenate([free, anywhere]), rng.uniform(-1, 1, (400, frameskip, 2))
    model = BallNav(map, pace=FASTEST, frameskip=frameskip)
    predicted = model(torch.from_numpy(position)[:, None], torch.from_numpy(pushes).flatten(1)[:, None])
    for k in range(frameskip):
        position = step_points(position, pushes[:, k], walls_of(map), FASTEST)
    assert np.abs(predicted.numpy() - position).max() < 1e-12


@every_map
def test_gradients_are_exact(map):
    model = BallNav(map, frameskip=3)
    walls = walls_of(map)
    rng = np.random.default_rng(2)
    near = free_points(map, 400, seed=3)
    touching = near[np.argsort(clearance(near, walls))[:6]]  # the dynamics are nonlinear in contact
    states = torch.from_numpy(np.concatenate([touching, near[:6]]))[:, None].requires_grad_()
    actions = torch.from_numpy(rng.uniform(-1, 1, (12, 1, 6))).requires_grad_()
    assert torch.autograd.gradcheck(model, (states, actions))


def test_a_free_ball_goes_where_it_is_pushed_and_stays_when_it_is_not():
    walls = walls_of("wall")
    position = np.array([2.5, 5.0])
    assert step_points(position, np.array([0.5, -1.0]), walls) == pytest.approx([2.5 + 0.5 * PACE, 5.0 - PACE])
    assert step_points(position, np.zeros(2), walls) == pytest.approx(position, abs=1e-12)


def test_a_ball_slides_along_a_wall():
    """The part of a push into the wall has no effect. The part along the wall has full effect, without friction."""
    position, walls = np.array([4.5, 4.0]), walls_of("wall")
    for _ in range(10):
        moved = step_points(position, np.array([1.0, 0.5]), walls)
        assert moved[1] - position[1] == pytest.approx(0.5 * PACE, abs=1e-12)
        position = moved
    assert position[0] == pytest.approx(5.0 - RADIUS, abs=1e-3)


def test_contact_is_soft_and_fades():
    """Without a push, the ball moves away from a wall with decreasing speed, and only a small distance."""
    walls, position, moves = walls_of("wall"), np.array([4.5, 5.0]), []
    for _ in range(200):
        after = step_points(position, np.zeros(2), walls)
        moves.append(position[0] - after[0])
        position = after
    assert all(first > second > 0 for first, second in zip(moves, moves[1:], strict=False))
    assert moves[-1] < 1e-3 and position[0] > 4.0


@pytest.mark.parametrize("map", ["cup", "wall"])
def test_symmetric_maps_have_symmetric_dynamics(map):
    points, rng = free_points(map, 100, seed=4), np.random.default_rng(5)
    pushes = rng.uniform(-1, 1, (100, 2))
    mirrored = np.stack([points[:, 0], SIZE - points[:, 1]], axis=-1)
    there = step_points(points, pushes, walls_of(map))
    back = step_points(mirrored, pushes * np.array([1.0, -1.0]), walls_of(map))
    assert np.abs(np.stack([back[:, 0], SIZE - back[:, 1]], axis=-1) - there).max() < 1e-12


# The walls hold


def crossed(first, second, walls):
    """Return whether moves (n, 2) cross a wall: signs of the areas of triangles."""

    def side(a, b, c):
        return np.sign(
            (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
        )

    a, b, p, q = walls[:, :2], walls[:, 2:], first[..., None, :], second[..., None, :]
    return ((side(a, b, p) * side(a, b, q) < 0) & (side(p, q, a) * side(p, q, b) < 0)).any()


@given(map=maps, seed=st.integers(0, 2**20), kind=st.sampled_from(["corners", "steady", "uniform", "to_walls"]))
def test_no_push_within_bounds_takes_a_ball_through_a_wall(map, seed, kind):
    rng, walls = np.random.default_rng(seed), walls_of(map)
    position = free_points(map, 32, seed)
    steady = rng.choice([-1.0, 0.0, 1.0], (32, 2))
    for _ in range(60):
        if kind == "corners":
            push = rng.choice([-1.0, 1.0], (32, 2))
        elif kind == "steady":
            push = steady
        elif kind == "uniform":
            push = rng.uniform(-1, 1, (32, 2))
        else:  # the longest push of all, straight at the nearest wall
            away = position[:, None] - np.clip(position[:, None], walls[:, :2], walls[:, 2:])
            nearest = (away**2).sum(-1).argmin(-1)
            push = -np.sign(away[np.arange(32), nearest])
        moved = step_points(position, push, walls, FASTEST)
        assert not crossed(position, moved, walls)
        assert clearance(moved, walls).min() > RADIUS - 0.01
        position = moved


@given(x=st.floats(-50, 50), y=st.floats(-50, 50), map=maps)
def test_virtual_states_anywhere_come_back_finite_and_inside(x, y, map):
    moved = step_points(np.array([x, y]), np.zeros(2), walls_of(map))
    assert np.isfinite(moved).all() and (moved >= RADIUS - 0.01).all() and (moved <= SIZE - RADIUS + 0.01).all()


@pytest.mark.parametrize("pace", [0.0, -0.1, FASTEST * 1.01, float("nan")])
def test_a_pace_that_could_tunnel_is_refused(pace):
    with pytest.raises(GraspPlannerError, match="a step could cross a wall"):
        checked_pace(pace)


# The problem is blocked, solvable, and a trap for greedy policies


@every_map
def test_the_straight_way_is_blocked(map):
    rng = np.random.default_rng(0)
    for _ in range(200):
        line = np.linspace(*sample_pair(rng), 300)
        assert clearance(line, walls_of(map)).min() < 0.1


@every_map
def test_the_shortest_way_solves_it_in_time(map):
    rng = np.random.default_rng(1)
    for _ in range(20):
        start, goal = sample_pair(rng)
        seen = follow(map, start, goal)
        assert success(seen[-1], goal)
        first = int(np.argmax(success(seen, goal)))
        assert first <= 1.15 * path_steps(shortest_path(map, start, goal), PACE) <= 50


@every_map
def test_pushing_towards_the_goal_never_gets_there(map):
    """The greedy policy minimises the next distance to the goal with each push. The ball comes to rest at a wall."""
    rng = np.random.default_rng(2)
    start, goal = (np.array(ends) for ends in zip(*(sample_pair(rng) for _ in range(50)), strict=True))
    position = start
    for _ in range(200):
        towards = goal - position
        push = towards / np.maximum(np.abs(towards).max(-1, keepdims=True), PACE)
        last, position = position, step_points(position, push, walls_of(map))
    assert not success(position, goal).any()
    assert np.abs(position - last).max() < 1e-3


def test_the_pace_is_a_knob_for_the_horizon():
    """At half the pace, the same path takes twice as many environment steps."""
    rng = np.random.default_rng(3)
    start, goal = sample_pair(rng)
    way = shortest_path("cup", start, goal)
    assert path_steps(way, PACE / 2) == pytest.approx(2 * path_steps(way, PACE), abs=1)
    assert success(follow("cup", start, goal, PACE / 2, steps=120)[-1], goal)


# Shortest paths


def test_around_the_end_of_a_wall_the_way_is_two_tangents_and_an_arc():
    """The path from (2, 5) to (8, 5) around the end (5, 8) consists of two tangents and the arc in between."""
    far, reach = np.hypot(3.0, 3.0), RADIUS + MARGIN
    exact = 2 * np.sqrt(far**2 - reach**2) + reach * (1.5 * np.pi - 2 * np.arccos(reach / far))
    found = path_length(shortest_path("wall", np.array([2.0, 5.0]), np.array([8.0, 5.0])))
    assert exact <= found <= 1.02 * exact


@given(map=maps, seed=st.integers(0, 2**20))
def test_shortest_ways_keep_clear_and_are_no_shorter_than_straight(map, seed):
    start, goal = free_points(map, 2, seed)
    way = shortest_path(map, start, goal)
    assert np.array_equal(way[0], start) and np.array_equal(way[-1], goal)
    assert path_length(way) >= np.hypot(*(goal - start)) - 1e-9
    assert path_length(way) == pytest.approx(path_length(shortest_path(map, goal, start)))
    points = np.concatenate([np.linspace(a, b, 60) for a, b in zip(way, way[1:], strict=False)])
    assert clearance(points, walls_of(map)).min() > RADIUS - 1e-6
    if clearance(np.linspace(start, goal, 200), walls_of(map)).min() > RADIUS + MARGIN + 0.05:
        assert len(way) == 2


def test_no_way_is_said():
    with pytest.raises(GraspPlannerError, match=r"the goal \[5.0, 5.0\] is not clear of the walls"):
        shortest_path("cup", np.array([2.0, 5.0]), np.array([5.0, 5.0]))
    with pytest.raises(GraspPlannerError, match="unknown map 'cupp': did you mean 'cup'"):
        shortest_path("cupp", np.array([2.0, 5.0]), np.array([8.0, 5.0]))


# The contract of world models


@every_map
def test_it_is_a_world_model(map):
    model = BallNav(map)
    report = check_world_model(model, {"state": free_points(map, 4)[:, None]})
    assert report.ok, str(report)


def test_it_is_opened_by_name():
    model = load_world_model("ball-nav")
    assert model == BallNav()
    assert (model.context, model.frameskip, model.low.shape) == (1, 5, (10,))
    with pytest.raises(GraspPlannerError, match="did you mean 'ball-nav'"):
        load_world_model("ball-nva")


def test_encode_keeps_the_state_and_says_what_it_needs():
    model = BallNav(dtype=torch.float32)
    latent = model.encode({"state": np.ones((3, 1, 2))})
    assert latent.shape == (3, 1, 2) and latent.dtype == torch.float32
    assert torch.equal(model.decode_state(latent), latent)
    with pytest.raises(GraspPlannerError, match=r"'state', got \['pixels'\]"):
        model.encode({"pixels": np.ones((3, 1, 2))})
    with pytest.raises(GraspPlannerError, match=r"\(b, h, 2\), got \(3, 2\)"):
        model.encode({"state": np.ones((3, 2))})


def test_problems_do_not_depend_on_how_many_are_made():
    many, few, other = (BallNav().problem(n, 12, seed=s) for n, s in ((9, 4), (3, 4), (3, 5)))
    assert torch.equal(many.start[:3], few.start) and torch.equal(many.goal[:3], few.goal)
    assert not torch.equal(other.start, few.start)
    assert few.low.shape == (10,) and few.horizon == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"map": "maze"}, "unknown map 'maze'"),
        ({"pace": 1.0}, "pace must be > 0 and <= 0.318 m"),
        ({"frameskip": 0}, "frameskip must be an integer >= 1, got 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(GraspPlannerError, match=message):
        BallNav(**settings)
