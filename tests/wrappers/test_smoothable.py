"""Smoother versions of wrapped models: the same predictions as without the wrapper, and counted calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import toys
from grasp_planner import GD, Budget, Chunked, Compiled, Dynamics, LowPrecision, Sequential, plan
from grasp_planner.planning.meter import Meter
from grasp_planner.wrappers.projected import Projected
from grasp_planner.wrappers.smoothable import Smoothable, smoothed
from grasp_planner.wrappers.straight_through import StraightThrough

WRAPPERS: dict[str, Callable[[Dynamics], Dynamics]] = {
    "chunked": lambda model: Chunked(model, rows=3),
    "chunked by memory": lambda model: Chunked(model, memory=2**20),
    "low precision": LowPrecision,
    "projected": lambda model: Projected(model, torch.tanh),
    "straight through": StraightThrough,
    "compiled": Compiled,
    "meter": Meter,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_has_the_smoother_versions_of_its_model(name: str) -> None:
    model = toys.Wavy()
    around = WRAPPERS[name](model)
    assert isinstance(around, Smoothable) and smoothed(around, 0.0) is around
    version = smoothed(around, 0.5)
    assert version is not around and version.context == 1
    states, actions = toys.fixed(7, 1, 3, seed=1), toys.fixed(7, 1, 2, seed=2)
    if name != "compiled":  # compiling takes seconds; a version is wrapped like the model
        expected = WRAPPERS[name](model.smoothed(0.5))(states, actions)
        torch.testing.assert_close(version(states, actions), expected)
        assert not torch.allclose(version(states, actions), around(states, actions))


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_model_without_smoother_versions_is_not_changed(name: str) -> None:
    model = toys.Nonlinear()
    around = WRAPPERS[name](model)
    assert smoothed(around, 1.0) is around and smoothed(model, 1.0) is model


def test_a_smoother_version_is_compiled_once() -> None:
    around = Compiled(toys.Wavy())
    assert around.smoothed(0.5) is around.smoothed(0.5) is not around.smoothed(1.0)


def test_the_memory_of_a_smoother_version_is_measured_once() -> None:
    model = toys.Wavy()
    around = Chunked(model, memory=2**20)
    states, actions = toys.fixed(7, 1, 3, seed=1), toys.fixed(7, 1, 2, seed=2)
    for _ in range(3):  # planning asks for the version at every step
        around.smoothed(0.5)(states, actions)
    assert model.rows == [(0.5, rows) for rows in (1, 2, 7, 7, 7)]


def test_pieces_of_a_smoother_version_check_the_deadline() -> None:
    pieces: list[int] = []
    version = Chunked(toys.Wavy(), rows=3).checked(lambda: pieces.append(1)).smoothed(1.0)
    version(toys.fixed(7, 1, 3, seed=1), toys.fixed(7, 1, 2, seed=2))
    assert len(pieces) == 3


def test_calls_of_a_smoother_version_count() -> None:
    model = toys.Wavy()
    planner = Sequential(GD(lr=0.1), GD(lr=0.1), share=0.5, smoothing=0.5)
    found = plan(toys.problem(2, 4, model), planner, Budget(transitions=100))
    assert found.calls == len(model.rows) and found.transitions == sum(rows for _, rows in model.rows) // 2 <= 100
    assert {amount for amount, _ in model.rows} == {0.0, 0.5}
