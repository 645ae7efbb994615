"""Compiled: the model's own predictions and gradients, compiled once for any number of rows, or a warning."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch

import toys
from grasp_planner import GD, GRASP, Budget, Compiled, Markov, plan
from grasp_planner.core.frozen import frozen


@functools.cache
def compiled() -> Compiled:
    made = Compiled(toys.Nonlinear())
    made.warm_up(toys.fixed(4, 1, 3, seed=1), toys.fixed(4, 1, 2, seed=2))
    assert made.failure is None
    return made


@pytest.fixture
def nothing_is_compiled():
    """Raise an error on every compilation inside the block."""
    with frozen(compiled()), torch.compiler.set_stance("fail_on_recompile"):
        yield


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 50])
def test_answers_and_gradients_are_the_models_for_any_number_of_rows(rows, nothing_is_compiled):
    states, actions = toys.fixed(rows, 1, 3, seed=rows), toys.fixed(rows, 4, 2, seed=rows + 1)[:, 1:2]
    for wanted in ((False, False), (False, True), (True, True)):
        found = []
        for model in (compiled(), toys.Nonlinear()):
            given = [part.clone().requires_grad_(flag) for part, flag in zip((states, actions), wanted)]
            with torch.set_grad_enabled(any(wanted)):
                out = model(*given)
            variables = [part for part in given if part.requires_grad]
            found.append([out.detach(), *(torch.autograd.grad(out.sin().sum(), variables) if variables else ())])
        for mine, theirs in zip(*found, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_a_run_compiles_nothing_whatever_its_shapes(nothing_is_compiled):
    for batch, horizon in ((1, 1), (1, 6), (3, 2), (5, 9)):
        problem = toys.problem(batch, horizon, compiled())
        for planner in (GRASP(sync_every=2, sync_steps=2), GD()):
            found = plan(problem, planner, Budget(steps=3))
            whole = plan(problem.through(toys.Nonlinear()), planner, Budget(steps=3))
            torch.testing.assert_close(found.actions, whole.actions, rtol=1e-9, atol=1e-9)
            assert (found.calls, found.transitions) == (whole.calls, whole.transitions)


def test_what_was_returned_is_not_written_to_by_the_next_call():
    states, actions = toys.fixed(3, 1, 3, seed=1), toys.fixed(3, 1, 2, seed=2)
    with torch.no_grad():
        first = compiled()(states, actions)
        copy = first.clone()
        compiled()(states + 1, actions)
    assert torch.equal(first, copy)


def test_without_a_compiler_one_warning_and_the_model_itself(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand more lines")

    monkeypatch.setattr(torch, "compile", broken)
    problem = toys.problem(3, 4)
    slow = Compiled(problem.dynamics)
    with pytest.warns(RuntimeWarning, match="torch.compile failed.*no C\\+\\+ compiler") as said:
        found = plan(problem.through(slow), GRASP(sync_every=2, sync_steps=2), Budget(steps=4))
    assert len(said) == 1 and "more lines" not in str(said[0].message) and slow.failure is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = plan(problem.through(slow), GRASP(sync_every=2, sync_steps=2), Budget(steps=4))
    whole = plan(problem, GRASP(sync_every=2, sync_steps=2), Budget(steps=4))
    assert toys.same(found, whole) and toys.same(again, whole)


def test_a_fault_of_the_models_own_is_raised_as_it_is():
    def faulty(state, action):
        raise KeyError("mine")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError, match="mine"):
            Compiled(Markov(faulty))(torch.zeros(2, 1, 2), torch.zeros(2, 1, 2))


def test_the_model_is_found_and_frozen():
    model = compiled().dynamics.train()
    plan(toys.problem(2, 3, compiled()), GRASP(sync_every=2, sync_steps=1), Budget(steps=2))
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
