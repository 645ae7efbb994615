"""Records of another run are reused for exactly the same work, and only for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.record_json import comparable, record_to_json
from grasp_planner.bench.records import EpisodeRecord, Record, SweepRecord, of_kind
from grasp_planner.bench.running.earlier_runs import Earlier
from grasp_planner.bench.running.engines import Serial
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.suites.loading import load_suite
from grasp_planner.bench.suites.suite import Suite, Timed


class Counting:
    """An engine that runs jobs in this process and stores which jobs it ran."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def results(self, work: Callable[[Job], list[Record]], jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Record]]]:
        self.jobs += jobs
        return Serial().results(work, jobs)


def run(suite: Suite, folder: Path, earlier: Path) -> list[Job]:
    engine = Counting()
    Run(suite, folder, Earlier([earlier])).go(engine)
    return engine.jobs


def measured(folder: Path) -> dict[Any, dict[str, Any]]:
    wanted = ("kind", "horizon", "arm", "round", "trial", "episode")
    return {
        tuple(one.get(name) for name in wanted): {k: v for k, v in one.items() if k != "suite"}
        for one in map(comparable, read_records([folder]))
    }


def test_the_same_work_is_not_done_again(finished: Path, suite_file: Path, tmp_path: Path) -> None:
    other = replace(load_suite(suite_file), name="other", episodes=4, shown=0)
    assert run(other, tmp_path / "other", finished) == []  # the engine does not run timed jobs
    found, known = measured(tmp_path / "other"), measured(finished)
    assert len([one for one in found if one[0] == "timed"]) == len([one for one in known if one[0] == "timed"]) > 0
    assert all(found[one] == known[one] for one in found if one[0] != "timed")
    for record in read_records([tmp_path / "other"]):
        assert record.work.suite == "other"
        if isinstance(record, (SweepRecord, EpisodeRecord)):
            assert record.clock.reused_from == "wall"
        else:
            assert "reused_from" not in record_to_json(record).get("clock", {})


@pytest.mark.parametrize("change", [{"rollouts": 13}, {"mode": "closed-loop"}])
def test_other_work_is_done(finished: Path, suite_file: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    other = replace(load_suite(suite_file), name="other", episodes=2, shown=0, **change)
    done = run(other, tmp_path / "other", finished)
    assert {job.kind for job in done} == {"sweep", "episode"}
    records = read_records([tmp_path / "other"])
    made = [*of_kind(records, SweepRecord), *of_kind(records, EpisodeRecord)]
    assert made and all(record.clock.reused_from is None for record in made)


def test_an_arm_with_other_settings_is_not_taken_for_the_same(finished: Path, suite_file: Path, tmp_path: Path) -> None:
    suite = load_suite(suite_file)
    arms = tuple(replace(arm, change={"planner.sync": None}) if arm.like else arm for arm in suite.arms)
    done = run(replace(suite, name="other", arms=arms, shown=0), tmp_path / "other", finished)
    assert {(job.kind, job.work.arm) for job in done} == {("episode", "no sync")}


def test_episodes_of_another_version_are_done_again(finished: Path, suite_file: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "old")
    file = tmp_path / "old" / "episodes.jsonl"
    file.write_text(file.read_text().replace('"torch": "', '"torch": "1.'))
    suite = replace(load_suite(suite_file), name="other", shown=0)
    assert {job.kind for job in run(suite, tmp_path / "other", tmp_path / "old")} == {"episode"}


def test_a_loop_that_is_closed_otherwise_is_other_work(closed_loop_file: Path, tmp_path: Path) -> None:
    suite = replace(load_suite(closed_loop_file), episodes=2, timed=Timed())
    Run(suite, tmp_path / "one").go(Serial())
    assert run(replace(suite, name="same"), tmp_path / "same", tmp_path / "one") == []
    assert len(run(replace(suite, name="longer", duration=3), tmp_path / "longer", tmp_path / "one")) > 0
    assert len(run(replace(suite, name="staged", stage_weight=0.1), tmp_path / "staged", tmp_path / "one")) > 0


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraspPlannerError, match="needed the folder of a run of `grasp bench`"):
        Earlier([tmp_path])
