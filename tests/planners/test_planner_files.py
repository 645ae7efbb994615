"""Planner files: every planner comes back with every setting, and files that are wrong or hostile are refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    PLANNERS,
    AugmentedLagrangian,
    GaussNewton,
    GraspPlannerError,
    LatCo,
    MultiStart,
    Sequential,
    load_planner,
    recommended,
    save_planner,
)
from grasp_planner.control.planner_files import MOST_BYTES, MOST_NESTED, planner_of, settings_of
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planning.protocol import Planner

NESTED = [
    Sequential(MultiStart(GRASP(sync=None, state_epsilon=0.5), starts=4, race_starts=8), GD(lr=0.1 + 0.2), share=1 / 3),
    MultiStart(Sequential(CEM(), GD()), starts=3, restart_every=7),
    Sequential(Sequential(GD(), CEM(), tolerance=0.1), LatCo(method="gauss_newton")),
    MultiStart(MultiStart(GaussNewton(), starts=2), starts=3),
    AugmentedLagrangian(MultiStart(GaussNewton(), starts=2), update_every=7),
    GRASP(sync=MultiStart(GD(optimiser="sgd"), starts=2)),
    recommended(),
]


def simplest(cls: type) -> Any:
    """Return a planner of a class with its defaults, and CEM in the fields that hold a planner."""
    return planner_of({"name": cls.__name__} | {name: {"name": "cem"} for name in inside(cls)})


def inside(cls: type) -> list[str]:
    around = {AugmentedLagrangian: ["planner"], MultiStart: ["planner"], Sequential: ["first", "second"]}
    return {**around, GRASP: ["sync"]}.get(cls, [])


def candidates(hint: Any) -> Iterator[Any]:
    """Yield values of a type, of which a planner may refuse some."""
    if hint == Planner:
        yield from (ICEM(samples=40), GaussNewton())
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    elif NoneType in get_args(hint):
        yield None
        yield from (value for one in get_args(hint) if one is not NoneType for value in candidates(one))
    else:
        yield from {float: (1 / 3, 0.1 + 0.2, 1.7), int: (1, 3, 40, 400), bool: (True, False)}[hint]


@pytest.mark.parametrize("name", PLANNERS)
def test_every_setting_of_every_planner_comes_back(name: str, tmp_path: Path) -> None:
    planner, hints = simplest(PLANNERS[name]), get_type_hints(PLANNERS[name])
    for one in fields(planner):
        found = []
        for value in candidates(hints[one.name]):
            try:
                other = replace(planner, **{one.name: value})
            except GraspPlannerError:
                continue
            found.append(getattr(other, one.name) != getattr(planner, one.name))
            loaded = load_planner(save_planner(other, tmp_path / "planner.json"))
            assert loaded == other and type(loaded) is type(other)
        assert any(found), f"no candidate changes {one.name}"


@pytest.mark.parametrize("planner", [*NESTED, *PRESETS.values()], ids=repr)
def test_planners_inside_planners_come_back(planner: Any, tmp_path: Path) -> None:
    path = save_planner(planner, tmp_path / "planner.json", {"loss": float("nan"), "data": Path("data")})
    assert load_planner(path) == planner
    assert settings_of(load_planner(path)) == settings_of(planner)
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["tuned"] == {"loss": None, "data": "data"}


def chain(count: int) -> dict[str, Any]:
    """Return the settings of as many planners inside each other."""
    settings: dict[str, Any] = {"name": "gd"}
    for _ in range(count - 1):
        settings = {"name": "multi_start", "starts": 1, "planner": settings}
    return settings


def test_planners_can_be_deep_inside_each_other_but_not_without_limit(tmp_path: Path) -> None:
    deepest = planner_of(chain(MOST_NESTED))
    assert load_planner(save_planner(deepest, tmp_path / "planner.json")) == deepest
    with pytest.raises(GraspPlannerError, match=f"at most {MOST_NESTED} planners inside each other"):
        save_planner(MultiStart(deepest), tmp_path / "more.json")
    assert not (tmp_path / "more.json").exists()
    for count in (MOST_NESTED + 1, 200, 2000):
        text = '{"schema": 1, "planner": ' + '{"name": "multi_start", "planner": ' * count + "1" + "}" * (count + 1)
        (tmp_path / "deep.json").write_text(text)
        with pytest.raises(GraspPlannerError, match=r"deep\.json: .*(inside each other|nested too deeply)"):
            load_planner(tmp_path / "deep.json")


@dataclass(frozen=True)
class OwnPlanner:
    """A planner that this package does not know."""

    tolerance: float = 0.0

    def init(self, problem: Any, actions: Any, noise: Any) -> Any:
        return actions

    def step(self, problem: Any, state: Any, noise: Any) -> Any:
        return state, None

    def actions(self, state: Any) -> Any:
        return state


@pytest.mark.parametrize("planner", [OwnPlanner(), MultiStart(OwnPlanner()), Sequential(GD(), OwnPlanner())], ids=repr)
def test_a_planner_of_another_class_is_not_saved(planner: Any, tmp_path: Path) -> None:
    with pytest.raises(GraspPlannerError, match=r"needed a planner of this package.*OwnPlanner"):
        save_planner(planner, tmp_path / "planner.json")
    assert not list(tmp_path.iterdir())


def test_the_name_of_a_planner_file_ends_in_json(tmp_path: Path) -> None:
    with pytest.raises(GraspPlannerError, match=r"must end in .json, got .*planner\.toml"):
        save_planner(GD(), tmp_path / "planner.toml")


def planner_json(settings: str) -> str:
    return f'{{"schema": 1, "planner": {settings}}}'


WRONG = {
    "": "not readable as JSON: the file is empty",
    "{": "not readable as JSON",
    "[]": "needed a JSON object",
    "[" * 100_000: "not readable as JSON",
    '{"schema": 1, "command": "plan"}': "needed a planner file with the field 'planner'.*schema, command",
    "{}": "the fields of an empty object",
    '{"schema": 1, "planner": "cem"}': "needed a planner file with the field 'planner'",
    '{"schema": 7, "planner": {"name": "cem"}}': "schema 1, got 7: another release",
    '{"planner": {"name": "cem"}}': "schema 1, got None",
    planner_json("{}"): "the name of a planner in the field 'name', got {}",
    planner_json('{"name": 3}'): "the name of a planner in the field 'name', got {'name': 3}",
    planner_json('{"name": ["cem"]}'): "the name of a planner in the field 'name'",
    planner_json('{"name": "cme"}'): "unknown planner 'cme': did you mean 'cem'",
    planner_json('{"name": "os.system"}'): "unknown planner 'os.system'",
    planner_json(f'{{"name": "{"x" * 100_000}"}}'): "unknown planner 'x{200}...': known are",
    planner_json('{"name": "cem", "sampels": 3}'): "unknown setting of cem 'sampels': did you mean 'samples'",
    planner_json('{"name": "cem", "__class__": {"name": "gd"}}'): "unknown setting of cem '__class__'",
    planner_json('{"name": "cem", "samples": 1.5}'): "'samples' of cem: needed a whole number, got 1.5",
    planner_json('{"name": "cem", "samples": true}'): "'samples' of cem: needed a whole number, got True",
    planner_json('{"name": "cem", "samples": "300"}'): "'samples' of cem: needed a whole number, got '300'",
    planner_json('{"name": "cem", "samples": null}'): "'samples' of cem: needed a whole number, got None",
    planner_json('{"name": "cem", "samples": 0}'): r"CEM\.samples must be an integer >= 2, got 0",
    planner_json('{"name": "cem", "std": NaN}'): "'std' of cem: needed a finite number, got nan",
    planner_json('{"name": "cem", "std": 1e999}'): "'std' of cem: needed a finite number, got inf",
    planner_json(f'{{"name": "cem", "std": {"9" * 400}}}'): "'std' of cem: needed a number",
    planner_json(f'{{"name": "cem", "samples": {"9" * 5000}}}'): "not readable as JSON",
    planner_json('{"name": "grasp", "sync": 3}'): "'sync' of grasp: needed the settings of a planner, got 3",
    planner_json('{"name": "grasp", "sync": {"lr": 1.0}}'): "the name of a planner in the field 'name'",
    planner_json('{"name": "grasp", "sync": {"name": "gd", "lr": "fast"}}'): "'lr' of gd: needed a number",
    planner_json('{"name": "grasp", "optimiser": "lbfgs"}'): "'optimiser' of grasp: needed one of",
    planner_json('{"name": "grasp", "stop_gradient": 1}'): "'stop_gradient' of grasp: needed true or false",
    planner_json('{"name": "multi_start"}'): "settings of multi_start: the setting 'planner' is missing",
    planner_json('{"name": "multi_start", "planner": null}'): "needed the settings of a planner, got None",
    planner_json('{"name": "multi_start", "planner": {"name": "gd"}, "starts": 9, "race_starts": 8}'): "race_starts",
    " " * (MOST_BYTES + 1): "more than 262,144 bytes",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:60])
def test_a_wrong_file_is_refused_with_its_name_and_the_reason(text: str, tmp_path: Path) -> None:
    path = tmp_path / "planner.json"
    path.write_text(text)
    with pytest.raises(GraspPlannerError, match=rf"planner\.json: .*{WRONG[text]}") as found:
        load_planner(path)
    assert len(str(found.value)) < 1000


class Calls:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_no_file_runs_code_and_what_is_no_file_is_refused(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "planner.json"
    hostile = [
        pickle.dumps(Calls(canary)),
        planner_json(json.dumps({"name": f"__import__('os').mkdir({str(canary)!r})"})).encode(),
        planner_json(json.dumps({"name": "gd", "lr": f"!!python/object/apply:os.mkdir [{canary}]"})).encode(),
        b"\xff\xfe\x00",
    ]
    for content in hostile:
        path.write_bytes(content)
        with pytest.raises(GraspPlannerError, match=r"planner\.json: "):
            load_planner(path)
    assert not canary.exists()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", ".", "missing.json"):
        with pytest.raises(GraspPlannerError):
            load_planner(tmp_path / name)
