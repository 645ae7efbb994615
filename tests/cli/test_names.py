"""Names in any spelling, printed in one; the model that belongs to a task; what an unknown environment needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from grasp_planner import PLANNERS, GraspPlannerError, load_world_model
from grasp_planner.bench.running.policy_floors import FLOORS
from grasp_planner.bench.running.task_models import model_for, worlds_of
from grasp_planner.bench.suites.loading import load_suite, suites
from grasp_planner.bench.suites.spaces import drawn, spaces
from grasp_planner.bench.tasks import TASKS, task
from grasp_planner.cli.commands.plan import parsed
from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.control.planner_files import planner_of, settings_of
from grasp_planner.core.errors import plain_name
from grasp_planner.data.recipe import environment_id, resolve_policy
from grasp_planner.domains.ball_nav.physics import MAPS, walls_of
from grasp_planner.domains.registry import DOMAINS, ENVIRONMENTS, POLICIES, SCENES, scene
from grasp_planner.models.registry import ANALYTIC, checkpoints, model_name
from grasp_planner.planners.presets import PRESETS, preset
from grasp_planner.training import RECIPES, recipe


def spellings(name: str) -> list[str]:
    return [name, name.upper(), name.title(), name.replace("_", "-"), name.replace("-", "_"), plain_name(name)]


LOOKUPS: dict[str, tuple[Any, Any]] = {
    "tasks": (TASKS, lambda name: task(name).name),
    "environments": (ENVIRONMENTS, lambda name: environment_id(name).removeprefix("grasp_planner/")),
    "policies": (POLICIES, lambda name: resolve_policy(name, "grasp_planner/PushT-v1")[0]),
    "presets": (PRESETS, lambda name: next(one for one in PRESETS if PRESETS[one] is preset(name))),
    "planners": (  # planners around planners are in the next test
        [name for name in PLANNERS if name not in ("multi_start", "sequential", "augmented_lagrangian")],
        lambda name: settings_of(planner_of({"name": name}))["name"],
    ),
    "suites": (suites(), lambda name: load_suite(name).name),
    "recipes": (RECIPES, lambda name: next(one for one in RECIPES if RECIPES[one] is recipe(name))),
    "checkpoints": ([*checkpoints(), *ANALYTIC], model_name),
}


@pytest.mark.parametrize("registry", LOOKUPS)
def test_every_registered_name_in_every_spelling(registry: str) -> None:
    names, look_up = LOOKUPS[registry]
    assert len({plain_name(name) for name in names}) == len(list(names))
    for name in names:
        for spelling in spellings(name):
            assert look_up(spelling) == name


def test_further_lookups_in_every_spelling() -> None:
    assert planner_of({"name": "Multi-Start", "planner": {"name": "GD"}}) == planner_of(
        {"name": "multi_start", "planner": {"name": "gd"}}
    )
    for domain in DOMAINS.values():
        for name in (domain.name, domain.env.partition("-")[0], domain.env):
            for spelling in spellings(name):
                assert environment_id(spelling) == f"grasp_planner/{domain.env}"
                versions = domain.versions_of("dset")
                version = "v1" if name == domain.env else versions[-1]  # the name of the environment ends with v1
                assert task(spelling).name == f"{domain.name}/dset/{version}"
                assert scene(spelling) is SCENES[domain.env]
    for space in spaces():
        assert all(drawn(spelling, 3) == drawn(space, 3) for spelling in spellings(space))
    for name in MAPS:
        assert all((walls_of(spelling) == walls_of(name)).all() for spelling in spellings(name))
    assert FLOORS and environment_id("grasp_planner.domains:grasp_planner/PushT-v1").endswith("PushT-v1")
    assert load_world_model("PUSHT_State").state_dict().keys() == load_world_model("pusht-state").state_dict().keys()


@pytest.mark.parametrize("name", [*PLANNERS, *PRESETS])
def test_planners_on_the_command_line_in_every_spelling(name: str) -> None:
    inside = {
        "multi_start": ["planner.planner:GD"],
        "sequential": ["planner.first:Gd", "planner.second:CEM"],
        "augmented_lagrangian": ["planner.planner:GD"],
    }
    found = [parsed([f"planner:{spelling}", *inside.get(name, [])]).planner for spelling in spellings(name)]
    assert all(one == found[0] for one in found) and settings_of(found[0])["name"] in PLANNERS
    words = "planner:Multi_Start planner.planner:GRASP planner.planner.sync:Random_Shooting"
    assert settings_of(parsed(words.split()).planner)["planner"]["sync"]["name"] == "random_shooting"


def test_a_value_that_looks_like_a_choice_is_left_alone() -> None:
    assert parsed(["--device", "cuda:1", "--task", "X:Y"]).device == "cuda:1"


def test_commands_and_recipes_in_any_spelling(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from grasp_planner.cli.commands.train import parsed as parsed_train

    assert parsed_train(["Wall_State", "--data", "d", "--out", "o"]).recipe == RECIPES["wall-state"]
    assert main(["Bench", "SMOKE", "--plan-only"]) == 0 and "smoke" in capsys.readouterr().out
    assert all(plain_name(name) == name for name in COMMANDS)


def test_a_suite_file_may_spell_names_in_any_way(tmp_path: Path) -> None:
    text = suites()["smoke"].read_text()
    other = (
        text.replace("push_t/dset/v1", "PushT-v1").replace("pusht-state", "PushT_State").replace('"latco"', '"LatCo"')
    )
    assert other != text
    (tmp_path / "smoke.toml").write_text(other)
    found, packaged = load_suite(tmp_path / "smoke.toml"), load_suite("smoke")
    assert found.cells == packaged.cells and [str(cell) for cell in found.cells] == [
        str(cell) for cell in packaged.cells
    ]
    assert packaged.only(("PushT_State",)).cells == packaged.cells


def test_a_folder_comes_before_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoints()["wall-state"], tmp_path / "pusht_state")
    shutil.copytree(checkpoints()["wall-state"], tmp_path / "pusht-state")
    assert model_name("pusht_state") == "pusht_state" and len(load_world_model("pusht_state").scale) == 2
    assert model_name("pusht-state") == "pusht-state" and len(load_world_model("pusht-state").scale) == 8
    assert len(load_world_model(Path("pusht-state")).scale) == 2


@pytest.mark.parametrize("name", DOMAINS)
def test_every_world_names_its_models(name: str) -> None:
    domain = DOMAINS[name]
    assert domain.models and all(model_name(one) == one for one in domain.models)
    asked = task(name)
    assert model_for(asked) == domain.models[0]
    for other in DOMAINS.values():
        for model in other.models:
            if other is domain:
                assert model_for(asked, model) == model
            else:
                with pytest.raises(GraspPlannerError, match=f"the model {model} belongs to {other.env}"):
                    model_for(asked, model)


def test_every_packaged_model_has_a_world() -> None:
    assert sorted(one for domain in DOMAINS.values() for one in domain.models) == sorted([*checkpoints(), *ANALYTIC])


def test_the_world_of_a_trained_model_is_read_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(checkpoints()["wall-state"], folder)
    assert worlds_of(str(folder)) == {"WallSingle-v1"}
    with pytest.raises(GraspPlannerError, match="belongs to WallSingle-v1"):
        model_for(task("ball_nav"), str(folder))
    shutil.copy(checkpoints()["pusht-state"] / "training.json", folder)
    assert worlds_of(str(folder)) == {"PushT-v1"}
    for text in ("{", "[]", "{}", '{"data": 3}', '{"data": {"joined": [1]}}', '{"data": {"collected_by": {}}}'):
        (folder / "training.json").write_text(text)
        assert worlds_of(str(folder)) == set() and model_for(task("wall"), str(folder)) == str(folder)


@pytest.mark.parametrize("name", DOMAINS)
def test_plan_takes_the_model_of_the_task(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"plan --task {name.replace('_', '-')} planner:gd --steps 1 --episodes 1 --animation none --out {tmp_path}"
    assert main(words.split()) == 0
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["model"] == DOMAINS[name].models[0]
    assert f"planned in {DOMAINS[name].models[0]}" in " ".join(capsys.readouterr().out.split())


def test_names_are_printed_in_one_spelling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"plan --task PushT-v1 --model PushT_State planner:Random-Shooting --steps 1 --episodes 1 --out {tmp_path}"
    assert main([*words.split(), "--animation", "none"]) == 0
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["model"] == "pusht-state" and content["evaluations"][0]["planner"]["name"] == "random_shooting"
    assert content["evaluations"][0]["task"] == "push_t/dset/v1"
    printed = " ".join(capsys.readouterr().out.split())
    assert "push_t/dset/v1, 25 steps ahead" in printed and "planned in pusht-state" in printed


def test_a_suite_with_a_model_of_another_world_is_refused_before_work(tmp_path: Path) -> None:
    from grasp_planner.bench.running.earlier_runs import Earlier
    from grasp_planner.bench.running.suite_run import Run

    (tmp_path / "mixed.toml").write_text(suites()["smoke"].read_text().replace("push_t/dset/v1", "wall"))
    with pytest.raises(GraspPlannerError, match="pusht-state belongs to PushT-v1"):
        Run(load_suite(tmp_path / "mixed.toml"), tmp_path / "out", Earlier(()))
    assert not (tmp_path / "out").exists()


def test_what_an_unknown_environment_needs_is_named_with_its_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gymnasium")
    assert main(["collect", "CartPole-v1", "--episodes", "1", "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert "--policy" in said and "--steps" in said and "CartPole-v1" in said
    assert main(["collect", "CartPole-v1", "--episodes", "1", "--policy", "wall", "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert "--policy" not in said and "--steps" in said


@pytest.mark.parametrize("recipe_name", ["pusht-state", "wall-pixels"])
def test_what_training_on_other_data_needs_is_named_with_its_flags(
    recipe_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from grasp_planner.data import Episodes
    from grasp_planner.training import train

    pictures = {"pixels": np.zeros((31, 64, 64, 3), np.uint8)} if "pixels" in recipe_name else {}
    seen = [{"state": np.random.default_rng(i).normal(size=(31, 3)), **pictures} for i in range(4)]
    data = Episodes.of(seen, [np.zeros((30, 4))] * 4)
    with pytest.raises(GraspPlannerError) as caught:
        train(recipe(recipe_name), data, tmp_path / "o", progress=False)
    said = str(caught.value)
    assert "--model.state-size 3" in said and "--model.action-size 4" in said
