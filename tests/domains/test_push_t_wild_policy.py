"""Push-T's second scripted policy: bounds, seeds, and the share of contact in its data."""

import numpy as np
import pytest

from grasp_planner.domains.push_t.environment import PushT
from grasp_planner.domains.push_t.wild_policy import LIMIT, PushTWildPolicy
from grasp_planner.domains.registry import POLICIES


def episode(seed: int, limit: float = LIMIT, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng, env, policy = np.random.default_rng(seed), PushT(), PushTWildPolicy(limit)
    env.set_state(env.sample_state(rng))
    states, actions = [env.get_state()], []
    policy.reset(rng, states[0])
    for _ in range(steps):
        actions.append(policy.act(states[-1]))
        env.step(actions[-1])
        states.append(env.get_state())
    return np.array(states), np.array(actions)


@pytest.fixture(scope="module")
def episodes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [episode(seed) for seed in range(40)]


def test_it_has_a_name() -> None:
    assert POLICIES["push_t_wild"] is PushTWildPolicy


def test_actions_reach_the_bounds_and_never_pass_them(episodes) -> None:
    actions = np.concatenate([actions for _, actions in episodes])
    assert np.abs(actions).max() == LIMIT
    assert np.abs(episode(0, limit=0.3)[1]).max() <= 0.3
    assert 0.2 < actions.std() < LIMIT


def test_the_block_moves_often_and_the_pusher_stays_about_the_window(episodes) -> None:
    states = np.stack([states for states, _ in episodes])
    moving = np.linalg.norm(np.diff(states[..., 2:4], axis=1), axis=-1) > 0.05
    assert moving.mean() > 0.25
    assert (np.abs(states[..., :2] - 255.5) < 300).mean() > 0.97


def test_the_same_seed_does_the_same() -> None:
    for one, other in zip(episode(7), episode(7)):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(episode(7)[1], episode(8)[1])
