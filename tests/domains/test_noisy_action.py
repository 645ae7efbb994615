"""Environments with noise on their actions: the law of the noise, seeds, clipping, and closed loop."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import grasp_planner.domains
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.ball_nav.environment import BallNav
from grasp_planner.domains.noisy_action import NoisyAction
from grasp_planner.domains.push_t.environment import PushT

assert grasp_planner.domains.ENVIRONMENTS  # the import registers the environments


def driven(env, actions, seed, start):
    """Return the states (t+1, s) of an episode."""
    states = [env.reset(seed=seed, options={"state": start, "goal": start})[0]["state"]]
    return np.array([*states, *(env.step(action)[0]["state"] for action in actions)])


FREE = np.array([2.0, 2.0])


def test_the_noise_is_normal_and_independent():
    env, still = NoisyAction(BallNav(map="wall"), 0.2), np.zeros((2000, 2))
    moved = []
    for seed in range(2000):
        path = driven(env, still[:2], seed, np.array([2.0, 5.0]))
        moved.append(np.diff(path, axis=0) / env.unwrapped.pace)
    noise = np.array(moved)  # (episodes, steps, 2)
    assert np.abs(noise.std(0) / 0.2 - 1).max() < 0.06 and np.abs(noise.mean(0)).max() < 4 * 0.2 / 2000**0.5
    flat = noise.reshape(2000, 4)
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 4 / 2000**0.5


def test_a_seed_determines_the_noise_and_std_scales_it():
    actions = np.full((6, 2), 0.1)
    paths = {std: driven(NoisyAction(BallNav(), std), actions, 7, FREE) for std in (0.0, 0.1, 0.2)}
    np.testing.assert_array_equal(paths[0.0], driven(BallNav(), actions, 7, FREE))
    np.testing.assert_allclose(paths[0.2] - paths[0.0], 2 * (paths[0.1] - paths[0.0]), atol=1e-9)
    env = NoisyAction(BallNav(), 0.1)
    other = driven(env, actions, 8, FREE)
    assert np.abs(other[1:] - paths[0.1][1:]).min() > 0
    np.testing.assert_array_equal(driven(env, actions, 7, FREE), paths[0.1])
    again = driven(env, actions, None, FREE)  # without a seed, the noise goes on
    assert np.abs(again[1:] - paths[0.1][1:]).min() > 0


def test_noise_does_not_change_what_a_reset_samples():
    for made in (BallNav, PushT):
        plain, noisy = made().reset(seed=5), NoisyAction(made(), 0.3).reset(seed=5)
        np.testing.assert_array_equal(plain[0]["state"], noisy[0]["state"])
        np.testing.assert_array_equal(plain[1]["goal"], noisy[1]["goal"])


def test_ball_nav_clips_the_noisy_action_and_push_t_does_not():
    env = NoisyAction(BallNav(), 5.0)
    steps = np.diff(driven(env, np.zeros((12, 2)), 0, FREE), axis=0)[:, 0]
    assert np.abs(steps).max() < 0.28 + 1e-3 and np.abs(steps).max() > 0.27
    start = np.array([100.0, 100, 300, 300, 0, 0, 0])
    pushed = driven(NoisyAction(PushT(), 5.0), np.zeros((1, 2)), 0, start)[-1, :2]
    nominal = driven(PushT(), np.ones((1, 2)), 0, start)[-1, :2]
    assert np.abs(pushed - 100).max() > np.abs(nominal - 100).max()


def test_gymnasiums_environments_get_actions_of_their_own_dtype():
    env = NoisyAction(gymnasium.make("Pendulum-v1", disable_env_checker=True), 0.5)
    env.reset(seed=0)
    assert env.action(np.zeros(1)).dtype == np.float32
    assert env.step(np.zeros(1))[0].shape == (3,)


@pytest.mark.parametrize("wrong", [np.zeros(3), 0.5, np.zeros((1, 2)), np.array([np.nan, 0.0])])
def test_wrong_actions_reach_the_environment_which_refuses_them(wrong):
    env = NoisyAction(BallNav(), 0.1)
    env.reset(seed=0)
    with pytest.raises(GraspPlannerError, match="an action is two finite numbers"):
        env.step(wrong)


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf"), True, "much"])
def test_a_wrong_standard_deviation_is_refused(std):
    with pytest.raises(GraspPlannerError, match=r"NoisyAction\.std must be a number >= 0"):
        NoisyAction(BallNav(), std)


def test_discrete_actions_are_refused():
    with pytest.raises(GraspPlannerError, match="needs an environment with a Box of actions, got Discrete"):
        NoisyAction(gymnasium.make("CartPole-v1"), 0.1)
