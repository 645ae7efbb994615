"""``evaluate`` plans only in the model, and executes and measures the plans in the simulator."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from world_models import FreeDot, SeenDot

from grasp_planner import CEM, GD, GRASP, Budget, GoalDistance, GraspPlannerError, Status
from grasp_planner.bench.running.observing import model_steps, observe, problem_of
from grasp_planner.bench.running.open_loop import Evaluation, evaluate
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.control.planner_files import settings_of

WALL = task("wall/dset/v1", horizon=10)


def evaluated(model: FreeDot, count: int = 3, planner: object = None, **options: object) -> Evaluation:
    planner = GD(lr=0.2) if planner is None else planner
    budget = Budget(steps=30)
    return evaluate(WALL, model, planner, budget, episodes(WALL, count=count), **options)  # type: ignore[arg-type]


def test_what_is_reported_is_what_the_simulator_does() -> None:
    found = evaluated(SeenDot())
    assert found.actions.shape == (3, 10, 2) and np.abs(found.actions).max() <= 1.8 + 1e-6
    for i, episode in enumerate(found.episodes):
        again = execute(WALL, episode, found.actions[i])
        np.testing.assert_array_equal(again.states, found.outcomes[i].states)
        assert found.success[i] == again.success_end and found.reached[i] == again.success_any
        assert found.distances["position_px"][i] == again.distances["position_px"][-1]
    assert found.imagined is not None and found.imagined.shape == (3, 3, 2)
    np.testing.assert_allclose(found.imagined[:, 0], [outcome.states[0] for outcome in found.outcomes], atol=1e-4)
    moved = found.imagined[:, 0] + 2 * found.actions.sum(1)
    np.testing.assert_allclose(found.imagined[:, -1], moved, atol=1e-3)
    np.testing.assert_array_equal(found.success_model, WALL.success(found.imagined[:, -1], found.goals))


def test_success_in_the_model_and_in_the_simulator_are_kept_apart() -> None:
    # The model knows no walls. With goals in the other room, plans that succeed in the model run into a wall.
    across = task("wall/random_state/v1", horizon=25)
    found = evaluate(across, SeenDot(), GD(lr=0.2), Budget(steps=60), episodes(across, count=6))
    assert found.success_model is not None and found.distances_model is not None
    assert found.success_model.all() and not found.success.all()
    assert (found.distances_model["position_px"] < 4.5).all()
    summary = found.summary()
    assert summary["success_rate_model"] == 1.0 and summary["success_rate"] == found.success.mean() < 1.0


def test_a_model_that_does_not_decode_is_judged_in_the_simulator_alone() -> None:
    found = evaluated(FreeDot())
    assert found.imagined is None and found.success_model is None and found.distances_model is None
    assert found.summary()["success_rate_model"] is None
    assert {record["success_model"] for record in found.records()} == {None}


def test_an_episode_is_planned_alone_as_in_a_batch() -> None:
    planner = CEM(samples=16, elites=4)
    together, alone = evaluated(SeenDot(), 3, planner), evaluated(SeenDot(), 1, planner)
    np.testing.assert_allclose(alone.actions[0], together.actions[0], atol=1e-6)


def test_the_seed_counts() -> None:
    planner = CEM(samples=16, elites=4)
    first, again, other = (evaluated(SeenDot(), 2, planner, seed=seed).actions for seed in (0, 0, 5))
    assert (first == again).all() and (first != other).any()


def test_a_model_with_a_history_sees_the_start_standing_still() -> None:
    model = SeenDot(context=3)
    problem = problem_of(WALL, model, episodes(WALL, count=2))
    assert model.seen == [
        {"state": (2, 3, 2), "proprio": (2, 3, 2)},
        {"state": (2, 1, 2), "proprio": (2, 1, 2)},
    ]
    assert problem.states.shape == (2, 3, 2) and (problem.states == problem.states[:, :1]).all()
    assert problem.past_actions.shape == (2, 2, 10) and not problem.past_actions.any()
    assert problem.horizon == 2
    assert evaluated(SeenDot(context=3)).plan.cost.isfinite().all()


def test_pictures_are_there_for_a_model_that_reads_them() -> None:
    env = WALL.make(pixels=64)
    (episode,) = episodes(WALL, count=1)
    seen, wanted = observe(env, episode)
    assert set(seen) == set(wanted) == {"state", "proprio", "pixels"}
    np.testing.assert_array_equal(seen["pixels"], env.picture(episode.start, 64))
    np.testing.assert_array_equal(wanted["pixels"], env.picture(episode.goal, 64))


@pytest.mark.parametrize("horizon", [-5, 0, 3, 12])
def test_a_horizon_is_a_whole_number_of_model_steps(horizon: int) -> None:
    with pytest.raises(GraspPlannerError, match=f"multiple of 5.*got {horizon}"):
        model_steps(FreeDot(), horizon)
    if horizon > 0:
        other = task("wall/dset/v1", horizon=horizon)
        with pytest.raises(GraspPlannerError, match=f"multiple of 5.*got {horizon}"):
            problem_of(other, FreeDot(), episodes(other, count=1))


def test_the_objective_can_be_another() -> None:
    found = evaluated(SeenDot(), objective=GoalDistance(weights=(1.0, 0.0)))
    first, second = np.abs(found.imagined[:, -1] - found.goals).T
    assert first.max() < 1 < second.max()


def test_everything_is_said_in_json() -> None:
    found = evaluated(SeenDot(), planner=GRASP(sync=CEM(samples=8, elites=2), sync_every=5, sync_steps=1))
    content = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert content["task"] == "wall/dset/v1" and content["horizon"] == 10 and content["steps"] == 30
    assert content["planner"]["name"] == "grasp" and content["planner"]["sync"]["samples"] == 8
    assert [record["seed"] for record in content["episodes"]] == [episode.seed for episode in found.episodes]
    assert content["episodes"][0]["status"] == "BUDGET"
    assert len(content["episodes_digest"]) == 16


def test_costs_that_are_not_finite_are_null_in_json() -> None:
    class Broken(SeenDot):
        def __call__(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
            return super().__call__(states, actions) * torch.nan

    found = evaluated(Broken())
    record = json.loads(json.dumps(found.records(), allow_nan=False))[0]
    assert record["cost"] is None and record["status"] == Status.NONFINITE.name
    assert record["distances"]["position_px"] is not None and record["success_model"] is False


def test_an_interrupted_plan_is_executed_and_marked() -> None:
    found = evaluated(SeenDot(), callback=lambda progress: progress.step == 2)
    assert found.interrupted and found.plan.steps == 2 and len(found.outcomes) == 3
    assert not evaluated(SeenDot()).interrupted


def test_planners_of_others_have_a_name_too() -> None:
    class Mine:
        pass

    assert settings_of(Mine())["settings"].startswith("<") and settings_of(Mine())["name"] == "Mine"
    assert settings_of(CEM())["elites"] == 30 and settings_of(CEM())["name"] == "cem"
