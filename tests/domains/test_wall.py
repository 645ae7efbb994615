"""Wall: the documented rules compared with an independent scalar implementation, sampling, pictures, Gymnasium."""

import math
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from PIL import Image

import grasp_planner.domains
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.wall.environment import WallSingle
from grasp_planner.domains.wall.physics import sample_pair, step_points
from grasp_planner.domains.wall.picture import frame, picture
from grasp_planner.domains.wall.task import distances, success


def sign(number):
    return (number > 0) - (number < 0)


def written_step(px, py, ax, ay):
    """Apply the documented rules to one dot with plain floats. Return (x, y, what happened)."""
    qx, qy = px + 2 * ax, py + 2 * ay
    for line, crosses, offset in ((34, py < 34 < qy, -0.5), (26, qy < 26 < py, 0.5)):
        if crosses:
            x = px + (line - py) / (qy - py) * (qx - px)
            if 29 <= x <= 35:
                return x + 0.5, line + offset, "jamb"

    left, right = (4, 29) if px < 32 else (35, 60)
    top, bottom = 4, 60

    def side(wall, inner):
        if sign(px - wall) * sign(qx - wall) > 0.1:
            return None
        y = py + (wall - px) / (qx - px) * (qy - py)
        return None if inner and 26 <= y <= 34 else (wall, y)

    def level(wall):
        if sign(py - wall) * sign(qy - wall) > 0.1:
            return None
        return (px + (wall - py) / (qy - py) * (qx - px), wall)

    at_side = side(left, left == 35) or side(right, right == 29)
    at_level = level(top) or level(bottom)
    if at_side and at_level:
        if math.dist((px, py), at_side) < math.dist((px, py), at_level):
            at_level = None
        else:
            at_side = None
    if at_side:
        x, y = at_side[0] + 0.5 * sign(px - at_side[0]), at_side[1] + 0.5
    elif at_level:
        x, y = at_level[0] + 0.5, at_level[1] + 0.5 * sign(py - at_level[1])
    else:
        return qx, qy, "free"
    x, y = min(max(x, left), right), min(max(y, top), bottom)
    x = left + 0.3 if x <= left else right - 0.3 if x >= right else x
    y = top + 0.3 if y <= top else bottom - 0.3 if y >= bottom else y
    return x, y, "side" if at_side else "level"


def places(rng, count):
    """Sample dots everywhere, near the door, in the corners and along the inner wall, in equal parts."""
    anywhere = rng.uniform(4.001, 59.999, (count, 2))
    door = np.stack([rng.uniform(25, 39, count), rng.uniform(23, 37, count)], axis=1)
    corner = np.where(
        rng.random((count, 2)) < 0.5, rng.uniform(4.001, 7, (count, 2)), rng.uniform(57, 59.999, (count, 2))
    )
    wall = np.stack([rng.uniform(25, 39, count), rng.uniform(4.001, 59.999, count)], axis=1)
    return np.choose(np.arange(count)[:, None] % 4, [anywhere, door, corner, wall])


def test_ten_thousand_transitions_follow_the_written_rules():
    rng = np.random.default_rng(0)
    positions = places(rng, 10_000)
    actions = rng.normal(size=(10_000, 2)) * rng.choice([0.75, 1.8, 4.0], (10_000, 1))
    expected = [written_step(*p, *a) for p, a in zip(positions.tolist(), actions.tolist())]
    kinds = [kind for _, _, kind in expected]
    assert len(kinds) - kinds.count("free") >= 1000
    assert min(kinds.count(kind) for kind in ("jamb", "side", "level")) >= 100
    got = step_points(positions, actions)
    np.testing.assert_allclose(got, [(x, y) for x, y, _ in expected], rtol=0, atol=1e-9)
    one_by_one = np.array([step_points(p, a) for p, a in zip(positions[:2000], actions[:2000])])
    np.testing.assert_array_equal(one_by_one, got[:2000])
    env = WallSingle()
    for position, action, end in zip(positions[:500], actions[:500], got[:500]):
        env.reset(options={"state": position})
        np.testing.assert_array_equal(env.step(action)[0]["state"], end)


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        ((28, 50), (1, 0), (28.5, 50.5)),  # the inner wall, from the left
        ((36, 10), (-1, 0), (35.5, 10.5)),  # and from the right
        ((28, 30), (1, 0), (30, 30)),  # the door
        ((28, 26), (1, 0), (30, 26)),  # the edges belong to the door
        ((28, 25.9), (1, 0), (28.5, 26.4)),
        ((32, 33), (0, 1), (32.5, 33.5)),  # its upper end
        ((32, 27), (0, -1), (32.5, 26.5)),  # its lower end
        ((10, 5), (0, -1), (10.5, 4.5)),  # straight at the border: the original divides by zero here
        ((5, 5), (-1, -1), (4.5, 4.5)),  # a corner: a tie goes to the top
        ((59, 59), (1, 1), (59.7, 59.5)),  # always + 0.5 along the wall: beyond the edge, so 0.3 inside
        ((5, 59), (-1, 1), (4.5, 59.5)),
        ((59.8, 20), (1, 0), (59.5, 20.5)),
        ((20, 4.2), (-6, -0.3), (16.5, 4.5)),
        ((5, 59.9), (-1, 0.0), (4.5, 59.7)),  # the bounce would leave the room
        ((4, 30), (1, 0), (4.3, 30.5)),  # a start on a wall touches it
    ],
)
def test_examples(start, action, end):
    np.testing.assert_allclose(step_points(np.array(start), np.array(action)), end, atol=1e-9)


def test_leading_axes_broadcast():
    positions, actions = np.full((3, 1, 2), 20.0), np.ones((4, 2))
    assert step_points(positions, actions).shape == (3, 4, 2)
    np.testing.assert_array_equal(step_points(positions, actions), 22.0)


def test_dots_stay_in_the_world():
    rng = np.random.default_rng(1)
    position = np.array([sample_pair(rng)[0] for _ in range(500)])
    for _ in range(100):
        position = step_points(position, rng.uniform(-1.8, 1.8, position.shape))
        assert (position > 4).all() and (position < 60).all()
        in_wall = (position[:, 0] > 29) & (position[:, 0] < 35)
        assert ((position[in_wall, 1] >= 26) & (position[in_wall, 1] <= 34)).all()


@pytest.mark.parametrize("kind", ["published", "generator"])
def test_starts_and_goals_follow_the_law(kind):
    rng = np.random.RandomState(0) if kind == "published" else np.random.default_rng(0)
    starts, goals = np.array([sample_pair(rng) for _ in range(4000)]).transpose(1, 0, 2)
    left = starts[:, 0] < 32
    assert ((goals[:, 0] > 32) == left).all()
    assert 0.46 < left.mean() < 0.54
    in_left, in_right = np.where(left, starts[:, 0], goals[:, 0]), np.where(left, goals[:, 0], starts[:, 0])
    for values, low, high in (
        (in_left, 7.4, 25.6),
        (in_right, 38.4, 56.6),
        (starts[:, 1], 7.4, 56.6),
        (goals[:, 1], 7.4, 56.6),
    ):
        assert low <= values.min() < low + 0.1 and high - 0.1 < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 4000)


def test_a_seed_gives_the_published_pair():
    rng = np.random.RandomState(100)
    x_start, x_goal = rng.uniform(7.4, 25.6), rng.uniform(38.4, 56.6)
    y_start, y_goal = rng.uniform(7.4, 56.6), rng.uniform(7.4, 56.6)
    if rng.uniform(0, 1) < 0.5:
        x_start, x_goal = x_goal, x_start
    observation, info = WallSingle().reset(seed=100)
    np.testing.assert_allclose(observation["state"], [x_start, y_start], rtol=1e-12)
    np.testing.assert_allclose(info["goal"], [x_goal, y_goal], rtol=1e-12)


def test_resets_are_deterministic_and_go_on():
    one, other = WallSingle(), WallSingle()
    for env in (one, other):
        env.reset(seed=3)
    for _ in range(3):
        (first, a), (second, b) = one.reset(), other.reset()
        np.testing.assert_array_equal(first["state"], second["state"])
        np.testing.assert_array_equal(a["goal"], b["goal"])
    assert not np.array_equal(one.reset()[0]["state"], first["state"])


def test_success_and_distance():
    assert success(np.array([10.0, 14.49]), np.array([10.0, 10.0]))
    assert not success(np.array([10.0, 14.5]), np.array([10.0, 10.0]))
    env = WallSingle()
    env.reset(options={"state": np.array([20.0, 20.0]), "goal": np.array([20.0, 26.4])})
    _, reward, terminated, truncated, info = env.step(np.array([0.0, 0.5]))
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, False, False)
    assert info["position_px"] == pytest.approx(5.4)
    _, reward, _, _, info = env.step(np.array([0.0, 0.5]))
    assert (reward, info["success"]) == (1.0, True)
    assert distances(np.zeros((5, 1, 2)), np.ones(2))["position_px"].shape == (5, 1)


def test_state_is_set_exactly_and_checked():
    env = WallSingle()
    state = np.array([31.123456789, 30.987654321])
    observation, info = env.reset(options={"state": state, "goal": [40, 40]})
    np.testing.assert_array_equal(observation["state"], state)
    np.testing.assert_array_equal(info["goal"], [40, 40])
    state[0] = 0  # a change of the caller's array has no effect
    assert env.get_state()[0] == 31.123456789
    for wrong in ([1.0, 30.0], [10.0], [np.nan, 10.0], [10.0, 60.1]):
        with pytest.raises(GraspPlannerError, match="between the border lines"):
            env.set_state(np.array(wrong))
    with pytest.raises(GraspPlannerError, match="'state' and 'goal'"):
        env.reset(options={"start": state})
    with pytest.raises(GraspPlannerError, match="two finite numbers"):
        env.step(np.array([np.inf, 0.0]))
    with pytest.raises(GraspPlannerError, match="no state yet"):
        WallSingle().step(np.zeros(2))
    with pytest.raises(GraspPlannerError, match="pixels must be"):
        WallSingle(pixels=65)


@pytest.mark.parametrize("pixels", [None, 64, 224])
def test_gymnasium_contract(pixels):
    assert "grasp_planner/WallSingle-v1" in gymnasium.registry, grasp_planner.domains.__name__
    env = gymnasium.make("grasp_planner/WallSingle-v1", pixels=pixels, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings():  # a warning that actions are not in [-1, 1]
        warnings.filterwarnings("ignore", message=".*symmetric and normalized space.*")
        check_env(env)
    observation, _ = env.reset(seed=0)
    assert ("pixels" in observation) == (pixels is not None)
    assert env.render().shape == (pixels or 224, pixels or 224, 3)


def plain_frame(x, y):
    """Draw the published frame, pixel by pixel."""
    share = np.array([[math.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * 1.7**2)) for i in range(65)] for j in range(65)])
    image = np.full((65, 65, 3), 255, dtype=np.uint8)
    for j in range(65):
        for i in range(65):
            if i in (4, 60) or j in (4, 60) or (29 <= i <= 35 and not 26 <= j <= 34):
                image[j, i] = 0
            else:
                image[j, i, 1:] = 255 - int(255 * share[j, i] / share.max())
    return image


@pytest.mark.parametrize(
    "position", [(10.3, 50.7), (32.0, 30.0), (28.4, 26.2), (4.0, 4.0), (59.97, 60.0), (20.5, 12.5)]
)
def test_frames_are_the_published_ones(position):
    np.testing.assert_array_equal(frame(np.array(position)), plain_frame(*position))


@pytest.mark.parametrize("size", [64, 224])
def test_pictures_are_bilinear_resizes_of_the_frame(size):
    rng = np.random.default_rng(2)
    for position in rng.uniform(4, 60, (20, 2)):
        reference = Image.fromarray(frame(position)).resize((size, size), Image.Resampling.BILINEAR)
        difference = picture(position, size).astype(int) - np.asarray(reference).astype(int)
        assert np.abs(difference).max() <= 1  # Pillow works with fixed-point weights


def test_pictures_do_not_touch_the_state_and_follow_small_moves():
    env = WallSingle(pixels=64)
    observation, _ = env.reset(seed=5)
    elsewhere = env.picture(np.array([12.0, 12.0]), 64)
    np.testing.assert_array_equal(env.get_state(), observation["state"])
    np.testing.assert_array_equal(env.picture(observation["state"], 64), observation["pixels"])
    assert not np.array_equal(elsewhere, observation["pixels"])
    assert not np.array_equal(elsewhere, env.picture(np.array([12.05, 12.0]), 64))
