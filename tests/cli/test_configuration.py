"""Configuration files: flags override them, wrong files are refused, and the file of a run makes the run again."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from grasp_planner import (
    CEM,
    GD,
    GRASP,
    GraspPlannerError,
    MultiStart,
    Sequential,
    load_planner,
    recommended,
    save_planner,
)
from grasp_planner.bench.tasks import task
from grasp_planner.cli.commands import plan, train
from grasp_planner.cli.commands.plan import PlanSettings
from grasp_planner.cli.commands.train import RECIPE_FIELD, Train
from grasp_planner.cli.commands.tune import Tune
from grasp_planner.cli.configuration import parse_with_file, write_config
from grasp_planner.cli.main import main
from grasp_planner.cli.planner_choices import PLANNER_FIELD
from grasp_planner.planners.presets import PRESETS
from grasp_planner.training import RECIPES

PLAN = """
task = "wall"
episodes = 3
seconds = 2
out = "out/mine"

[planner]
name = "multi_start"
starts = 5
planner = { name = "grasp", state_lr = 0.3, sync = "none" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_plan.v2.toml"
    path.write_text(PLAN)
    return path


def test_a_file_gives_the_defaults_of_flags_and_flags_override_it(file: Path) -> None:
    mine = MultiStart(GRASP(state_lr=0.3, sync=None), starts=5)
    found = plan.parsed(["--config", str(file)])
    assert found == PlanSettings("wall", episodes=3, seconds=2.0, out=Path("out/mine"), config=file, planner=mine)
    assert plan.parsed([f"--config={file}", "--episodes", "7", "--task", "push_t"]).episodes == 7
    found = plan.parsed(["--episodes", "7", "--config", str(file), "--planner.starts", "9"])
    assert (found.episodes, found.task) == (7, "wall")
    assert found.planner == MultiStart(GRASP(state_lr=0.3, sync=None), starts=9)
    assert plan.parsed(["--config", str(file), "planner:cem", "--planner.samples", "99"]).planner == CEM(samples=99)
    found = plan.parsed(["--config", str(file), "planner.planner:gd", "--planner.planner.lr", "0.7"])
    assert found.planner == MultiStart(GD(lr=0.7), starts=5)


@pytest.mark.parametrize("text", ["grasp/lewm", "recommended", "gd"])
def test_a_planner_in_a_file_may_be_a_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(f'planner = "{text}"')
    found = plan.parsed(["--config", str(tmp_path / "plan.toml")]).planner
    assert found == {**PRESETS, "recommended": recommended(), "gd": GD()}[text]


def test_a_planner_file_is_a_planner_on_the_command_line_and_in_a_configuration(tmp_path: Path) -> None:
    mine = MultiStart(GRASP(state_lr=0.3, sync=None), starts=5)
    path = save_planner(mine, tmp_path / "my_planner.v2.json", {"loss": 0.5})
    assert load_planner(path) == mine
    assert plan.parsed([f"planner:{path}"]).planner == mine
    found = plan.parsed([f"planner:{path}", "--planner.planner.state-lr", "0.1", "--episodes", "2"])
    assert found.planner == MultiStart(GRASP(state_lr=0.1, sync=None), starts=5) and found.episodes == 2
    files = {"a_b.json": 0.1, "a-b.json": 0.2}  # rates by name
    alike = [save_planner(GD(lr=lr), tmp_path / name) for name, lr in files.items()]
    for one in alike:
        assert plan.parsed([f"planner:{one}"]).planner == load_planner(one)
    words = ["planner:sequential", f"planner.first:{alike[0]}", f"planner.second:{alike[1]}"]
    with pytest.raises(GraspPlannerError, match="differ in dashes only: rename one"):
        plan.parsed(words)
    words[2] = f"planner.second:{path}"
    assert plan.parsed(words).planner == Sequential(GD(lr=0.1), mine)
    inner = save_planner(GD(lr=0.7), tmp_path / "inner.json")
    assert plan.parsed(["planner:multi-start", f"planner.planner:{inner}"]).planner == MultiStart(GD(lr=0.7))
    (tmp_path / "plan.toml").write_text(f'planner = "{path}"')
    assert plan.parsed(["--config", str(tmp_path / "plan.toml")]).planner == mine


NESTED = [
    MultiStart(Sequential(CEM(), GD(lr=0.7))),
    Sequential(Sequential(GD(), CEM()), GD()),
    GRASP(sync=MultiStart(GD())),
]


@pytest.mark.parametrize("planner", NESTED, ids=repr)
def test_planners_that_no_words_can_nest_come_from_a_file(planner: Any, tmp_path: Path) -> None:
    path = save_planner(planner, tmp_path / "planner.json")
    assert plan.parsed([f"planner:{path}"]).planner == planner
    changed = plan.parsed([f"planner:{path}", "--planner.tolerance", "0.5"]).planner
    assert changed == replace(planner, tolerance=0.5)
    config = write_config(tmp_path / "plan.toml", PlanSettings(planner=planner), "plan", PLANNER_FIELD)
    assert plan.parsed(["--config", str(config)]).planner == planner


def test_a_flag_changes_a_planner_inside_planners_of_a_file(tmp_path: Path) -> None:
    path = save_planner(NESTED[0], tmp_path / "planner.json")
    found = plan.parsed([f"planner:{path}", "--planner.planner.second.lr", "0.1"]).planner
    assert found == MultiStart(Sequential(CEM(), GD(lr=0.1)))


@pytest.mark.parametrize("planner", [recommended(), *PRESETS.values(), GRASP(sync=None)], ids=repr)
def test_the_file_of_a_run_gives_its_settings_again(planner: Any, tmp_path: Path) -> None:
    settings = PlanSettings("wall", horizon=10, memory=0.1 + 0.2, out=tmp_path / 'a "b"', planner=planner)
    path = write_config(tmp_path / "plan.toml", settings, "plan", PLANNER_FIELD)
    found = plan.parsed(["--config", str(path)])
    assert {one.name: getattr(found, one.name) for one in fields(found) if one.name != "config"} == {
        one.name: getattr(settings, one.name) for one in fields(settings) if one.name != "config"
    }


@pytest.mark.parametrize("name", RECIPES)
def test_the_file_of_a_training_gives_its_recipe_again(name: str, tmp_path: Path) -> None:
    settings = Train(RECIPES[name], (Path("data/a"), Path("data/b")), Path("out"), tensorboard=True)
    path = write_config(tmp_path / "train.toml", settings, "train", RECIPE_FIELD)
    found = train.parsed(["--config", str(path), "--seed", "4", "--device", "cuda"])
    assert (found.data, found.tensorboard, found.device) == (settings.data, True, "cuda")
    assert found.recipe.seed == 4
    assert train.parsed(["--config", str(path)]).recipe == RECIPES[name]
    other = train.parsed(["wall-state", "--config", str(path)])
    assert other.recipe == RECIPES["wall-state"] and other.data == settings.data


def test_a_recipe_in_a_file_may_be_a_name_or_change_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('recipe = "wall-state"\ndata = ["data"]\nout = "runs/wall"')
    assert train.parsed(["--config", str(path)]).recipe == RECIPES["wall-state"]
    path.write_text('data = ["data"]\nout = "a"\n[recipe]\nname = "wall-state"\nsteps = 7\nmodel = {width = 16}')
    found = train.parsed(["--config", str(path)]).recipe
    assert (found.steps, found.model.width, found.phases) == (7, 16, RECIPES["wall-state"].phases)


def test_the_file_of_a_tuning_gives_its_settings_again(tmp_path: Path) -> None:
    settings = Tune(task="my_task.py:losses", planners=("gd", "cem"), trials=3, steps=5, out=tmp_path)
    path = write_config(tmp_path / "tune.toml", settings, "tune")
    found = parse_with_file(Tune, ["--config", str(path), "--trials", "4"], "tune")
    assert (found.task, found.planners, found.trials, found.steps) == (settings.task, ("gd", "cem"), 4, 5)


@pytest.mark.parametrize("cls", [PlanSettings, Train, Tune])
def test_none_is_the_default_wherever_it_is_allowed(cls: type) -> None:
    """Files leave ``None`` out, so that it must be the default."""
    hints = get_type_hints(cls)
    optional = [one for one in fields(cls) if type(None) in get_args(hints[one.name])]
    assert optional and all(one.default is None for one in optional)


@pytest.mark.parametrize(
    "text, expected",
    {
        "episods = 3": ["unknown setting 'episods'", "did you mean 'episodes'"],
        'episodes = "ten"': ["field 'episodes'", "needed a whole number, got 'ten'"],
        'split = "training"': ["field 'split'", "'test', 'validation'"],
        "episodes = ": ["needed a configuration in TOML"],
        'config = "other.toml"': ["unknown setting 'config'"],
        "planner = 5": ["field 'planner'", "name of a planner", "got 5"],
        'planner = "grsp"': ["field 'planner'", "unknown planner 'grsp'", "did you mean 'grasp'"],
        'planner = "multi_start"': ["field 'planner'", "settings of multi_start: the setting 'planner' is missing"],
        "[planner]\nsamples = 3": ["field 'planner'", "the name of a planner in the field 'name'"],
        '[planner]\nname = "cem"\nsampels = 3': ["unknown setting of cem 'sampels'", "did you mean 'samples'"],
        '[planner]\nname = "cem"\nsamples = "3"': ["setting 'samples' of cem", "needed a whole number, got '3'"],
        '[planner]\nname = "grasp"\nsync = 3': ["setting 'sync' of grasp", "settings of a planner, got 3"],
        '[planner]\nname = "cem"\nsamples = 0': ["CEM.samples", "got 0"],
        'planner = "no/such.json"': ["no/such.json", "there is no such JSON file"],
    }.items(),
)
def test_a_wrong_file_is_refused(text: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(GraspPlannerError) as found:
        plan.parsed(["--config", str(path)])
    assert all(part in str(found.value) for part in [str(path), *expected]), found.value


def test_the_file_of_a_run_makes_the_run_again(model_folder: Path, tmp_path: Path) -> None:
    words = f"plan --model {model_folder} planner:cem --planner.samples 8 --planner.elites 2 --steps 2 --episodes 2"
    assert (
        main([*words.split(), "--horizon", "10", "--animation", "none", "--seed", "5", "--out", str(tmp_path / "a")])
        == 0
    )
    assert main(["plan", "--config", str(tmp_path / "a" / "plan.toml"), "--out", str(tmp_path / "b")]) == 0
    first, second = (np.load(tmp_path / place / "plan.npz")["model_actions"] for place in "ab")
    assert first.shape == (2, 2, 10) and (first == second).all()
    resolved = [(tmp_path / place / "plan.toml").read_text() for place in "ab"]
    assert all(f"\n{line}\n" in resolved[0] for line in ('task = "push_t/dset/v2"', "horizon = 10", "steps = 2"))
    assert resolved[0] == resolved[1].replace(str(tmp_path / "b"), str(tmp_path / "a"))


def test_the_file_of_a_run_names_what_the_flags_left_open(tmp_path: Path) -> None:
    words = "plan --task wall planner:gd --episodes 1 --transitions 40 --animation none"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    found = plan.parsed(["--config", str(tmp_path / "plan.toml")])
    assert (found.task, found.horizon, found.model) == (task("wall").name, task("wall").horizon, "wall-state")
    assert (found.steps, found.seconds, found.transitions) == (None, None, 40)
    found = plan.parsed(["--config", str(tmp_path / "plan.toml"), "--steps", "3", "--transitions", "None"])
    assert (found.steps, found.transitions) == (3, None)
