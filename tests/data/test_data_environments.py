"""Data of every world: collected, read back and replayed."""

import numpy as np
import pytest

from grasp_planner.data import read
from grasp_planner.data.collecting import collect
from grasp_planner.data.recipe import Recipe, domain_of, environment_id, number_of_steps
from grasp_planner.data.rollouts import make_environment, roll
from grasp_planner.domains.registry import DOMAINS, POLICIES

NAMES = sorted(DOMAINS)
EPISODE_STEPS = {"point_maze": 100, "wall": 50, "push_t": 200, "ball_nav": 100}


def recipe(name, **changes):
    given = {"episodes": 3, "steps": 10, "every": 5, "pixels": None, "seed": 0, "version": "0"}
    return Recipe(environment=environment_id(name), policy=name, **given | changes)


@pytest.mark.parametrize("name", NAMES)
def test_collected_episodes_are_replayed_by_their_seed_and_actions(tmp_path, name):
    out = collect(name, 2, tmp_path / name, steps=20, every=5, pixels=64, workers=1, progress=False)
    episodes = read(out)
    own = episodes.metadata["grasp_planner"]
    assert (own["environment"], own["policy"]) == (environment_id(name), name)
    env = make_environment(recipe(name, pixels=64))
    assert own["state_names"] == list(env.state_names)
    for i in range(2):
        one = episodes.episode(i)
        seed = int(np.random.SeedSequence([0, i]).generate_state(1)[0] >> 1)
        observation, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(one["state"][0], observation["state"])
        for row, block in enumerate(one["actions"].reshape(4, 5, -1)):
            for action in block:
                observation, *_ = env.step(action)
            np.testing.assert_array_equal(one["state"][row + 1], observation["state"])
            np.testing.assert_array_equal(one["proprio"][row + 1], observation["proprio"])
            np.testing.assert_array_equal(one["pixels"][row + 1], env.picture(observation["state"], 64))
    assert np.ptp(one["state"], axis=0).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_does_not_depend_on_those_before_it(name):
    plan = recipe(name, steps=30)
    make_policy = POLICIES[name]
    env, policy = make_environment(plan), make_policy()
    after_others = [roll(env, policy, plan, index) for index in (0, 1, 2)][-1]
    alone = roll(make_environment(plan), make_policy(), plan, 2)
    np.testing.assert_array_equal(after_others.actions, alone.actions)
    np.testing.assert_array_equal(after_others.observations["state"], alone.observations["state"])
    np.testing.assert_array_equal(after_others.goal, alone.goal)


@pytest.mark.parametrize("name", NAMES)
def test_names_lead_to_the_environment_and_back(name):
    full = environment_id(name)
    assert full.startswith("grasp_planner/")
    assert domain_of(full) is domain_of(f"grasp_planner.domains:{full}") is DOMAINS[name]
    assert environment_id(full) == environment_id(full.split("/")[1]) == full
    assert number_of_steps(None, None, full) == EPISODE_STEPS[name]
