"""Push-T's scripted policy: the statistics of its data, and its paths around the T."""

import numpy as np
import pytest

from grasp_planner.domains.push_t.environment import PushT
from grasp_planner.domains.push_t.geometry import HIGH, LOW, OUTLINE, PUSHER_RADIUS, Pose, shortest_paths, sides
from grasp_planner.domains.push_t.physics import BAR, STEM
from grasp_planner.domains.push_t.physics import PUSHER_RADIUS as SIMULATED_RADIUS
from grasp_planner.domains.push_t.policy import PushTPolicy
from grasp_planner.domains.registry import POLICIES

EPISODES, STEPS = 16, 150


def collect(seed: int, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Return states (steps + 1, 7) and actions (steps, 2) of one episode."""
    rng, env, policy = np.random.default_rng(seed), PushT(), POLICIES["push_t"]()
    env.set_state(env.sample_state(rng))
    states, actions = [env.get_state()], []
    policy.reset(rng, states[0])
    for _ in range(steps):
        actions.append(policy.act(states[-1]))
        states.append(env.step(actions[-1])[0]["state"])
    return np.array(states), np.array(actions)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """States (episodes, steps + 1, 7), actions (episodes, steps, 2)."""
    episodes = [collect(seed) for seed in range(EPISODES)]
    return np.stack([states for states, _ in episodes]), np.stack([actions for _, actions in episodes])


def local_pusher(states: np.ndarray) -> np.ndarray:
    """Return the pusher's positions (n, 2) in the T's frame."""
    cos, sin = np.cos(states[:, 4]), np.sin(states[:, 4])
    x, y = (states[:, :2] - states[:, 2:4]).T
    return np.stack([cos * x + sin * y, cos * y - sin * x], axis=1)


def test_geometry_is_the_environments() -> None:
    assert PUSHER_RADIUS == SIMULATED_RADIUS
    corners = {tuple(corner) for corner in OUTLINE.tolist()}
    assert corners == set(BAR) | (set(STEM))


def test_distance_to_the_block() -> None:
    pose = Pose(np.array([200.0, 220.0]), 0.7)
    local = np.array([[0, 15], [0, -5], [80, 15], [63, -4], [40, 40], [0, 130], [0, 75]])
    expected = [-15, 5, 20, 5, 10, 10, -15]
    np.testing.assert_allclose(pose.distance(pose.world(local)), expected, atol=1e-9)


def test_sides_face_inwards() -> None:
    start, end, normal = sides()
    pose = Pose(np.zeros(2), 0.0)
    middle = (start + end) / 2
    assert (pose.distance(middle + normal) < 0).all()
    np.testing.assert_allclose(pose.distance(middle - normal), 1.0)


def test_ways_lead_round_the_block_and_touch_nothing() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        pose = Pose(rng.uniform(170, 340, 2), rng.uniform(0, 6.3))
        places = rng.uniform(LOW, HIGH, (9, 2))
        places = places[pose.distance(places) > 19]
        lengths, routes = shortest_paths(pose, places[0], places[1:])
        for length, route in zip(lengths, routes):
            if np.isfinite(length):
                stops = np.stack([places[0], *route])
                np.testing.assert_allclose(np.linalg.norm(np.diff(stops, axis=0), axis=1).sum(), length)
                fractions = np.linspace(0, 1, 200)[:, None, None]
                along = stops[:-1] + fractions * np.diff(stops, axis=0)
                assert pose.distance(along).min() > PUSHER_RADIUS
                found += 1
    assert found > 200


def test_way_out_of_contact_does_not_lead_through_the_block() -> None:
    pose = Pose(np.array([250.0, 250.0]), 0.0)
    touching = np.array([270.0, 250.0 - PUSHER_RADIUS])  # on the bar's upper side
    lengths, (route,) = shortest_paths(pose, touching, np.array([[250.0, 395.0]]))  # below the stem
    assert 250 < lengths[0] < 450
    assert len(route) > 2


def test_block_stays_inside_the_walls(data: tuple[np.ndarray, np.ndarray]) -> None:
    states = data[0][:, 10:].reshape(-1, 7)  # a random start may lie across a wall
    for corner in OUTLINE:
        x = states[:, 2] + np.cos(states[:, 4]) * corner[0] - np.sin(states[:, 4]) * corner[1]
        y = states[:, 3] + np.sin(states[:, 4]) * corner[0] + np.cos(states[:, 4]) * corner[1]
        assert min(x.min(), y.min()) > 3 and max(x.max(), y.max()) < 508


def test_pusher_stays_inside_the_window(data: tuple[np.ndarray, np.ndarray]) -> None:
    pusher = data[0][..., :2]
    assert pusher.min() > LOW - 1 and pusher.max() < HIGH + 1


def test_pusher_is_in_contact_a_large_share_of_the_time(data: tuple[np.ndarray, np.ndarray]) -> None:
    states = data[0][:, 1:].reshape(-1, 7)
    touching = [Pose(state[2:4], state[4]).distance(state[:2]) < PUSHER_RADIUS + 0.5 for state in states]
    assert 0.3 < np.mean(touching) < 0.8
    moved = np.linalg.norm(np.diff(data[0][..., 2:4], axis=1), axis=-1) > 0.05
    model_steps = moved.reshape(EPISODES, -1, 5).any(-1)
    assert model_steps.mean() > 0.5


def test_all_sides_are_pushed(data: tuple[np.ndarray, np.ndarray]) -> None:
    states = data[0].reshape(-1, 7)
    place = local_pusher(states)
    start, end, _ = sides()
    along = end - start
    share = np.clip(((place[:, None] - start) * along).sum(-1) / (along**2).sum(-1), 0, 1)
    away = np.linalg.norm(place[:, None] - start - share[..., None] * along, axis=-1)
    touched = away.min(1) < PUSHER_RADIUS + 0.5
    shares = np.bincount(away.argmin(1)[touched], minlength=8) / touched.sum()
    assert shares.min() > 0.02 and shares.max() < 0.45


def test_data_cover_places_and_angles(data: tuple[np.ndarray, np.ndarray]) -> None:
    states, actions = data
    spread = states[..., 2:4].std((0, 1))
    assert (spread > 40).all() and (spread < 100).all()
    np.testing.assert_allclose(states[..., 2:4].mean((0, 1)), 256, atol=40)
    counts = np.histogram(states[..., 4], 8, (0, 2 * np.pi))[0] / states[..., 4].size
    assert counts.min() > 0.03
    assert ((actions.std((0, 1)) > 0.15) & (actions.std((0, 1)) < 0.3)).all()
    assert np.abs(actions.mean((0, 1))).max() < 0.03


def test_randomness_comes_from_the_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global state must not move)
    one, other, third = collect(3, 40), collect(3, 40), collect(4, 40)
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one[1], third[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_settings_change_the_data() -> None:
    def mean_change(**settings: float) -> float:
        rng, env = np.random.default_rng(5), PushT()
        env.set_state(env.sample_state(rng))
        policy = PushTPolicy(**settings)
        policy.reset(rng, env.get_state())
        actions = []
        for _ in range(80):
            actions.append(policy.act(env.get_state()))
            env.step(actions[-1])
        return float(np.abs(np.diff(actions, axis=0)).mean())

    assert mean_change(noise=0.0, bursts=0.0) < 0.6 * mean_change(noise=0.15, bursts=0.0)
    assert mean_change(bursts=0.0) < mean_change(bursts=0.9)
