"""Worlds with other settings: environment and model agree, and paths need a large share of the horizon."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grasp_planner import GraspPlannerError, load_world_model
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.tasks import TASKS, episodes, task
from grasp_planner.domains.ball_nav.paths import path_steps, shortest_path
from grasp_planner.domains.registry import SCENES

VARIANTS = {name: found for name, found in TASKS.items() if found.variant is not None}


def test_there_are_three_maps_and_three_horizons() -> None:
    assert {(found.variant.options["map"], found.horizon) for found in VARIANTS.values() if found.variant} == {
        (map, steps) for map in ("cup", "hook", "slalom") for steps in (100, 300, 1000)
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_the_shortest_path_takes_at_least_half_of_the_horizon(name: str) -> None:
    found = VARIANTS[name]
    assert found.variant is not None
    options = found.variant.options
    for split in ("test", "validation"):
        for one in episodes(found, split, 50):
            steps = path_steps(shortest_path(options["map"], one.start, one.goal), options["pace"])
            assert found.horizon / 2 <= steps <= 0.95 * found.horizon


@pytest.mark.parametrize("name", VARIANTS)
def test_pushes_along_the_shortest_path_reach_the_goal_in_time(name: str) -> None:
    found = VARIANTS[name]
    assert found.variant is not None
    map, pace = found.variant.options["map"], found.variant.options["pace"]
    env = found.make()
    for one in episodes(found, count=5):
        corners = list(shortest_path(map, one.start, one.goal)[1:])
        state = env.reset(options={"state": one.start, "goal": one.goal})[0]["state"]
        steps = 0
        while not found.success(state, one.goal):
            if len(corners) > 1 and np.linalg.norm(corners[0] - state) < 0.06:
                corners.pop(0)
            way = (corners[0] - state) / pace
            state = env.step(way / max(1.0, np.abs(way).max()))[0]["state"]
            steps += 1
            assert steps <= found.horizon
        # The last half metre need not be covered, since the goal is reached at this distance.
        assert steps >= 0.4 * found.horizon


@pytest.mark.parametrize("name", VARIANTS)
def test_the_model_is_the_environment(name: str) -> None:
    found = VARIANTS[name]
    model, env = load_world_model(model_for(found)), found.make()
    assert model.frameskip == 1
    (first,) = episodes(found, count=1)
    state = torch.from_numpy(env.reset(options={"state": first.start, "goal": first.goal})[0]["state"])[None]
    towards = np.array([1.0, -0.4])  # runs into a wall on every map
    for _ in range(80):
        state = model(state[:, None], torch.from_numpy(towards)[None, None])
        np.testing.assert_allclose(state[0].numpy(), env.step(towards)[0]["state"], atol=1e-9)


def test_a_variant_is_planned_in_its_own_model() -> None:
    hook = task("ball-nav-hook-300")
    assert hook.name == "ball_nav_hook_300/random_state/v1" and hook.horizon == 300
    assert model_for(hook) == model_for(hook, "Ball_Nav_Hook_300") == "ball-nav-hook-300"
    for wrong in ("ball-nav", "ball-nav-cup-300", "ball-nav-hook-1000"):
        with pytest.raises(GraspPlannerError, match=f"{wrong} has other settings.*ball-nav-hook-300"):
            model_for(hook, wrong)
    with pytest.raises(GraspPlannerError, match="pusht-state belongs to PushT-v1"):
        model_for(hook, "pusht-state")


def test_a_map_without_outlines_is_not_drawn_with_those_of_another_map() -> None:
    drawn = {name for name, found in VARIANTS.items() if found.scene in SCENES}
    assert drawn == {name for name in VARIANTS if "_cup_" in name}
