"""The BallNav environment: the Gymnasium interface, the dynamics compared with the model, pictures, scripted policy."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import grasp_planner.domains
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.ball_nav.environment import BallNav
from grasp_planner.domains.ball_nav.physics import MAPS, RADIUS, SIZE, clearance, walls_of
from grasp_planner.domains.ball_nav.picture import BALL, GOAL, picture
from grasp_planner.domains.ball_nav.policy import BallNavPolicy
from grasp_planner.domains.ball_nav.task import distances, success
from grasp_planner.domains.registry import POLICIES
from grasp_planner.models.ball_nav import BallNav as Model

every_map = pytest.mark.parametrize("map", MAPS)


@pytest.mark.parametrize("pixels", [None, 64])
def test_gymnasium_accepts_it(pixels):
    env = gymnasium.make("grasp_planner/BallNav-v1", pixels=pixels, render_mode="rgb_array", map="hook")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different `render_mode` than.*")
        warnings.filterwarnings("ignore", message=".*not within the observation space.*")
        check_env(env.unwrapped, skip_render_check=True)
    observation, info = env.reset(seed=0)
    assert observation["state"].dtype == np.float64 and set(info) == {"success", "position_m", "goal"}
    assert env.render().shape == ((64, 64, 3) if pixels else (224, 224, 3))
    assert "BallNav-v1" in grasp_planner.domains.ENVIRONMENTS


@every_map
@pytest.mark.parametrize("pace", [0.1, 0.28])
def test_the_environment_is_the_model(map, pace):
    env, model = BallNav(map=map, pace=pace), Model(map, pace=pace)
    rng = np.random.default_rng(0)
    for seed in range(5):
        env.reset(seed=seed, options={"state": env.sample_state(rng)})
        blocks = rng.uniform(-1, 1, (12, 5, 2))
        latent = model.encode({"state": env.get_state()[None, None]})
        for block in blocks:
            latent = model(latent, torch.from_numpy(block).reshape(1, 1, 10))[:, None]
            for action in block:
                observation = env.step(action)[0]
            assert np.abs(observation["state"] - latent[0, 0].numpy()).max() < 1e-12


def test_steps_follow_from_state_and_action_alone():
    env, actions = BallNav(), np.random.default_rng(0).uniform(-1, 1, (20, 2))
    env.reset(seed=3)
    before = env.get_state()
    first = [env.step(action)[0]["state"] for action in actions]
    env.reset(seed=4)
    env.set_state(before)
    second = [env.step(action)[0]["state"] for action in actions]
    assert np.array_equal(first, second)


def test_pushes_are_clipped():
    env = BallNav()
    ends = []
    for action in ([1.0, -1.0], [5.0, -9.0]):
        env.reset(seed=0)
        ends.append(env.step(np.array(action))[0]["state"])
    assert np.array_equal(*ends)


def test_seeds_fix_start_and_goal_and_options_override_them():
    env, other = BallNav(), BallNav(map="slalom")
    first, info = env.reset(seed=5)
    again, same = other.reset(seed=5)
    assert np.array_equal(first["state"], again["state"]) and np.array_equal(info["goal"], same["goal"])
    moved, _ = env.reset()
    assert not np.array_equal(moved["state"], first["state"])
    state, goal = np.array([1.5, 1.5]), np.array([8.0, 8.0])
    observation, info = env.reset(seed=5, options={"state": state, "goal": goal})
    assert np.array_equal(observation["state"], state) and np.array_equal(env.goal, goal)
    state[0] = 9.0
    assert env.get_state()[0] == 1.5
    starts, goals = zip(*((env.reset()[0]["state"], env.goal) for _ in range(300)), strict=True)
    starts, goals = np.array(starts), np.array(goals)
    for points, low, high in ((starts, (1.0, 3.5), (2.5, 6.5)), (goals, (7.5, 3.5), (9.0, 6.5))):
        assert (points >= low).all() and (points <= high).all()
        assert np.abs(points.mean(0) - np.mean([low, high], axis=0)).max() < 0.15


def test_success_is_covering_the_goal():
    env = BallNav()
    env.reset(options={"state": np.array([8.0, 5.0]), "goal": np.array([8.4, 5.0])})
    _, reward, terminated, truncated, info = env.step(np.zeros(2))
    assert (reward, terminated, truncated, info["success"]) == (1.0, False, False, True)
    assert info["position_m"] == pytest.approx(0.4)
    states = np.array([[0.0, 0.0], [0.3, 0.39], [0.3, 0.41]])
    assert success(states, np.zeros(2)).tolist() == [True, True, False]
    assert distances(states[None], np.zeros(2))["position_m"].shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.step(np.array([np.nan, 0.0])), "two finite numbers"),
        (lambda env: env.step(np.zeros(3)), "two finite numbers"),
        (lambda env: env.set_state(np.array([5.0, 5.0])), "0.00 m from the nearest"),
        (lambda env: env.set_state(np.array([0.1, 5.0])), "clear of the border"),
        (lambda env: env.set_state(np.array([np.nan, 5.0])), "two finite numbers"),
        (lambda env: env.reset(options={"start": np.ones(2)}), r"'state' and 'goal', got \['start'\]"),
        (lambda env: env.reset(options={"goal": np.array([4.9, 5.0])}), "clear of the border"),
        (lambda env: BallNav(render_mode="human"), "render_mode must be"),
        (lambda env: BallNav(pixels=65), "pixels must be None or one of"),
        (lambda env: BallNav(map="cups"), "unknown map 'cups': did you mean 'cup'"),
        (lambda env: BallNav(pace=2.0), "a step could cross a wall"),
        (lambda env: BallNav().get_state(), "call reset"),
        (lambda env: picture(np.ones(2), env.walls, 4096), "16 to 1024 px"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    env = BallNav()
    env.reset(seed=0)
    with pytest.raises(GraspPlannerError, match=message):
        call(env)


# Pictures


@every_map
def test_pictures_show_the_ball_where_it_is(map):
    env = BallNav(map=map)
    rng = np.random.default_rng(1)
    for size in (64, 224):
        for _ in range(5):
            state = env.sample_state(rng)
            image = env.picture(state, size).astype(float)
            red = np.clip(image[..., 0] - image[..., 1], 0, None)
            rows, columns = np.mgrid[:size, :size] + 0.5
            middle = np.array([(red * columns).sum(), (red * (size - rows)).sum()]) / red.sum() * SIZE / size
            assert np.abs(middle - state).max() < 0.01


def test_pictures_move_with_the_ball_and_only_there():
    env = BallNav()
    still, moved = (env.picture(np.array([2.0 + shift, 2.0]), 64) for shift in (0.0, 0.01))
    assert (still != moved).any() and np.abs(still.astype(int) - moved).max() < 20
    assert np.array_equal(still[:, 32:], moved[:, 32:])
    assert not np.array_equal(still, BallNav(map="wall").picture(np.array([2.0, 2.0]), 64))


def test_rendering_shows_the_goal_and_pictures_do_not():
    env = BallNav(render_mode="rgb_array", pixels=224)
    observation, _ = env.reset(options={"state": np.array([2.0, 5.0]), "goal": np.array([8.0, 5.0])})
    place = round((5.0) * 224 / SIZE), round((8.0 + RADIUS) * 224 / SIZE)
    assert np.abs(env.render()[place].astype(int) - GOAL).max() < 60
    assert (observation["pixels"][place] > 240).all()
    assert observation["pixels"][112, round(2.0 * 22.4)].tolist() == list(BALL)
    assert BallNav().render() is None


# The scripted policy


@every_map
def test_the_policy_solves_every_problem_on_the_shortest_way(map):
    env = BallNav(map=map)
    for seed in range(10):
        observation, info = env.reset(seed=seed)
        policy = BallNavPolicy(map, goal=info["goal"])
        policy.reset(np.random.default_rng(seed), observation["state"])
        for _ in range(60):
            action = policy.act(observation["state"])
            assert np.abs(action).max() <= 1.0 + 1e-12
            observation, _, _, _, info = env.step(action)
        assert info["success"]


def test_the_collecting_policy_is_seeded_bounded_and_goes_everywhere():
    env, policy = BallNav(), POLICIES["ball_nav"]()
    runs = []
    for _ in range(2):
        observation, _ = env.reset(seed=0)
        policy.reset(np.random.default_rng(7), observation["state"])
        states, actions = [], []
        for _ in range(1500):
            actions.append(policy.act(observation["state"]))
            observation = env.step(actions[-1])[0]
            states.append(observation["state"])
        runs.append((np.array(states), np.array(actions)))
    states, actions = runs[0]
    assert np.array_equal(states, runs[1][0]) and np.array_equal(actions, runs[1][1])
    assert np.abs(actions).max() <= 1.0
    cells = {tuple(cell) for cell in (states // 2.0).astype(int)}
    assert len(cells) >= 23  # of 25
    touching = clearance(states, walls_of("cup")) < RADIUS + 0.05
    assert 0.02 < touching.mean() < 0.5
