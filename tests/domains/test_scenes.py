"""Scenes: outlines agree with the environments' pictures, and views contain the bodies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from grasp_planner.bench.tasks import TASKS
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.registry import SCENES, scene
from grasp_planner.domains.scenes import Body, zoomed

SIZE = 224


def inside(points: np.ndarray, env: str) -> np.ndarray:
    """Return whether an outline (p, 2) covers each pixel (SIZE, SIZE) of a picture of the whole scene."""
    left, right, bottom, top = scene(env).view
    at = (np.arange(SIZE) + 0.5) / SIZE
    x, y = np.meshgrid(left + at * (right - left), top + at * (bottom - top))
    return Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(SIZE, SIZE)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_push_t_outlines_cover_the_pixels_of_the_environment(seed: int) -> None:
    env = TASKS["push_t/dset/v1"].make()
    state = env.sample_state(np.random.default_rng(seed))
    state[:2], state[2:4] = (60.0, 450.0), (260.0, 240.0)  # apart, and away from the anchor's middle
    picture = env.picture(state, SIZE).astype(int)
    block, pusher = (body.at(state) for body in scene("PushT-v1").bodies)
    blueish = (picture[..., 2] - picture[..., 0] > 60) & (picture[..., 2] > 200)
    assert overlap(inside(pusher, "PushT-v1"), blueish) > 0.8
    greyish = (np.abs(picture - [143, 163, 184]).max(-1) < 30) | (np.abs(picture - [119, 136, 153]).max(-1) < 30)
    assert overlap(inside(block, "PushT-v1"), greyish) > 0.85


def test_wall_outlines_cover_the_pixels_of_the_environment() -> None:
    env = TASKS["wall/dset/v1"].make()
    state = np.array([20.0, 45.0])
    picture = env.picture(state, SIZE).astype(int)
    dot = scene("WallSingle-v1").bodies[0].at(state)
    red = (picture[..., 0] - picture[..., 1]) > 150
    y, x = np.nonzero(red)
    middle = np.argwhere(inside(dot, "WallSingle-v1")).mean(0)
    assert np.abs(middle - [y.mean(), x.mean()]).max() < 1.5
    black = picture.max(-1) < 128
    walls = np.zeros_like(black)
    for left, top, width, height in scene("WallSingle-v1").walls:
        corners = np.array([(left, top), (left + width, top), (left + width, top + height), (left, top + height)])
        walls |= inside(corners, "WallSingle-v1")
    assert overlap(walls, black) > 0.75


def test_point_maze_outlines_cover_the_pixels_of_the_environment() -> None:
    from grasp_planner.domains.point_maze.picture import top_down

    state = np.array([0.3, 0.4, 0.0, 0.0])
    picture = top_down(state, SIZE).astype(int)
    left, right, bottom, top = scene("PointMaze-v1").view
    assert (right - left, bottom - top) == pytest.approx((4.0, 4.0))
    green = (picture[..., 1] > picture[..., 0] + 30) & (picture[..., 1] > picture[..., 2] + 30)
    middle = np.argwhere(inside(scene("PointMaze-v1").bodies[0].at(state), "PointMaze-v1")).mean(0)
    assert np.abs(middle - np.argwhere(green).mean(0)).max() < 1.5
    brown = np.abs(picture - [178, 128, 77]).max(-1) < 20
    walls = np.zeros_like(brown)
    for x, y, width, height in scene("PointMaze-v1").walls:
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
        walls |= inside(corners, "PointMaze-v1")
    assert overlap(walls, brown) > 0.98


def test_ball_nav_outlines_cover_the_pixels_of_the_environment() -> None:
    state = np.array([7.0, 2.5])
    picture = TASKS["ball_nav/dset/v1"].make().picture(state, SIZE).astype(int)
    red = (picture[..., 0] - picture[..., 1]) > 80
    assert overlap(inside(scene("BallNav-v1").bodies[0].at(state), "BallNav-v1"), red) > 0.9
    dark = picture.max(-1) < 150
    walls = np.zeros_like(dark)
    for x, y, width, height in scene("BallNav-v1").walls:
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
        walls |= inside(corners, "BallNav-v1")
    assert overlap(walls, dark) > 0.85


def test_a_turned_body_turns_about_its_origin() -> None:
    body = Body("bar", np.array([(1.0, 0.0), (2.0, 0.0), (2.0, 1.0)]), (0, 1), 2)
    states = np.array([[5.0, 5.0, 0.0], [5.0, 5.0, np.pi / 2]])
    np.testing.assert_allclose(body.at(states)[1], [(5, 6), (5, 7), (4, 7)], atol=1e-12)
    assert body.path(states).shape == (2, 2)


@given(
    env=st.sampled_from(sorted(SCENES)),
    shares=st.lists(st.tuples(*[st.floats(0.2, 0.8)] * 2), min_size=1, max_size=4),
)
def test_a_closer_view_holds_every_body_and_is_a_square_within_the_whole(env: str, shares: list) -> None:
    whole = scene(env)
    left, right, bottom, top = whole.view
    states = np.zeros((len(shares), 7))
    for state, (x, y) in zip(states, shares):
        for body in whole.bodies:
            state[list(body.position)] = left + x * (right - left), top + y * (bottom - top)
    near = zoomed(whole, states).view
    assert abs(near[1] - near[0]) == pytest.approx(abs(near[3] - near[2]))
    for new, old in ((near[:2], (left, right)), (near[2:], (bottom, top))):
        assert min(old) - 1e-9 <= min(new) and max(new) <= max(old) + 1e-9
        assert (new[1] > new[0]) == (old[1] > old[0])
    for body in whole.bodies:
        corners = body.at(states).reshape(-1, 2)
        clipped = np.clip(corners, [min(left, right), min(bottom, top)], [max(left, right), max(bottom, top)])
        assert (clipped[:, 0] >= min(near[:2]) - 1e-9).all() and (clipped[:, 0] <= max(near[:2]) + 1e-9).all()
        assert (clipped[:, 1] >= min(near[2:]) - 1e-9).all() and (clipped[:, 1] <= max(near[2:]) + 1e-9).all()


def test_an_unknown_scene_suggests_the_nearest() -> None:
    with pytest.raises(GraspPlannerError, match="PushT-v1"):
        scene("PushT-v2")
