"""Saving: planning that is saved, loaded and continued is the same as without a break. Damaged files are refused."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

import pytest
import torch
from contract_rows import Row, every_row
from safetensors import safe_open
from safetensors.torch import save_file

import toys
from damage import changed
from full_disk import largest_file
from grasp_planner import CEM, GD, GRASP, PLANNERS, Budget, GraspPlannerError, WarmStart, plan
from grasp_planner.control.saving import known_types, load_plan, load_state, save_plan, save_state
from grasp_planner.core.plans import Plan


def equal(first: Any, second: Any, name: str = "plan") -> None:
    """Compare two objects and everything in them."""
    assert type(first) is type(second), name
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second), name
    elif hasattr(first, "__dataclass_fields__") and not isinstance(first, (CEM, GD, GRASP)):
        for part in first.__dataclass_fields__:
            equal(getattr(first, part), getattr(second, part), f"{name}.{part}")
    elif isinstance(first, tuple):
        assert len(first) == len(second), name
        for place, (mine, other) in enumerate(zip(first, second, strict=True)):
            equal(mine, other, f"{name}.{place}")
    else:
        assert first == second, name


@every_row
def test_saved_loaded_and_continued_is_continuous(row: Row, tmp_path):
    problem = toys.problem(3, 4)
    through = plan(problem, row.planner, Budget(steps=8), seeds=[1, 2, 3])
    before = plan(problem, row.planner, Budget(steps=3), seeds=[1, 2, 3])
    save_state(before.warm_start, tmp_path / "state")
    save_plan(before, tmp_path / "plan")
    state, loaded = load_state(tmp_path / "state"), load_plan(tmp_path / "plan")
    equal(loaded, before)
    equal(state, before.warm_start)
    assert state.planner == row.planner
    for warm_start in (state, loaded.warm_start):
        after = plan(problem, row.planner, Budget(steps=5), seeds=[1, 2, 3], warm_start=warm_start)
        assert after.warm_start.steps == through.warm_start.steps
        if not row.reads_the_budget:
            equal(row.planner.actions(after.warm_start.state), row.planner.actions(through.warm_start.state))
        again = plan(problem, row.planner, Budget(steps=5), seeds=[1, 2, 3], warm_start=before.warm_start)
        assert toys.same(after, again)


def made(tmp_path) -> tuple[Plan, Any]:
    found = plan(toys.problem(2, 3), GRASP(sync=CEM(samples=4, elites=2), sync_every=2, sync_steps=1), Budget(steps=3))
    return found, save_plan(found, tmp_path / "a.plan")


def rewritten(path, **changes) -> None:
    """Write the same file with another header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["grasp_planner"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path, {"grasp_planner": json.dumps(header | changes)})


@pytest.mark.parametrize("version", [0, 1, "2", None, 99])
def test_an_unknown_version_is_refused_by_name(tmp_path, version):
    _, path = made(tmp_path)
    rewritten(path, version=version)
    with pytest.raises(GraspPlannerError, match=f"is of version {version!r} of this format, .* reads version 2"):
        load_plan(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    found, path = made(tmp_path)
    with pytest.raises(GraspPlannerError, match="is not a file of save_state"):
        load_state(path)
    with pytest.raises(GraspPlannerError, match="there is none at"):
        load_plan(tmp_path / "b.plan")
    save_file({"x": torch.ones(1)}, tmp_path / "c.plan")
    with pytest.raises(GraspPlannerError, match="is not a file of save_plan"):
        load_plan(tmp_path / "c.plan")
    rewritten(path, content={"tensor": "plan.actions"})
    with pytest.raises(GraspPlannerError, match="checksum"):
        load_plan(path)
    with pytest.raises(GraspPlannerError, match=r"state.state must be a tensor.*got object"):
        save_state(WarmStart(found.actions, object()), tmp_path / "d")
    assert not (tmp_path / "d").exists()
    with pytest.raises(GraspPlannerError, match="cannot be written"):
        save_plan(found, tmp_path / "nowhere" / "e.plan")


class Part(NamedTuple):
    weights: torch.Tensor


class AddedState(NamedTuple):
    mean: torch.Tensor
    part: Part | None


@dataclass(frozen=True)
class Added:
    samples: int = 3

    def init(self, problem, actions, noise) -> AddedState:
        return AddedState(actions, Part(actions.sum(0)))


def test_a_planner_in_the_registry_needs_no_other_entry(tmp_path, monkeypatch):
    """The types of its state are found by the annotations of the planner."""
    mine = WarmStart(torch.ones(1, 2, 2), Added().init(None, torch.ones(1, 2, 2), None), 4, Added(5))
    path = save_state(mine, tmp_path / "mine")
    with pytest.raises(GraspPlannerError, match="which is not known here"):
        load_state(path)
    monkeypatch.setitem(PLANNERS, "added", Added)
    known_types.cache_clear()
    try:
        equal(load_state(path), mine)
    finally:
        monkeypatch.undo()
        known_types.cache_clear()


def test_every_planner_says_what_its_state_is():
    for cls in PLANNERS.values():
        state = get_type_hints(cls.init)["return"]
        assert issubclass(state, tuple) and known_types()[state.__name__] is state


class OwnState(NamedTuple):
    mean: torch.Tensor
    scored: Any = None


@dataclass(frozen=True)
class Own:
    rate: float = 0.1


def test_types_of_third_party_planners(tmp_path):
    mine = WarmStart(torch.ones(1, 2, 2), OwnState(torch.zeros(3)), 4, Own(0.5))
    path = save_state(mine, tmp_path / "mine")
    with pytest.raises(GraspPlannerError, match=r"holds a Own(State)?, which is not known here"):
        load_state(path)
    equal(load_state(path, known=[Own, OwnState]), mine)


def test_a_damaged_file_is_refused(tmp_path, figure):
    """Every damage is detected, even of a single bit, except in bytes without meaning."""
    found, path = made(tmp_path)
    data, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(100):
        path.write_bytes(changed(data, draw))
        figure("files fuzzed")
        try:
            equal(load_plan(path), found)
        except GraspPlannerError:
            refused += 1
    assert refused > 80


@pytest.mark.parametrize("limit", [0, 100, 1500])
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_plan(limit, tmp_path):
    found, path = made(tmp_path)[0], tmp_path / "mine.plan"
    save_plan(found, path)
    before = path.read_bytes()
    for save, thing in ((save_plan, found), (save_state, found.warm_start)):
        with largest_file(limit), pytest.raises(GraspPlannerError, match="mine.plan cannot be written: File too large"):
            save(thing, path)
        assert path.read_bytes() == before and not list(tmp_path.glob(".*"))
    save_plan(found, path)
    equal(load_plan(path), found)
