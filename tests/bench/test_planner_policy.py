"""Data that a planner collects: plans to the goals of training episodes, executed in the environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from grasp_planner import GD, Budget, GraspPlannerError, MultiStart, RandomShooting, load_world_model
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import evaluate, executable
from grasp_planner.bench.running.planner_policy import EPISODES_PER_SEED, PlannerPolicy
from grasp_planner.bench.tasks import SPLITS, episodes, task
from grasp_planner.data import read
from grasp_planner.data.collecting import UNFINISHED, collect
from grasp_planner.models import LearnedPolicy, LearnedPolicyConfig

PLANNER = MultiStart(GD(lr=0.2), starts=3, start_std=1.0)
BUDGET = Budget(steps=4)
POLICY = PlannerPolicy("wall", 20, "wall-state", PLANNER, BUDGET)


def gather(out, count=5, policy=POLICY, **rest):
    return collect(
        "wall", count, out, **{"steps": policy.horizon, "policy": policy, "workers": 1, "progress": False, **rest}
    )


def same(one, other):
    a, b = read(one, cache=False), read(other, cache=False)
    np.testing.assert_array_equal(a.actions, b.actions)
    np.testing.assert_array_equal(a.array("state"), b.array("state"))


def test_the_data_are_the_executed_plans_of_training_episodes(tmp_path):
    data = read(gather(tmp_path / "own"), cache=False)
    chosen = task("wall", 20)
    drawn = episodes(chosen, "training", 5)
    found = evaluate(chosen, load_world_model("wall-state"), PLANNER, BUDGET, drawn)
    for i, outcome in enumerate(found.outcomes):
        np.testing.assert_array_equal(data.episode(i)["state"], outcome.states)
        np.testing.assert_array_equal(data.episode(i)["actions"], found.actions[i])


def test_goals_are_kept(tmp_path):
    import minari

    storage = minari.MinariDataset(gather(tmp_path / "own", 2) / "data").storage
    for drawn, notes in zip(episodes(task("wall", 20), "training", 2), storage.get_episode_metadata(range(2))):
        np.testing.assert_array_equal(notes["goal"], drawn.goal)


def test_starts_and_goals_are_never_those_of_tests_or_of_validation():
    chosen = task("wall", 20)
    seeds = {split: {one.seed for one in episodes(chosen, split, 40)} for split in SPLITS}
    assert len(set.union(*seeds.values())) == 40 * len(SPLITS)


def test_each_seed_has_episodes_of_its_own(tmp_path):
    data = read(gather(tmp_path / "own", 2, seed=3), cache=False)
    first = episodes(task("wall", 20), "training", 1, 3 * EPISODES_PER_SEED)[0]
    np.testing.assert_array_equal(data.episode(0)["state"][0], first.start)


def test_data_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 40)
    same(gather(tmp_path / "one"), gather(tmp_path / "two", workers=2))


@dataclass(frozen=True)
class Interrupted(RandomShooting):
    """A planner during whose third step Ctrl-C is pressed."""

    def init(self, problem, actions, noise):
        Interrupted.steps = 0
        return super().init(problem, actions, noise)

    def step(self, problem, state, noise):
        Interrupted.steps += 1
        if Interrupted.steps == 3:
            raise KeyboardInterrupt
        return super().step(problem, state, noise)


def test_plans_that_ctrl_c_cut_short_are_not_data(tmp_path):
    policy = PlannerPolicy("wall", 20, "wall-state", Interrupted(), Budget(steps=5))
    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path / "own", policy=policy)
    assert not list((tmp_path / "own" / UNFINISHED).glob("*.hdf5"))


def test_other_settings_are_another_data_set(tmp_path):
    gather(tmp_path / "own", 2)
    other = PlannerPolicy("wall", 20, "wall-state", PLANNER, Budget(steps=5))
    with pytest.raises(GraspPlannerError, match=r"(?s)steps 4.*steps 5"):
        gather(tmp_path / "own", 2, policy=other)


def test_the_number_of_threads_is_as_before(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        gather(tmp_path / "own", 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def policy_folder(folder, latent=2, action=10):
    """Save a policy with random weights, whose actions are not zero."""
    policy = LearnedPolicy(LearnedPolicyConfig(latent, action, horizon=4, width=8))
    torch.nn.init.normal_(policy.network.last.weight, generator=torch.Generator().manual_seed(0))
    return str(policy.save_pretrained(folder))


def test_plans_begin_with_the_actions_of_a_policy(tmp_path):
    start = policy_folder(tmp_path / "policy")
    unchanged = PlannerPolicy("wall", 20, "wall-state", GD(), Budget(steps=0), start=start)
    data = read(gather(tmp_path / "own", 3, policy=unchanged), cache=False)
    model, chosen = load_world_model("wall-state"), task("wall", 20)
    problem = problem_of(chosen, model, episodes(chosen, "training", 3))
    first = LearnedPolicy.from_pretrained(start).actions(problem)
    assert first.abs().max() > 0.1
    for i in range(3):
        np.testing.assert_allclose(data.episode(i)["actions"], executable(model, first[i]), rtol=1e-5, atol=1e-6)
    assert f", from {start} " in unchanged.description
    assert ", from " not in POLICY.description


def test_a_policy_that_does_not_fit_is_refused_at_once(tmp_path):
    start = policy_folder(tmp_path, latent=8)
    with pytest.raises(GraspPlannerError, match="needs latents of 8 and model actions of 10 numbers, got 2 and 10"):
        PlannerPolicy("wall", 20, "wall-state", PLANNER, BUDGET, start=start)
    with pytest.raises(GraspPlannerError, match=r"needs config\.json"):
        PlannerPolicy("wall", 20, "wall-state", PLANNER, BUDGET, start=str(tmp_path / "none"))


def test_the_number_of_steps_is_that_of_the_policy(tmp_path):
    data = read(collect("wall", 1, tmp_path / "own", policy=POLICY, workers=1, progress=False), cache=False)
    assert data.lengths.tolist() == [20], "the published number of the environment is 50"
    for steps in (10, 30):
        with pytest.raises(GraspPlannerError, match=f"needed steps=20, .* got {steps}"):
            gather(tmp_path / "other", steps=steps)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": Budget(seconds=1.0)}, "steps or transitions"),
        ({"horizon": 21}, "multiple of 5"),
        ({"model": "pusht-state"}, "belongs to PushT-v1"),
        ({"task": "wal"}, "unknown task"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(changes, message):
    settings = {"task": "wall", "horizon": 20, "model": "wall-state", "planner": PLANNER, "budget": BUDGET}
    with pytest.raises(GraspPlannerError, match=message):
        PlannerPolicy(**settings | changes)
