"""Timed parts of a suite: limits, batches, the order of jobs, tuning for seconds, and the load of the machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from record_samples import WORK

from grasp_planner import GD, GraspPlannerError, Planner
from grasp_planner.bench import machine_load
from grasp_planner.bench.machine_load import Load, load_warning
from grasp_planner.bench.record_files import RecordFile, read_records
from grasp_planner.bench.records import ChoiceRecord, SweepRecord, of_kind
from grasp_planner.bench.running.job_records import run_job
from grasp_planner.bench.running.job_setup import Setup
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.model_hash import model_hash
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.running.timed_jobs import StopAtSuccess, timed_episodes, timed_sweep
from grasp_planner.bench.running.tuning import choice, scores
from grasp_planner.bench.suites.loading import load_suite
from grasp_planner.bench.suites.suite import Arm, Loop, Suite, Timed, Tuning
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.bench.timed_records import TimedRecord, TimedSweepRecord, TrialClock
from grasp_planner.control.planner_files import planner_of
from grasp_planner.core.errors import TooLargeError
from grasp_planner.models.ball_nav import BallNav

LOOP = Loop(execute=1, duration=2, stage_weight=0.0)
LATE = 5.0  # s, since a busy machine can stop a process for seconds


@pytest.fixture(scope="module")
def timed_suite(suite_file: Path) -> Suite:
    """A suite whose budgets are all in seconds."""
    suite = load_suite(suite_file)
    return replace(
        suite,
        name="timed",
        episodes=0,
        rollouts=0,
        shown=0,
        cells=suite.cells[:1],
        tuning=Tuning((2, 1), (1, 3), seconds=0.2),
        timed=Timed(episodes=3, seconds=(0.1, 0.2), batch=2),
    )


@pytest.fixture(scope="module")
def timed_run(timed_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timed") / "run"
    Run(timed_suite, folder).go(NoJobs())
    return folder


class NoJobs:
    """An engine for the parts that are not timed; a suite with budgets in seconds has none."""

    def results(self, do: Any, jobs: Any) -> Any:
        assert not list(jobs)
        return iter(())


def setup_of(
    kind: Any, seconds: float, model: Any, count: int = 2, batch: int = 1, planner: Planner = GD(lr=0.3)
) -> Setup:
    asked = task("ball_nav/dset/v1", 10)
    work = replace(WORK, task=asked.name, rollouts=0, split="validation")
    job = Job(kind, work, tuple(range(count)), None, seconds, LOOP, batch=batch)
    return Setup(job, asked, model, planner, episodes(asked, "validation", count))


def test_every_timed_plan_leaves_its_record_once_per_limit(timed_run: Path, timed_suite: Suite) -> None:
    timed = of_kind(read_records([timed_run]), TimedRecord)
    plans = Counter((one.work.arm, one.episode, one.seconds_limit) for one in timed)
    assert set(plans.values()) == {1}
    assert set(plans) == {(arm.name, i, limit) for arm in timed_suite.arms for i in range(3) for limit in (0.1, 0.2)}
    for one in timed:
        assert one.clock.batch == (2 if one.episode < 2 else 1) and one.clock.seconds <= one.seconds_limit + LATE
        assert one.work.rollouts == 0 and one.work.split == "test"


def test_a_finished_timed_suite_runs_no_job_again(
    timed_run: Path, timed_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grasp_planner.bench.running.suite_run.run_job", lambda job: pytest.fail("a job ran again"))
    before = {path.name: path.read_bytes() for path in timed_run.iterdir()}
    Run(timed_suite, timed_run).go(NoJobs())
    assert {path.name: path.read_bytes() for path in timed_run.iterdir()} == before


def test_all_planners_follow_one_another_on_each_problem(timed_run: Path, timed_suite: Suite) -> None:
    jobs = Run(timed_suite, timed_run).timed_jobs()
    arms = [arm.name for arm in timed_suite.arms]
    order = [(numbers, limit, arm) for numbers in ((0, 1), (2,)) for limit in (0.1, 0.2) for arm in arms]
    assert [(job.numbers, job.seconds, job.work.arm) for job in jobs] == order


def test_every_planner_has_as_many_timed_trials(timed_run: Path) -> None:
    records = read_records([timed_run])
    sweeps = of_kind(records, TimedSweepRecord)
    trials = Counter((one.work.arm, one.round, one.episodes) for one in sweeps)
    assert trials == {
        (arm, i, numbers): n for arm in ("CEM", "GRASP") for i, numbers, n in ((0, (0,), 2), (1, (1, 2), 1))
    }
    for one in sweeps:
        assert one.seconds_limit == 0.2 and one.work.split == "validation"
        assert len(one.clock.seconds_to_success) == len(one.clock.cost) == len(one.episodes)
        assert one.clock.seconds <= 0.2 * len(one.episodes) + LATE
    winners = [one.winner for one in of_kind(records, ChoiceRecord)]
    assert all(one is not None and one.seconds is not None and 0 < one.seconds <= 0.2 for one in winners)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ((0.1, None), (1.0, 1.0), 1),  # means 2.05 and 1.0
        ((3.9, 3.9), (0.1, None), 1),  # means 3.9 and 2.05: seconds count, not the number of solved episodes
        ((None, None), (None, None), 1),  # equal means: the lower cost
        ((1.0, 1.0), (0.5, 1.5), 1),
    ],
)
def test_the_mean_of_the_seconds_decides(
    tmp_path: Path, first: tuple[float | None, ...], second: tuple[float | None, ...], winner: int
) -> None:
    file, tuning, arm = RecordFile(tmp_path / "sweep.jsonl"), Tuning((2,), (2,), seconds=4.0), Arm("GD", space="gd")
    for trial, (firsts, cost) in enumerate(((first, 0.3), (second, 0.2))):
        clock = TrialClock(8.0, 1, "x86_64", 3, firsts, (cost, cost))
        file.append([TimedSweepRecord(WORK, 0, trial, (0, 1), 4.0, clock)])
    best = scores(file, [WORK], tuning, 0)[0]
    seconds = [4.0 if one is None else one for one in (first, second)[winner]]
    assert best.trial == winner and best.loss == pytest.approx(sum(seconds) / 2)
    chosen = choice(file, WORK, [WORK], tuning, arm, arm).winner
    assert chosen is not None and chosen.trial == winner and chosen.seconds == best.loss
    assert chosen.success == 1 - (first, second)[winner].count(None) / 2


@pytest.mark.parametrize("batch", [1, 2])
def test_tuning_stops_at_the_first_success_and_tests_do_not(batch: int) -> None:
    limit = 60.0
    trial = timed_sweep(setup_of("timed_sweep", limit, BallNav(), batch=batch))
    firsts = trial.clock.seconds_to_success
    assert len(firsts) == 2 and all(first is not None and first < limit / 4 for first in firsts)
    assert trial.clock.seconds < limit / 2 and trial.clock.batch == batch
    short = 1.0 + 4 * max(first for first in firsts if first is not None)  # room for a busy machine
    records = timed_episodes(setup_of("timed", short, BallNav()))
    assert [one.clock.batch for one in records] == [2, 2]
    for one in records:
        assert one.clock.seconds_to_success is not None
        assert one.clock.seconds >= 0.9 * short, "a test runs to its limit"


def test_success_is_judged_in_the_simulator_and_not_in_the_model() -> None:
    wrong = BallNav(pace=0.1)  # the simulator's ball moves almost three times as far
    setup = setup_of("timed_sweep", 0.5, wrong)
    executed: list[int] = []
    env = setup.task.make()
    reset = env.reset
    env.reset = lambda **given: (executed.append(1), reset(**given))[1]
    stop = StopAtSuccess(setup.task, setup.model, setup.episodes, env)
    found = setup.plan(setup.episodes, stop)
    assert found.success_model is not None and found.success_model.any(), "the test needs plans that the model believes"
    assert executed and found.plan.seconds >= 0.45
    assert [first is not None for first in stop.firsts] == found.success.tolist() == [False, False]


def test_a_suite_without_a_budget_has_budgets_in_seconds_everywhere(timed_suite: Suite) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"episodes": 2}, "has neither"),
        ({"tuning": Tuning((1,), (1,))}, "has neither"),
        ({"timed": Timed(episodes=2)}, "has neither"),
        ({"rollouts": 5}, "has neither"),
        ({"mode": "closed-loop"}, "open loop"),
        ({"shown": 1}, "recordings"),
    ]
    for change, message in wrong:
        with pytest.raises(GraspPlannerError, match=message):
            replace(timed_suite, **change)
    for seconds in ((2.0, 1.0), (1.0, 1.0), (0.0,), (float("nan"),)):
        with pytest.raises(GraspPlannerError, match="rising"):
            Timed(episodes=1, seconds=seconds)
    with pytest.raises(GraspPlannerError, match="batch"):
        Timed(episodes=1, batch=0)
    with pytest.raises(GraspPlannerError, match="seconds of a tuning"):
        Tuning((1,), (1,), seconds=-1.0)


@pytest.mark.parametrize(
    ("kind", "mode"), [("sweep", "open-loop"), ("sweep", "closed-loop"), ("timed_sweep", "open-loop")]
)
def test_a_trial_that_a_planner_refuses_for_the_size_of_the_problem_fails(kind: Any, mode: Any) -> None:
    small = {"name": "gauss_newton", "memory_limit": 1}
    with pytest.raises(TooLargeError, match="memory_limit"):
        setup_of(kind, 0.1, BallNav(), planner=planner_of(small)).plan(
            episodes(task("ball_nav/dset/v1", 10), "test", 1)
        )
    model = "ball-nav"
    asked = {"task": "ball_nav/dset/v1", "model": model, "model_hash": model_hash(model), "split": "validation"}
    seconds = 0.1 if kind == "timed_sweep" else 0.0
    for planner, allowed in ((small, False), ({"name": "gd"}, True)):
        work = replace(WORK, **asked, mode=mode, rollouts=0 if seconds else 5, planner=planner)
        (record,) = run_job(Job(kind, work, (0, 1), None, seconds, LOOP, trial=3))
        assert isinstance(record, (SweepRecord, TimedSweepRecord))
        assert (record.kind, record.trial, record.episodes) == (kind, 3, (0, 1))
        costs = record.clock.cost if isinstance(record, TimedSweepRecord) else record.cost
        assert [cost is not None for cost in costs] == [allowed, allowed]
        if not allowed and isinstance(record, TimedSweepRecord):
            assert record.clock.seconds_to_success == (None, None)
        elif not allowed and isinstance(record, SweepRecord):
            assert record.success == (False, False) and record.transitions == 0


def stat(path: Path, busy: float) -> None:
    """Write the counters of a machine whose cores were busy for some seconds."""
    ticks = round(busy * machine_load.os.sysconf("SC_CLK_TCK"))
    path.write_text(f"cpu  {ticks} 0 0 999999 55 0 0 0 7 0\ncpu0 1 2 3\n")


def test_the_load_of_other_processes_is_what_is_busy_without_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_load, "COUNTERS", tmp_path / "stat")
    clock = {"perf_counter": 10.0, "process_time": 3.0}
    for name in clock:
        monkeypatch.setattr(machine_load.time, name, lambda name=name: clock[name])
    assert Load().others() is None, "there are no counters on other systems"
    stat(tmp_path / "stat", busy=100.0)
    load = Load()
    assert load.others() is None, "the span is too short"
    clock.update(perf_counter=14.0, process_time=6.5)
    stat(tmp_path / "stat", busy=109.5)
    assert load.others() == pytest.approx((9.5 - 3.5) / 4)
    stat(tmp_path / "stat", busy=103.0)  # rounding
    assert load.others() == 0.0
    assert "1.5 cores" in load_warning(1.5) and not load_warning(0.2) and not load_warning(None)


def stat_of(folder: Path, pid: int, parent: int, seconds: float) -> None:
    """Write the file of a process with some processor seconds, half of them in the system."""
    ticks = round(seconds / 2 * machine_load.os.sysconf("SC_CLK_TCK"))
    (folder / str(pid)).mkdir(exist_ok=True)
    (folder / str(pid) / "stat").write_text(f"{pid} (a (b) c) R {parent} 1 1 0 -1 0 0 0 0 0 {ticks} {ticks} 7 7 20 0")


def test_in_a_worker_the_load_of_the_other_workers_and_of_their_parent_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_load, "COUNTERS", tmp_path / "stat")
    monkeypatch.setattr(machine_load, "PROCESSES", tmp_path)
    monkeypatch.setattr(machine_load.multiprocessing, "parent_process", lambda: SimpleNamespace(pid=10))
    clock = {"perf_counter": 10.0}
    monkeypatch.setattr(machine_load.time, "perf_counter", lambda: clock["perf_counter"])
    for pid, parent in ((10, 1), (11, 10), (12, 10), (99, 1), (101, 11)):
        stat_of(tmp_path, pid, parent, 1.0)
    (tmp_path / "13").mkdir()  # a process that ends just now
    stat(tmp_path / "stat", busy=100.0)
    load = Load()
    stat_of(tmp_path, 10, 1, 1.5)
    stat_of(tmp_path, 11, 10, 5.0)
    stat_of(tmp_path, 12, 10, 4.0)
    stat_of(tmp_path, 99, 1, 3.0)
    stat(tmp_path / "stat", busy=100.0 + 0.5 + 4.0 + 3.0 + 2.0)
    clock["perf_counter"] = 14.0
    assert load.others() == pytest.approx(2.0 / 4), "only process 99 belongs to somebody else"


class Counting:
    """An engine that counts its jobs of each kind."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def results(self, do: Any, jobs: Any) -> Any:
        for job in jobs:
            self.kinds[job.kind] += 1
            yield job, do(job)


def test_timed_episodes_are_planned_by_workers_only_if_the_suite_says_so(timed_suite: Suite, tmp_path: Path) -> None:
    suite = replace(timed_suite, timed=replace(timed_suite.timed, side_by_side=True))
    engine = Counting()
    Run(suite, tmp_path / "run").go(engine)
    timed = of_kind(read_records([tmp_path / "run"]), TimedRecord)
    batches = {(one.work.arm, one.seconds_limit, one.episode // 2) for one in timed}
    assert engine.kinds["timed"] == len(batches) > 0 and engine.kinds["timed_sweep"] > 0


def test_a_run_warns_once_per_stage_of_a_busy_machine(
    timed_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for others, stages in ((2.25, ["tuning, round 1", "tuning, round 2", "seconds"]), (0.05, [])):
        monkeypatch.setattr(Load, "others", lambda self, others=others: others)
        heard: list[str] = []
        Run(timed_suite, tmp_path / str(others)).go(NoJobs(), warn=heard.append)
        assert [text.partition(":")[0] for text in heard] == stages and all("2.2 cores" in text for text in heard)
        assert {one.clock.others for one in of_kind(read_records([tmp_path / str(others)]), TimedRecord)} == {others}
