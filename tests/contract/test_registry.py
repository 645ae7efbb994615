"""The table of planners, and what every planner's settings promise."""

from __future__ import annotations

import dataclasses

import pytest
from contract_rows import ROWS, Row, every_row

from grasp_planner import GD, PLANNERS, AugmentedLagrangian, GraspPlannerError, MultiStart, Sequential


def test_every_planner_has_a_row():
    assert {row.name for row in ROWS} == set(PLANNERS)
    for row in ROWS:
        assert type(row.planner) is PLANNERS[row.name]


def made(name):
    """Return the planner with its default settings. A planner around planners has no default for the inner planner."""
    inside = [field.name for field in dataclasses.fields(PLANNERS[name]) if field.type == "Planner"]
    return PLANNERS[name](**dict.fromkeys(inside, GD()))


@pytest.mark.parametrize("name", PLANNERS)
def test_planners_are_frozen_dataclasses_with_defaults_and_a_documented_source(name):
    planner = made(name)
    assert dataclasses.is_dataclass(planner)
    with pytest.raises(dataclasses.FrozenInstanceError):
        planner.tolerance = 1.0
    assert planner == made(name)
    assert type(planner).__mro__ == (type(planner), object)
    assert hash(planner) == hash(made(name))
    text = PLANNERS[name].__doc__
    for field in dataclasses.fields(planner):
        assert f"        {field.name}:" in text, f"{name}.{field.name} is not documented"
    for part in ("Args:", "Raises:", "Example:", "Source:"):
        assert part in text


def numbers():
    for row in ROWS:
        if not row.variant or row.name in ("multi_start", "sequential", "augmented_lagrangian"):
            for field in dataclasses.fields(row.planner):
                if isinstance(getattr(row.planner, field.name), (int, float, str)):
                    yield pytest.param(row.planner, field.name, id=f"{row.name}-{field.name}")


@pytest.mark.parametrize(("planner", "field"), list(numbers()))
def test_bad_settings_are_refused_by_name(planner, field):
    value = getattr(planner, field)
    if isinstance(value, bool):
        bad = ["yes", 3, None]
    elif isinstance(value, str):
        bad = ["adamw", 1, None]
    elif isinstance(value, int):
        bad = [0, -1, 2.5, True, "3", None]
    else:
        bad = [-1.0, float("nan"), float("inf"), True, "0.1", None]
    default = {each.name: each.default for each in dataclasses.fields(planner)}[field]
    for wrong in bad if default is not None else bad[:-1]:
        with pytest.raises(GraspPlannerError, match=f"{type(planner).__name__}.*{field}"):
            dataclasses.replace(planner, **{field: wrong})


@every_row
def test_rows_repr_shows_every_setting(row: Row):
    text = repr(row.planner)
    assert all(f"{field.name}=" in text for field in dataclasses.fields(row.planner))


@pytest.mark.parametrize("wrong", ["gd", GD, 3, None, object()])
def test_inside_a_planner_there_must_be_a_planner(wrong):
    for make in (
        lambda: MultiStart(wrong),
        lambda: Sequential(wrong, GD()),
        lambda: Sequential(GD(), wrong),
        lambda: AugmentedLagrangian(wrong),
    ):
        with pytest.raises(
            GraspPlannerError,
            match=r"(MultiStart|Sequential|AugmentedLagrangian)\.\w+ must be a planner such as GD\(\)",
        ):
            make()


def test_a_planner_around_planners_has_at_least_their_tolerance():
    assert MultiStart(GD(tolerance=0.3)).tolerance == 0.3
    assert MultiStart(GD(tolerance=0.3), tolerance=0.5).tolerance == 0.5
    assert AugmentedLagrangian(GD(tolerance=0.3)).tolerance == 0.3
    assert AugmentedLagrangian(GD(tolerance=0.3), tolerance=0.5).tolerance == 0.5
    assert Sequential(GD(tolerance=0.1), GD(tolerance=0.2)).tolerance == 0.2
    assert dataclasses.replace(MultiStart(GD()), planner=GD(tolerance=0.4)).tolerance == 0.4
