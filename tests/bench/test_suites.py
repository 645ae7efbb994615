"""Suites and spaces are data: reading is strict, draws are reproducible, and the tuning is fair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grasp_planner import GD, GRASP, PLANNERS, GraspPlannerError, MultiStart, Sequential, load_world_model
from grasp_planner.bench.running.engines import Serial
from grasp_planner.bench.running.model_hash import model_hash
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.loading import load_suite, suites
from grasp_planner.bench.suites.settings import changed, planner_title, settings_text, wrapped
from grasp_planner.bench.suites.spaces import drawn, spaces
from grasp_planner.bench.suites.suite import Arm, Timed, Tuning
from grasp_planner.bench.tasks import TASKS, episodes, task
from grasp_planner.cli.commands.bench import plan_of
from grasp_planner.control.planner_files import planner_of, settings_of

OF_PICTURES = {"lewm", "patches", "patches-ablation", "patches-anytime", "patches-closed-loop", "patches-short"}
NAMES = OF_PICTURES | {
    "push-t-long",
    "push-t-equal-time",
    "short",
    "ablation",
    "anytime",
    "closed-loop",
    "very-long",
    "smoke",
}
PICTURED = NAMES - OF_PICTURES - {"smoke", "push-t-equal-time", "very-long"}


def test_the_suites_that_were_promised_are_there() -> None:
    assert set(suites()) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_suite_names_what_exists_and_treats_planners_alike(name: str) -> None:
    suite = load_suite(name)
    assert all(cell.task in TASKS and cell.horizon % 5 == 0 for cell in suite.cells)
    assert all(cell.pixels == (64 if name in OF_PICTURES else None) for cell in suite.cells)
    assert suite.mode == ("closed-loop" if name.endswith("closed-loop") else "open-loop")
    for arm in suite.arms:
        assert not arm.space or arm.space in spaces()
        planner = planner_of(arm_settings(arm, suite.source_of(arm), 0))
        assert type(planner) in PLANNERS.values()
    # The numbers of trials and episodes and the budget are the same in the whole suite, so no planner is tuned more.
    assert isinstance(suite.tuning, Tuning) and isinstance(suite.rollouts, int)
    assert sum(one > 0 for one in (suite.rollouts, suite.seconds_per_problem, suite.tuning.seconds)) == 1


BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.toml"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_suite_file_in_benchmarks_loads(path: Path) -> None:
    suite = load_suite(path)
    assert suite.cells and suite.arms
    if "\n[pixels]" in path.read_text():
        pictured = load_suite(path, "pixels")
        assert len(pictured.cells) == len(suite.cells) and all(cell.pixels for cell in pictured.cells)


def test_a_suite_needs_a_tuning_only_for_arms_that_are_tuned(suite_file: Path, tmp_path: Path) -> None:
    text = suite_file.read_text()
    tuning = "[tuning]\ntrials = [3, 2]\nepisodes = [2, 3]\n"
    fixed = text.replace('space = "cem"', 'planner = { name = "cem" }')
    fixed = fixed.replace('space = "grasp"', 'planner = { name = "multi_start", "planner.name" = "grasp" }')
    assert tuning in text and "space" not in fixed
    path = tmp_path / "fixed.toml"
    path.write_text(fixed.replace(tuning, ""))
    suite = load_suite(path)
    assert suite.tuning == Tuning() and suite.tuning.trials == ()
    assert not any("tuning:" in line or "validation" in line for line in plan_of(suite))
    assert "  tuned: no arm" in plan_of(suite)
    for section in ("", "[tuning]\n"):
        path.write_text(text.replace(tuning, section))
        with pytest.raises(GraspPlannerError, match=r"needs \[tuning\].*\['CEM', 'GRASP'\]"):
            load_suite(path)
    for part in ("together = true", "seconds = 1.0", "trials = [2]", "episodes = [2]"):
        path.write_text(fixed.replace(tuning, f"[tuning]\n{part}\n"))
        with pytest.raises(GraspPlannerError, match="as many numbers of trials"):
            load_suite(path)
    path.write_text(fixed.replace(tuning, ""))
    run = Run(replace(suite, episodes=1, shown=0, timed=Timed()), tmp_path / "run")
    run.go(Serial())
    kinds = [record.kind for record in run.records()]
    assert sorted(kinds) == ["choice"] * 3 * len(suite.cells) + ["episode"] * 3 * len(suite.cells)
    timed = replace(suite, rollouts=0, episodes=0, shown=0, timed=Timed(episodes=1, seconds=(0.1,)))
    assert timed.tuning == Tuning(), "without arms that are tuned, the limits are those of the timed part"


def test_there_are_suite_files_in_benchmarks() -> None:
    assert "convolutions" in {path.stem for path in BENCHMARKS}


@pytest.mark.parametrize("name", sorted(PICTURED))
def test_suites_have_a_twin_for_models_that_read_pictures(name: str) -> None:
    suite = load_suite(name, "pixels")
    assert suite.name == f"{name}-pixels"
    assert all(cell.model.endswith("-pixels") and cell.pixels == 64 for cell in suite.cells)
    assert [cell.horizon for cell in suite.cells] == [cell.horizon for cell in load_suite(name).cells]


def test_the_long_suite_is_the_papers_table() -> None:
    suite = load_suite("push-t-long")
    assert [cell.horizon for cell in suite.cells] == [40, 50, 60, 70, 80]
    tuned, fixed = (
        ["CEM", "iCEM", "MPPI", "GD", "LatCo", "GRASP"],
        ["GRASP, paper", "GRASP, authors' code", "GRASP, second order", "recommended"],
    )
    names = [*tuned, "GRASP, polished", *fixed]
    assert suite.episodes == 100 and [arm.name for arm in suite.arms] == names
    assert [arm.name for arm in suite.arms if arm.space] == tuned and suite.main_arm == "recommended"
    assert suite.tuning.trials[0] >= 40 and {cell.task for cell in suite.cells} == {"push_t/dset/v2"}
    pictured = load_suite("push-t-long", "pixels")
    assert sorted(arm.name for arm in pictured.arms) == sorted([*names, "LatCo, polished"])
    polished = {arm.name: arm.around for arm in pictured.arms if arm.like}
    assert polished["GRASP, polished"] == polished["LatCo, polished"], "the same for both"
    for arm in (*(arm for arm in suite.arms if arm.like), *(arm for arm in pictured.arms if arm.like)):
        planner = planner_of(arm_settings(arm, suite.source_of(arm), 0))
        assert isinstance(planner, Sequential) and planner.second == GD(lr=0.05)
        assert planner_title(planner) == arm.like and 0.15 <= planner.share <= 0.3


def test_timed_suites_have_budgets_in_seconds_alone() -> None:
    anytime, long = load_suite("anytime"), load_suite("very-long")
    for suite in (anytime, long):
        assert suite.episodes == suite.rollouts == 0 and suite.tuning.seconds > 0
    assert {cell.horizon for cell in anytime.cells} == {50, 80} and anytime.timed.batch == 1
    assert long.timed.seconds == (10.0, 60.0)
    for cell in long.cells:
        model = load_world_model(cell.model)
        assert model.frameskip == 1 and model_for(cell.problem, cell.model) == cell.model
        assert cell.horizon in ((50, 80) if cell.task.startswith("push_t") else (100, 300, 1000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes = 5": "episodez = 5"}, "episodez.*episodes"),
        ({"schema = 2": "schema = 9"}, "schema = 2"),
        ({"chunk = 2": "chunk = 0"}, "chunk .*at least 1"),
        ({"trials = [3, 2]": "trials = [2, 3]"}, "falling"),
        ({'mode = "open-loop"': 'mode = "open"'}, "open-loop"),
        ({'like = "GRASP"': 'like = "GRAPS"'}, "GRASP"),
        ({'title = "Wall, in no time"': ""}, "title"),
        ({"schema = 2": "schema = "}, "not TOML"),
    ],
)
def test_a_suite_that_says_something_else_is_refused(
    suite_file: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    text = suite_file.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "changed.toml"
    path.write_text(text)
    with pytest.raises(GraspPlannerError, match=message):
        load_suite(path)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(GraspPlannerError, match="push-t-long"):
        load_suite("push-t-lon")
    with pytest.raises(GraspPlannerError, match="grasp"):
        drawn("grsp", 0)
    with pytest.raises(GraspPlannerError, match="state_lr"):
        planner_of({"name": "grasp", "state_rl": 0.1})
    with pytest.raises(GraspPlannerError, match="needs the model 'wall-nowhere'.*pusht-state"):
        model_hash("wall-nowhere")


def test_cells_can_be_left_out_only_by_name() -> None:
    suite = load_suite("short")
    only = suite.only(("pusht-state",))
    assert {cell.model for cell in only.cells} == {"pusht-state"} and suite.only(()) == suite
    with pytest.raises(GraspPlannerError, match="pusht-state"):
        suite.only(("pusht-stat",))


@pytest.mark.parametrize("space", sorted(spaces()))
def test_every_draw_is_a_planner_and_no_two_are_the_same(space: str) -> None:
    draws = [drawn(space, trial) for trial in range(30)]
    assert draws == [drawn(space, trial) for trial in range(30)]
    planners = [planner_of(settings) for settings in draws]
    assert len(set(planners)) == 30
    assert {planner_title(planner) for planner in planners} == {PLANNERS[space].__name__}


def test_settings_and_planners_are_two_forms_of_one_thing() -> None:
    planner = Sequential(MultiStart(GRASP(sync=MultiStart(GD(lr=0.3), starts=2)), starts=4), GD(lr=0.05))
    assert planner_of(settings_of(planner)) == planner
    assert planner_of(changed({"name": "grasp"}, {"sync": "none"})) == GRASP(sync=None)
    drawn_without = planner_of(changed(drawn("grasp", 0), {"planner.sync": "none"}))
    assert drawn_without.planner.sync is None  # type: ignore[attr-defined]


def test_a_planner_around_a_planner_is_described_with_the_planner_inside() -> None:
    around = {"name": "sequential", "first": "tuned", "second.name": "gd", "second.lr": 0.05, "share": 0.2}
    settings = wrapped({"name": "multi_start", "planner": {"name": "grasp", "state_lr": 0.2}, "starts": 4}, around)
    made = planner_of(settings)
    assert made == Sequential(MultiStart(GRASP(state_lr=0.2), starts=4), GD(lr=0.05), share=0.2)
    assert planner_title(made) == "GRASP"
    text = "sequential(first multi_start(planner grasp(state_lr 0.2), starts 4), second gd(lr 0.05), share 0.2)"
    assert settings_text(settings) == text
    with pytest.raises(GraspPlannerError, match="needs `like`"):
        Arm("X", space="gd", around=around)


def test_a_suites_digest_stands_for_all_of_it(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    others = [replace(suite, rollouts=13), replace(suite, arms=suite.arms[:2]), replace(suite, cells=suite.cells[:1])]
    assert len({suite.digest(), *(other.digest() for other in others)}) == 4
    assert load_suite(suite_file).digest() == suite.digest()


def test_an_arm_has_one_source_of_settings() -> None:
    gd = {"name": "gd"}
    for wrong in ({}, {"space": "gd", "like": "GD"}, {"space": "gd", "planner": gd}, {"planner": gd, "like": "GD"}):
        with pytest.raises(GraspPlannerError, match="needs a space.*exactly one of space, planner and like") as caught:
            Arm("X", **wrong)
        assert str(caught.value).endswith(f"got {' and '.join(wrong) or 'none of them'}")


def test_episodes_can_be_drawn_from_the_middle() -> None:
    wall = task("wall/dset/v1", horizon=10)
    whole, part = episodes(wall, count=4), episodes(wall, count=2, first=2)
    assert [one.index for one in part] == [2, 3]
    for one, other in zip(part, whole[2:], strict=True):
        assert one.seed == other.seed and (one.start == other.start).all() and (one.goal == other.goal).all()
    with pytest.raises(GraspPlannerError, match="first -1"):
        episodes(wall, count=1, first=-1)
