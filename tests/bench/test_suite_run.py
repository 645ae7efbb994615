"""The run of a suite covers every stage, and gives the same records twice, after any kill, and on any engine."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from failing_jobs import always_die, die_once, fault
from grasp_planner import GoalDistance, GraspPlannerError
from grasp_planner.bench.analysing.failures import judged_distances, outcome_of
from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.record_json import comparable
from grasp_planner.bench.records import EpisodeRecord, ShownRecord, of_kind
from grasp_planner.bench.running import job_setup
from grasp_planner.bench.running.closed_loop import Drive, drive
from grasp_planner.bench.running.engines import Serial, engine
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.suites.loading import load_suite
from grasp_planner.bench.suites.spaces import drawn
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.bench.timed_records import TimedRecord
from grasp_planner.io.processes import WorkerPool


def records(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    return [comparable(one) for one in read_records([folder]) if kind in ("", one.kind)]


def test_every_stage_leaves_its_records(finished: Path) -> None:
    counts = Counter(one["kind"] for one in records(finished))
    cells, arms, tuned = 2, 3, 2
    # 3 trials in the first round and 2 in the second. One solved and one failed episode are shown, if there are any.
    assert counts["sweep"] == cells * tuned * (3 + 2) and counts["choice"] == cells * arms
    assert counts["episode"] == cells * arms * 5 and counts["timed"] == cells * arms * 2
    assert arms * cells <= counts["shown"] <= 2 * arms * cells


def test_a_recording_and_the_record_of_an_episode_name_the_same_cause(finished: Path) -> None:
    found = read_records([finished])
    tested = {(one.work.cell, one.work.arm, one.episode): one for one in of_kind(found, EpisodeRecord)}
    shown = of_kind(found, ShownRecord)
    assert shown
    for one in shown:
        same = tested[one.work.cell, one.work.arm, one.episode]
        cause = "solved" if same.success else "model wrong" if same.success_model else "search failed"
        assert outcome_of(one) == cause and same.distances_model is not None
        (position,) = judged_distances(one)
        measured = [same.distances["position_px"], same.distances_model["position_px"]]
        assert position.limit == 4.5 and [position.simulator, position.model] == pytest.approx(measured, abs=1e-2)


def test_planners_are_tuned_alike_on_episodes_that_the_test_never_uses(finished: Path) -> None:
    sweep = records(finished, "sweep")
    spent: dict[str, Counter[str]] = {}
    for one in sweep:
        assert one["split"] == "validation" and one["rollouts"] == 12
        horizon = one["horizon"] // 5
        assert one["transitions"] <= 12 * horizon
        assert one["planner"] == drawn({"CEM": "cem", "GRASP": "grasp"}[one["arm"]], one["trial"])
        spent.setdefault(one["arm"], Counter())[f"{one['horizon']} {one['round']} {one['episodes']}"] += 1
    assert spent["CEM"] == spent["GRASP"] and set(spent["CEM"].values()) == {3, 2}
    assert {one["split"] for one in records(finished) if one["kind"] in ("episode", "timed", "shown")} == {"test"}


def test_the_choice_is_the_best_of_the_last_round(finished: Path) -> None:
    for choice in records(finished, "choice"):
        where = {name: choice[name] for name in ("task", "horizon", "model")} | {"arm": choice["settings_of"]}
        sweep = [one for one in records(finished, "sweep") if where.items() <= one.items()]
        scores = {}
        for trial in {one["trial"] for one in sweep if one["round"] == 1}:
            mine = [one for one in sweep if one["trial"] == trial]
            costs = [c for one in mine for c in one["cost"]]
            assert len(costs) == 3
            scores[trial] = (-sum(sum(one["success"]) for one in mine), sum(costs) / 3, trial)
        assert choice["winner"]["trial"] == min(scores.values())[2]
        if choice["arm"] == "no sync":
            assert choice["planner"]["planner"]["sync"] is None and choice["planner"]["starts"] == 2


def test_an_episodes_record_says_everything(finished: Path) -> None:
    asked = {one.index: one for one in episodes(task("wall/dset/v1", 10), count=5)}
    for one in records(finished, "episode"):
        assert one["schema"] == 3 and len(one["model_hash"]) == 16 and one["versions"]["torch"]
        assert one["planner"]["name"] in ("cem", "multi_start") and one["mode"] == "open-loop"
        assert one["transitions"] <= 12 * one["horizon"] // 5 and one["calls"] > 0
        assert one["gap_rollout_simulator"] > 0 and one["gap_end"]["position_px"] > 0
        # CEM has no virtual states. GRASP has none, either, if its budget is spent before its first step.
        assert "gap_virtual_rollout" not in one if one["arm"] == "CEM" else True
        assert one["success_model"] in (True, False) and one["distances_model"]["position_px"] >= 0
        if one["horizon"] == 10:
            assert one["seed"] == asked[one["episode"]].seed
    gaps = [one.get("gap_virtual_rollout") for one in records(finished, "episode") if one["arm"] != "CEM"]
    assert any(gap is not None and gap > 0 for gap in gaps)
    for one in read_records([finished]):
        if isinstance(one, TimedRecord):
            clock = one.clock
            moments = [moment.seconds for moment in clock.moments]
            assert clock.batch == 1 and moments == sorted(moments) and moments[-1] <= clock.seconds
            first = [moment.seconds for moment in clock.moments if moment.success]
            assert clock.seconds_to_success == (first[0] if first else None)


def test_a_finished_suite_does_nothing_more(finished: Path, suite_file: Path) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}

    class Idle:
        def results(self, do: Any, jobs: Any) -> Any:
            assert not list(jobs)
            return iter(())

    run = Run(load_suite(suite_file), finished)
    run.timed_jobs = lambda: []  # type: ignore[method-assign]  (they are done in this process)
    run.go(Idle())
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_another_suite_or_model_is_not_mixed_in(
    finished: Path, suite_file: Path, wall_model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "wall.toml"
    other.write_text(suite_file.read_text().replace("rollouts = 12", "rollouts = 13"))
    with pytest.raises(GraspPlannerError, match="another suite.*--out"):
        Run(load_suite(other), finished)
    told = json.loads((finished / "suite.json").read_text())
    told["models"] = dict.fromkeys(told["models"], "0" * 16)
    (tmp_path / "suite.json").write_text(json.dumps(told))
    with pytest.raises(GraspPlannerError, match="other models"):
        Run(load_suite(suite_file), tmp_path)
    missing = tmp_path / "missing.toml"
    missing.write_text(suite_file.read_text().replace(str(wall_model), "wall-nowhere"))
    with pytest.raises(GraspPlannerError, match="wall-nowhere"):
        Run(load_suite(missing), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_killed_at_ten_random_moments_and_resumed_it_is_as_if_nothing_had_been(
    finished: Path, suite_file: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("kill_and_resume.py")
    words = [sys.executable, str(script), str(suite_file), str(tmp_path), "10", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("killed 10 times")
    assert records(tmp_path) == records(finished)
    for path in tmp_path.glob("*.jsonl"):
        lines = path.read_text().splitlines()
        assert len(lines) == len(set(lines)) == len((finished / path.name).read_text().splitlines())


def test_processes_agree_with_one_process(finished: Path, suite_file: Path, tmp_path: Path) -> None:
    with engine("processes", workers=2) as processes:
        assert isinstance(processes, WorkerPool)
        Run(load_suite(suite_file), tmp_path).go(processes)
    assert records(tmp_path) == records(finished)


def test_closed_loop_replans_and_repeats(closed_loop_file: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        Run(load_suite(closed_loop_file), tmp_path / name).go(Serial())
    assert records(tmp_path / "first", "episode") == records(tmp_path / "second", "episode")
    for one in records(tmp_path / "first", "episode"):
        assert one["plans"] == 2 * 10 // 5 and one["transitions"] <= one["plans"] * 12 * 2
        assert one["mode"] == "closed-loop" and (one["reached"] or not one["success"])


def test_the_stage_weight_of_a_suite_is_that_of_every_plan(
    closed_loop_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = replace(load_suite(closed_loop_file), episodes=2, stage_weight=0.25)
    weights: list[float] = []

    def watched(*given: Any, objective: GoalDistance, **options: Any) -> Drive:
        weights.append(objective.stage_weight)
        return drive(*given, objective=objective, **options)

    monkeypatch.setattr(job_setup, "drive", watched)
    Run(suite, tmp_path / "run").go(Serial())
    assert set(weights) == {0.25}
    for weight, mode in ((-1.0, "closed-loop"), (math.nan, "closed-loop"), (0.1, "open-loop")):
        with pytest.raises(GraspPlannerError, match="stage_weight is 0 or, for suites in closed loop"):
            replace(suite, stage_weight=weight, mode=mode)


def test_a_lost_process_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    jobs = [str(tmp_path / "one")] * 3 + [str(tmp_path / "two")] * 3
    with engine("processes", workers=2) as processes:
        found = list(processes.results(die_once, jobs))
    assert sorted(job for job, _ in found) == jobs and all(pid > 0 for _, pid in found)


def test_a_job_that_kills_every_worker_is_given_up() -> None:
    with pytest.raises(GraspPlannerError, match="3 times in a row"), engine("processes", workers=2) as processes:
        list(processes.results(always_die, [1]))


def test_what_a_job_raises_is_raised() -> None:
    for name in ("serial", "processes"):
        with pytest.raises(GraspPlannerError, match="cannot be done"), engine(name, workers=2) as one:
            list(one.results(fault, [1, 2]))


def test_engines_are_known_by_name() -> None:
    with pytest.raises(GraspPlannerError, match="processes"), engine("process"):
        pass
    with pytest.raises(GraspPlannerError, match="--engine ray"), engine("serial", address="auto"):
        pass
    with pytest.raises(GraspPlannerError, match="at least 1"), engine("serial", workers=0):
        pass
    with engine("processes", workers=1) as one:
        assert isinstance(one, Serial)
