"""Tuning: equal trials for every planner, the same trials after a kill, and failures that are kept."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from grasp_planner import Budget, GraspPlannerError, MultiStart, Planner
from grasp_planner.bench.running.planner_tuning import STORAGE_FILE, Tuned, tune_planners
from grasp_planner.bench.suites.spaces import known_settings, spaces

pytest.importorskip("optuna")

BUDGET = Budget(steps=1)
STARTUP = 10  # trials before TPE learns from trials


def losses(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
    """Return losses that depend on the settings alone, without planning."""
    assert budget == BUDGET
    if not isinstance(planner, MultiStart):
        return [0.0]
    return [planner.start_std, abs(planner.starts - 20) + seed]


def trials_of(tuned: Tuned) -> dict[str, list[Any]]:
    """Return all trials without their seconds, which differ between two runs."""
    return {
        one.name: [(trial.number, trial.settings, trial.losses, trial.error) for trial in one.trials]
        for one in tuned.planners
    }


class Killed(BaseException):
    """The death of a process: nothing catches it."""


def dying(call: int) -> Any:
    """Return losses that die at a call."""
    calls = 0

    def die(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return losses(planner, budget, seed)

    return die


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune_planners(losses, ["gd", "grasp"], STARTUP + 3, BUDGET, tmp_path_factory.mktemp("tuned"))


def test_every_planner_has_the_same_number_of_trials_and_the_best_one_comes_first(uninterrupted: Tuned) -> None:
    assert [len(one.trials) for one in uninterrupted.planners] == [STARTUP + 3] * 2
    bests = []
    for one in uninterrupted.planners:
        known = known_settings(one.name)
        assert [trial.settings for trial in one.trials[: len(known)]] == known
        assert len({str(trial.settings) for trial in one.trials}) == STARTUP + 3
        assert one.best is not None and one.best.loss == min(
            trial.loss for trial in one.trials if trial.loss is not None
        )
        bests.append(one.best.loss)
    assert bests == sorted(bests)
    assert uninterrupted.best == uninterrupted.planners[0].planner


@pytest.mark.parametrize("call", [2, 2 * STARTUP + 5])  # a known setting, and a setting that TPE suggested
def test_a_killed_tuning_continues_with_the_trials_of_an_uninterrupted_one(
    call: int, uninterrupted: Tuned, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        tune_planners(dying(call), ["gd", "grasp"], STARTUP + 3, BUDGET, tmp_path)
    again = tune_planners(losses, ["gd", "grasp"], STARTUP + 3, BUDGET, tmp_path)
    assert trials_of(again) == trials_of(uninterrupted)


def test_a_result_that_was_stored_before_a_kill_counts(
    uninterrupted: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    def die(*arguments: Any, **options: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", die)
        with pytest.raises(Killed):
            tune_planners(losses, ["gd"], STARTUP, BUDGET, tmp_path)
    again = tune_planners(dying(10**6), ["gd"], STARTUP, BUDGET, tmp_path)
    assert trials_of(again)["gd"] == trials_of(uninterrupted)["gd"][:STARTUP]


def test_more_trials_continue_a_finished_tuning_and_another_tuning_is_refused(tmp_path: Path) -> None:
    short = trials_of(tune_planners(losses, ["gd"], 2, BUDGET, tmp_path, about={"task": "mine"}))
    longer = trials_of(tune_planners(losses, ["gd"], 3, BUDGET, tmp_path, about={"task": "mine"}))
    assert longer["gd"][:2] == short["gd"] and len(longer["gd"]) == 3
    both = trials_of(tune_planners(losses, ["cem", "gd"], 2, BUDGET, tmp_path, about={"task": "mine"}))
    assert both["gd"] == short["gd"] and len(both["cem"]) == 2, "a folder with more trials does not favour a planner"
    with pytest.raises(GraspPlannerError, match="another tuning: there, seed is 0, and here 1"):
        tune_planners(losses, ["gd"], 3, BUDGET, tmp_path, about={"task": "mine"}, seed=1)
    with pytest.raises(GraspPlannerError, match="task is 'mine', and here 'other'"):
        tune_planners(losses, ["gd"], 3, BUDGET, tmp_path, about={"task": "other"})
    with pytest.raises(GraspPlannerError, match="task is 'mine', and here 'other'"):  # a planner without trials
        tune_planners(losses, ["mppi"], 3, BUDGET, tmp_path, about={"task": "other"})
    with pytest.raises(GraspPlannerError, match="budget"):
        tune_planners(losses, ["gd"], 3, Budget(steps=2), tmp_path, about={"task": "mine"})


def test_failed_trials_are_kept_with_the_reason_and_count(tmp_path: Path) -> None:
    def failing(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        assert isinstance(planner, MultiStart)
        if "GRASP" in str(planner):
            raise RuntimeError("no\n memory")
        return [1.0] if planner.starts == 16 else [float("nan")]

    tuned = tune_planners(failing, ["grasp", "gd"], 2, BUDGET, tmp_path)
    assert [(one.name, len(one.trials), one.failed) for one in tuned.planners] == [("gd", 2, 1), ("grasp", 2, 2)]
    place = r"RuntimeError: no memory \(test_planner_tuning\.py, line \d+\)"
    assert all(re.fullmatch(place, trial.error) for trial in tuned.planners[1].trials)
    assert "finite losses" in tuned.planners[0].trials[1].error and "nan" in tuned.planners[0].trials[1].error
    assert tuned.planners[1].planner is None and tuned.planners[1].best is None
    again = tune_planners(losses, ["grasp", "gd"], 2, BUDGET, tmp_path)  # failed trials are not tried again
    assert trials_of(again) == trials_of(tuned)


def broken(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
    raise RuntimeError("no simulator")


def test_it_is_an_error_if_everything_fails(tmp_path: Path) -> None:
    expected = "first 2 trials of every planner failed.*no simulator.*another folder than"
    with pytest.raises(GraspPlannerError, match=expected):
        tune_planners(broken, ["grasp", "gd"], 2, BUDGET, tmp_path)
    with pytest.raises(GraspPlannerError, match=expected):  # the stored trials are failures
        tune_planners(losses, ["grasp", "gd"], 2, BUDGET, tmp_path)


def test_a_tuning_that_fails_from_the_start_ends_early(tmp_path: Path) -> None:
    calls = []

    def counted(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        calls.append(planner)
        return broken(planner, budget, seed)

    with pytest.raises(GraspPlannerError, match="first 3 trials of every planner failed"):
        tune_planners(counted, ["grasp", "gd"], 20, BUDGET, tmp_path)
    assert len(calls) == 3 * 2


def test_trials_that_fail_at_first_do_not_end_a_tuning(tmp_path: Path) -> None:
    calls = []

    def failing_twice(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        calls.append(planner)
        return broken(planner, budget, seed) if len(calls) < 3 else losses(planner, budget, seed)

    (one,) = tune_planners(failing_twice, ["gd"], 3, BUDGET, tmp_path).planners
    assert [bool(trial.error) for trial in one.trials] == [True, True, False] and one.best == one.trials[2]


@pytest.mark.parametrize("raised", [False, True])
def test_ctrl_c_that_planning_catches_stops_the_tuning(raised: bool, tmp_path: Path) -> None:
    def pressed(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            if raised:
                raise RuntimeError("the simulator was interrupted") from None
        return [0.0]

    with pytest.raises(KeyboardInterrupt):
        tune_planners(pressed, ["gd"], 1, BUDGET, tmp_path)
    (one,) = tune_planners(losses, ["gd"], 1, BUDGET, tmp_path).planners
    assert [trial.losses for trial in one.trials] == [(2.3, 4.0)]  # the interrupted trial ran again


def test_a_process_that_is_killed_leaves_its_trials_and_keeps_other_processes_out(
    uninterrupted: Tuned, tmp_path: Path
) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_planner_tuning import BUDGET, STARTUP, losses, tune_planners
done = []
def waiting(planner, budget, seed):
    done.append(planner)
    if len(done) > 2 * STARTUP + 3:  # a trial that Optuna has suggested
        print("waiting", flush=True)
        time.sleep(100)
    return losses(planner, budget, seed)
tune_planners(waiting, ["gd", "grasp"], STARTUP + 3, BUDGET, {str(tmp_path)!r})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "waiting\n"
            with pytest.raises(GraspPlannerError, match="another process works in"):
                tune_planners(losses, ["gd", "grasp"], STARTUP + 3, BUDGET, tmp_path)
        finally:
            process.kill()
    calls = []

    def counted(planner: Planner, budget: Budget, seed: int) -> Sequence[float]:
        calls.append(planner)
        return losses(planner, budget, seed)

    again = tune_planners(counted, ["gd", "grasp"], STARTUP + 3, BUDGET, tmp_path)
    assert trials_of(again) == trials_of(uninterrupted) and len(calls) == 3


def test_wrong_arguments_and_files_are_errors_that_say_what_was_needed(tmp_path: Path) -> None:
    with pytest.raises(GraspPlannerError, match="at least 1 trial for each planner, got 0"):
        tune_planners(losses, ["gd"], 0, BUDGET, tmp_path)
    with pytest.raises(GraspPlannerError, match="unknown space of settings 'grsp': did you mean 'grasp'"):
        tune_planners(losses, ["grsp"], 1, BUDGET, tmp_path)
    (tmp_path / STORAGE_FILE).write_text("not a database, " * 100)
    with pytest.raises(GraspPlannerError, match=f"{STORAGE_FILE}: not readable as Optuna storage"):
        tune_planners(losses, ["gd"], 1, BUDGET, tmp_path)


@pytest.mark.parametrize(
    "returned, expected",
    [
        (0.5, "needed a loss for each episode, got the float 0.5"),
        ([], "needed finite losses of at least one episode, got []"),
        ([0.0, float("inf")], "needed finite losses of at least one episode, got [0.0, inf]"),
        (["high"], "ValueError: could not convert string to float: 'high'"),
    ],
)
def test_a_function_that_returns_no_losses_is_told_what_was_needed(
    returned: Any, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(GraspPlannerError, match=f"first trial of every planner failed.*{re.escape(expected)}"):
        tune_planners(lambda planner, budget, seed: returned, ["gd"], 1, BUDGET, tmp_path)


def test_a_tuning_without_results_may_begin_again_with_other_settings(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        tune_planners(dying(1), ["gd"], 1, BUDGET, tmp_path, about={"task": "mine"})
    (one,) = tune_planners(losses, ["gd"], 1, BUDGET, tmp_path, about={"task": "other"}).planners
    assert len(one.trials) == 1


def test_optuna_learns_from_known_settings_and_from_the_defaults_that_they_do_not_name() -> None:
    from grasp_planner.bench.running.trial_storage import _within

    values, _ = _within("gd", known_settings("gd")[0])
    assert values == {"planner.lr": 0.2, "starts": 16, "start_std": 2.3, "planner.action_noise": 0.0}
    for space in spaces():
        for known in known_settings(space):
            assert _within(space, known)[0]


@pytest.mark.parametrize("name", ["a?b", "50%41", "a b#c", "[x]"])
def test_trials_are_stored_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    for trials in (1, 2):
        (one,) = tune_planners(losses, ["gd"], trials, BUDGET, tmp_path / name).planners
        assert len(one.trials) == trials
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name) / STORAGE_FILE]
