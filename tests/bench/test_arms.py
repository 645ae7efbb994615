"""Arms are tuned cell by cell or over all cells, or have fixed settings; budgets are in rollouts or in seconds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_samples import CLOCK, WORK

from grasp_planner import CEM, GD, GRASP, Budget, GraspPlannerError, MultiStart, recommended
from grasp_planner.bench.analysing.result_tables import tables
from grasp_planner.bench.record_files import RecordFile, read_records
from grasp_planner.bench.record_json import comparable
from grasp_planner.bench.records import ChoiceRecord, EpisodeRecord, Record, SweepRecord, of_kind
from grasp_planner.bench.running.earlier_runs import Earlier
from grasp_planner.bench.running.engines import Serial, engine
from grasp_planner.bench.running.job_setup import Setup
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.running.tuning import choice, survivors
from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.loading import load_suite
from grasp_planner.bench.suites.settings import fixed_settings, planner_title, settings_text
from grasp_planner.bench.suites.spaces import drawn, known_settings, spaces
from grasp_planner.bench.suites.suite import Arm, Suite, Timed, Tuning
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.control.planner_files import planner_of, settings_of
from grasp_planner.models.registry import load_world_model
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import PRESETS

DOCS = Path(__file__).parents[2] / "docs"
FIXED = """
[[arms]]
name = "CEM"
space = "cem"

[[arms]]
name = "fixed"
planner = { name = "multi_start", "planner.name" = "gd", "planner.lr" = 0.3, starts = 2 }

[[arms]]
name = "slower"
like = "fixed"
change = { "planner.lr" = 0.1 }

[[arms]]
name = "recommended"
planner = "recommended"
"""


def with_arms(suite_file: Path, folder: Path, arms: str, **changes: str) -> Path:
    """Write the suite with other arms, and with some lines replaced."""
    text = suite_file.read_text()
    text = text[: text.index("[[arms]]")] + arms
    for old, new in changes.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{old} = "))
        text = text.replace(line, new, 1)
    path = folder / "arms.toml"
    path.write_text(text)
    return path


def run(suite: Suite, folder: Path, workers: int = 1) -> list[Record]:
    with engine("processes", workers=workers) as one:
        Run(suite, folder).go(one)
    return read_records([folder])


@pytest.fixture(scope="module")
def fixed(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """The records of a suite with a tuned arm and arms with fixed settings."""
    folder = tmp_path_factory.mktemp("fixed")
    suite = replace(load_suite(with_arms(suite_file, folder, FIXED)), timed=Timed(), shown=0)
    return run(suite, folder / "records")


def test_fixed_settings_are_named_or_listed() -> None:
    assert planner_of(fixed_settings("recommended")) == recommended()
    assert fixed_settings("Recommended") == settings_of(recommended())
    assert planner_of(fixed_settings("grasp/paper")) == PRESETS["grasp/paper"]
    listed = fixed_settings({"name": "grasp", "sync.name": "gd", "sync.lr": 0.3, "sync_every": 7})
    assert planner_of(listed) == GRASP(sync=GD(lr=0.3), sync_every=7)
    with pytest.raises(GraspPlannerError, match="did you mean 'grasp/paper'"):
        fixed_settings("grasp/papr")


def test_an_arm_like_a_fixed_arm_changes_its_settings(suite_file: Path, tmp_path: Path) -> None:
    suite = load_suite(with_arms(suite_file, tmp_path, FIXED))
    made = {arm.name: planner_of(arm_settings(arm, suite.source_of(arm), 5)) for arm in suite.arms if not arm.space}
    assert made["fixed"] == MultiStart(GD(lr=0.3), starts=2)
    assert made["slower"] == MultiStart(GD(lr=0.1), starts=2)
    assert made["recommended"] == recommended()
    assert suite.arms[3].planner == settings_of(recommended()), "the suite's digest depends on what is recommended"


@pytest.mark.parametrize(
    ("planner", "message"),
    [
        ('"recomended"', "field 'arms.1..planner'.*did you mean 'recommended'"),
        ('{ name = "gd", rate = 0.2 }', "arm 'fixed'.*setting of gd 'rate'"),
        ('{ name = "gd", lr = -0.2 }', "arm 'fixed'.*lr"),
        ('{ name = "gd", lr = 1e9 }', "field 'arms.1..planner.lr'.*1,000,000"),
        ("3", "field 'arms.1..planner': needed values by name, got 3"),
        ("{}", "exactly one of space, planner and like, got none"),
    ],
)
def test_wrong_fixed_settings_are_errors_of_the_file(
    suite_file: Path, tmp_path: Path, planner: str, message: str
) -> None:
    arms = FIXED.replace('planner = { name = "multi_start"', f'planner = {planner} # "', 1)
    with pytest.raises(GraspPlannerError, match=message) as caught:
        load_suite(with_arms(suite_file, tmp_path, arms))
    assert str(caught.value).startswith(str(tmp_path))


def test_an_arm_with_fixed_settings_is_not_tuned_and_is_the_same_in_every_cell(fixed: list[Record]) -> None:
    assert {record.work.arm for record in of_kind(fixed, SweepRecord)} == {"CEM"}
    choices = of_kind(fixed, ChoiceRecord)
    assert Counter(record.work.arm for record in choices) == dict.fromkeys(("CEM", "fixed", "slower", "recommended"), 2)
    wanted = {"fixed": ("fixed", 0.3), "slower": ("fixed", 0.1)}
    for record in choices:
        assert (record.winner is None) == (record.work.arm != "CEM")
        if record.work.arm in wanted:
            assert (record.settings_of, record.work.planner["planner"]["lr"]) == wanted[record.work.arm]
    for record in of_kind(fixed, EpisodeRecord):
        if record.work.arm == "recommended":
            assert planner_of(record.work.planner) == recommended(), "all settings are written out"


def test_the_report_says_which_arms_were_tuned(fixed: list[Record]) -> None:
    made = {table.name: table for table in tables(fixed)}
    origins = {row[0]: (row[2], row[3]) for row in made["tuning"].rows}
    assert origins["fixed"] == origins["recommended"] == ("fixed", "") and origins["slower"] == ("fixed", "")
    assert origins["CEM"][0].startswith("trial ") and origins["CEM"][1].endswith(" %")
    for table in (made["success"], made["tuning"]):
        assert "Tuned with 3 draws for each cell: CEM." in table.note
        assert "With one fixed setting for all cells, without tuning: fixed; recommended." in table.note
        assert "With the settings of fixed, changed: slower." in table.note
    assert "a budget of 12 rollouts per episode" in made["success"].note
    assert "Backward passes are not counted" in made["spending"].note and made["spending"].rows[0][1].endswith(" s")


def sweep_of(horizon: int, outcomes: Sequence[Sequence[bool]], number: int = 0) -> list[SweepRecord]:
    """Return the records of the trials of a round, whose episodes succeed or fail as given."""
    work = replace(WORK, horizon=horizon, arm="GD", split="validation")
    return [
        SweepRecord(work, number, trial, tuple(range(len(won))), tuple(won), (0.5,) * len(won), 10, CLOCK)
        for trial, won in enumerate(outcomes)
        if won
    ]


def test_one_sweep_over_all_cells_chooses_what_is_best_in_all_of_them(tmp_path: Path) -> None:
    yes, no = True, False
    file = RecordFile(tmp_path / "sweep.jsonl")
    file.append(sweep_of(10, [[yes, yes, yes], [yes, yes, no], [no, no, no], [no, no, no]]))
    file.append(sweep_of(20, [[no, no, no], [yes, yes, no], [yes, yes, yes], [no, no, no]]))
    apart, together = Tuning((4,), (3,)), Tuning((4,), (3,), together=True)
    arm = Arm("GD", space="gd")
    works = [replace(WORK, horizon=horizon, split="validation") for horizon in (10, 20)]

    alone = [choice(file, work, [work], apart, arm, arm) for work in works]
    assert [one.winner and (one.winner.trial, one.winner.success) for one in alone] == [(0, 1.0), (2, 1.0)]
    both = [choice(file, work, works, together, arm, arm) for work in works]
    assert [one.winner and (one.winner.trial, one.winner.together) for one in both] == [(1, True), (1, True)]
    assert both[0].winner == both[1].winner and both[0].winner and both[0].winner.success == pytest.approx(4 / 6)
    assert both[0].work.planner == both[1].work.planner == drawn("gd", 1)
    assert [one.work.horizon for one in both] == [10, 20]

    rounds = Tuning((4, 2), (3, 4), together=True)
    assert survivors(file, works, rounds, 1) == [0, 1]  # 3 failures each, as trial 2 has; the first trials win a tie
    assert survivors(file, works[1:], replace(rounds, together=False), 1) == [1, 2]


def test_a_sweep_over_all_cells_is_the_same_on_any_number_of_workers(suite_file: Path, tmp_path: Path) -> None:
    arms = '[[arms]]\nname = "CEM"\nspace = "cem"\nchange = { samples = 4, elites = 2 }\n'
    trials = "trials = [3, 2]\ntogether = true"
    suite = replace(load_suite(with_arms(suite_file, tmp_path, arms, trials=trials)), timed=Timed(), shown=0)
    assert suite.tuning == Tuning((3, 2), (2, 3), together=True)
    one, two = run(suite, tmp_path / "one"), run(suite, tmp_path / "two", workers=2)
    assert [comparable(record) for record in one] == [comparable(record) for record in two]
    choices = of_kind(one, ChoiceRecord)
    assert len({str(record.work.planner) for record in choices}) == 1 and len(choices) == 2
    assert choices[0].winner == choices[1].winner
    assert "Tuned with 3 draws over all cells together: CEM." in tables(one)[0].note
    second = {(record.work.horizon, record.trial) for record in of_kind(one, SweepRecord) if record.round == 1}
    assert len(second) == 4 and len({trial for _, trial in second}) == 2, "the same two settings in both cells"


def test_a_budget_in_seconds_grows_with_the_batch(suite_file: Path, tmp_path: Path) -> None:
    path = with_arms(suite_file, tmp_path, FIXED, rollouts="seconds_per_problem = 0.02")
    suite = replace(load_suite(path), timed=Timed(), shown=0)
    assert (suite.rollouts, suite.seconds_per_problem) == (0, 0.02)
    made = Run(suite, tmp_path / "records")
    jobs = made.sweep_jobs(0)
    assert {len(job.numbers) for job in jobs} == {2}
    model, chosen = load_world_model(suite.cells[0].model), task("wall/dset/v1", 10)
    for job in jobs:
        asked = [*episodes(chosen, "validation", len(job.numbers))]
        assert Setup(job, chosen, model, CEM(), asked).budget == Budget(seconds=0.04)
    made.go(Serial())
    records = read_records([tmp_path / "records"])
    measured = [*of_kind(records, SweepRecord), *of_kind(records, EpisodeRecord)]
    assert measured and all(record.work.seconds_per_problem == 0.02 for record in measured)
    assert all((record.clock.processor_seconds or 0) > 0 for record in measured)
    assert "a budget of 0.02 s of one thread per episode" in tables(records)[0].note
    deadlines = {record.status for record in of_kind(records, EpisodeRecord)}
    assert deadlines <= {"DEADLINE", "CONVERGED"}, "no plan has a budget in transitions"

    earlier = Earlier([tmp_path / "records"])
    assert all(earlier.records(job) is None for job in (*jobs, *made.episode_jobs())), "times are compared in one run"


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("rollouts = 5\nseconds_per_problem = 1.0", "rollouts 5 and seconds_per_problem 1.0"),
        ("", "rollouts 0 and seconds_per_problem 0.0"),
        ("seconds_per_problem = -1.0", "seconds_per_problem -1.0"),
        ("seconds_per_problem = 1e9", "seconds_per_problem 1000000000.0"),
    ],
)
def test_a_suite_has_one_budget(suite_file: Path, tmp_path: Path, budget: str, said: str) -> None:
    with pytest.raises(GraspPlannerError, match=f"either rollouts .*or seconds_per_problem.*, got .*{said}"):
        load_suite(with_arms(suite_file, tmp_path, FIXED, rollouts=budget))


@pytest.mark.parametrize("space", sorted(spaces()))
def test_known_settings_are_drawn_first(space: str) -> None:
    known = known_settings(space)
    assert known and [drawn(space, trial) for trial in range(len(known))] == known
    assert {planner_title(planner_of(settings)) for settings in known} == {PLANNERS[space].__name__}
    fields = {field.partition(".")[0] for field in spaces()[space]} - {"known"}
    for trial in range(len(known) + 3):
        settings = drawn(space, trial)
        assert fields <= set(settings) and settings["name"] == spaces()[space]["name"]
    assert drawn(space, 0, {"tolerance": 0.5})["tolerance"] == 0.5


def test_gd_is_tried_with_a_rate_of_a_fifth_and_16_starts() -> None:
    assert planner_of(drawn("gd", 0)) == MultiStart(GD(lr=0.2), starts=16, start_std=2.3)
    assert planner_of(drawn("cem", 1)) == PRESETS["cem/dino-wm"]
    # Version 0.1 chose this random draw. Known settings come before random draws and do not change them.
    assert drawn("cem", 8 + len(known_settings("cem")))["std"] == 0.829


def test_the_suite_of_equal_time_has_the_settings_that_the_long_suite_chose() -> None:
    long, timed = load_suite("push-t-long"), load_suite("push-t-equal-time")
    assert timed.cells == long.cells and timed.seconds_per_problem == 1.5 and not any(arm.space for arm in timed.arms)
    planners = {arm.name: arm.planner for arm in timed.arms}
    tables = json.loads((DOCS / "results/push-t-long/summary.json").read_text())["suites"][0]["tables"]
    (chosen,) = (table for table in tables if table["title"] == "Chosen settings")
    texts = {name: text for name, _, _, _, text in chosen["rows"]}
    tuned = [arm.name for arm in long.arms if arm.space]
    assert {name: settings_text(planners[name]) for name in tuned} == {name: texts[name] for name in tuned}
    others = {name: planner_of(planner) for name, planner in planners.items() if name not in tuned}
    assert others == {
        "GD, 16 starts": MultiStart(GD(lr=0.2), starts=16, start_std=2.3),
        "GRASP, second order": PRESETS["grasp/second-order"],
        "recommended": recommended(),
    }


def values(one: Any) -> list[float]:
    return [*one.start, *one.goal]


def test_a_new_version_has_other_episodes_of_the_same_kind() -> None:
    old, new = (episodes(task(f"push_t/dset/{version}", 20), "validation", 3) for version in ("v1", "v2"))
    assert {one.seed for one in old}.isdisjoint(one.seed for one in new)
    assert all(values(one) != values(other) for one, other in zip(old, new, strict=True))
    assert task("push_t").name == task("push-t/dset").name == task("PushT").name == "push_t/dset/v2"
    assert task("PushT-v1").name == "push_t/dset/v1" and task("push_t/random_state").name == "push_t/random_state/v1"
