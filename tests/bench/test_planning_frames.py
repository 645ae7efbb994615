"""Recordings show the planner's state at several moments, and recording does not change the plan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from world_models import FreeDot, SeenDot

from grasp_planner import CEM, GD, GRASP, Budget, GraspPlannerError, LatCo, MultiStart, Sequential
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.running.planning_frames import Recorder
from grasp_planner.bench.suites.settings import planner_title
from grasp_planner.bench.tasks import episodes, task

WALL = task("wall/dset/v1", horizon=20)
STEPS = 12


def recorded(planner, index: int = 1, model: FreeDot | None = None, frames: int = 100, steps: int = STEPS):
    model, recorder = SeenDot() if model is None else model, Recorder(planner, index, frames)
    found = evaluate(WALL, model, planner, Budget(steps=steps), episodes(WALL, count=3), callback=recorder)
    return found, recorder.recording(found, model)


@pytest.mark.parametrize("planner", [GD(), CEM(samples=8, elites=2)])
def test_planners_without_virtual_states_show_their_rollouts(planner) -> None:
    found, recording = recorded(planner)
    assert recording.virtual is None and recording.planner == planner_title(planner)
    assert recording.steps.tolist() == [*range(1, STEPS + 1), STEPS]
    assert recording.rollouts.shape == (STEPS + 1, 4, 2)
    np.testing.assert_allclose(recording.rollouts[-1], found.imagined[1, 1:], atol=1e-4)


@pytest.mark.parametrize(
    "planner",
    [
        MultiStart(GRASP(state_noise=0.1, initial_noise=0.1, sync_every=4, sync_steps=2), starts=2, start_std=0.5),
        Sequential(GRASP(state_noise=0.1, initial_noise=0.1, sync_every=4, sync_steps=2), GD(), share=0.3),
        LatCo(),
    ],
)
def test_virtual_states_of_the_right_problem_end_as_the_plan(planner) -> None:
    found, recording = recorded(planner)
    assert recording.virtual.shape == (STEPS + 1, 3, 2)
    np.testing.assert_allclose(recording.virtual[-1], recording.rollouts[-1, :-1], atol=1e-5)
    # At the first step, virtual states are still near the line from start to goal, for each of the problems.
    share = np.arange(1, 4)[:, None] / 4
    line = recording.start + share * (recording.goal - recording.start)
    assert np.abs(recording.virtual[0] - line).max() < 5
    assert np.abs(recording.goal - found.episodes[1].goal).max() < 1e-9


def test_rollouts_are_those_of_the_actions_then_in_hand() -> None:
    planner, kept = GD(lr=0.1), []

    def keep(progress) -> None:
        if progress.state is not None:
            kept.append(planner.actions(progress.state)[1].clone())
        recorder(progress)

    model, recorder = SeenDot(), Recorder(planner, 1)
    found = evaluate(WALL, model, planner, Budget(steps=5), episodes(WALL, count=3), callback=keep)
    recording = recorder.recording(found, model)
    for moment, actions in enumerate(kept):
        moves = 2 * actions.unflatten(-1, (5, 2)).sum(1).cumsum(0)
        np.testing.assert_allclose(recording.rollouts[moment], recording.start + moves.numpy(), atol=1e-3)


@pytest.mark.parametrize("planner", [GD(), CEM(samples=8, elites=2), GRASP(sync_every=3, sync_steps=2)])
def test_looking_changes_nothing(planner) -> None:
    asked = episodes(WALL, count=3)
    unseen = evaluate(WALL, SeenDot(), planner, Budget(steps=STEPS), asked)
    seen, _ = recorded(planner)
    assert torch.equal(seen.plan.actions, unseen.plan.actions)
    assert seen.plan.transitions == unseen.plan.transitions and seen.plan.calls == unseen.plan.calls


def test_a_long_run_is_thinned_evenly() -> None:
    _, recording = recorded(GD(), frames=10, steps=75)
    steps = recording.steps[:-1]
    assert 10 <= len(steps) <= 20 and len(set(np.diff(steps))) == 1
    assert recording.steps[-1] == 75 and len(recording.best_cost) == 76


def test_costs_executions_and_distances_are_those_of_the_episode() -> None:
    found, recording = recorded(GD(), index=2)
    np.testing.assert_array_equal(recording.best_cost, found.plan.trace.cost[:, 2])
    np.testing.assert_array_equal(recording.executed, found.outcomes[2].states)
    assert recording.success == bool(found.success[2])
    assert recording.distances == {name: values[2] for name, values in found.distances.items()}


def test_no_recording_without_a_decoder() -> None:
    assert recorded(GD(), model=FreeDot())[1] is None


def test_a_run_without_a_step_is_recorded_by_its_start() -> None:
    found, recording = recorded(GRASP(), steps=0)
    assert recording.steps.tolist()[-1] == 0 and len(recording.rollouts) == len(recording.steps)
    assert recording.executed.shape == (21, 2)


@pytest.mark.parametrize(("index", "frames"), [(-1, 10), (0, 1)])
def test_impossible_recorders(index: int, frames: int) -> None:
    with pytest.raises(GraspPlannerError, match="recorder"):
        Recorder(GD(), index, frames)
