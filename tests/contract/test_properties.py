"""Promises on random cases: random boxes, units, shifts, interruptions and threads."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools

import pytest
import torch
from contract_rows import Row, every_row
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import Budget, Plan, Problem, plan
from grasp_planner.control.saving import load_state, save_state

STEPS = Budget(steps=3)
few = settings(max_examples=4)


@every_row
@few
@given(data=st.data())
def test_any_box_holds(row: Row, data, figure):
    """Boxes can be narrow, wide, asymmetric, without zero, or a single point. Bounds hold exactly, in float32, too."""
    figure("random cases")
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    number = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
    ends = torch.tensor([sorted(data.draw(st.tuples(number, number))) for _ in range(2)], dtype=dtype)
    problem = dataclasses.replace(toys.problem(2, 3, dtype=dtype), low=ends[:, 0], high=ends[:, 1])
    start = data.draw(st.floats(0, 2e3)) * toys.fixed(2, 3, 2, seed=1, dtype=dtype)
    found = plan(problem, row.planner, STEPS, seeds=data.draw(st.integers(0, 99)), warm_start=start)
    for actions in (found.actions, found.warm_start.actions, *(one.actions for one in found.trace.snapshots)):
        assert ((actions >= problem.low) & (actions <= problem.high)).all()
    assert (found.trace.cost.diff(dim=0) <= 0).all(), "and the best cost never rises"


@every_row
@few
@given(powers=st.tuples(*[st.integers(-12, 12)] * 3), seed=st.integers(0, 99))
def test_any_units_of_the_latent(row: Row, powers, seed, figure):
    """Each coordinate has its own unit, a power of two, and the scale has the same units. The actions are the same."""
    figure("random cases")
    unit = torch.tensor([2.0**power for power in powers], dtype=torch.float64)
    inner = toys.Nonlinear()

    class InUnits:
        context = 1

        def __call__(self, states, actions):
            return unit * inner(states / unit, actions)

    scale = torch.tensor([0.7, 1.3, 2.0], dtype=torch.float64)
    problem = toys.problem(2, 3, inner, scale=scale)
    other = dataclasses.replace(
        problem, dynamics=InUnits(), states=problem.states * unit, goal=problem.goal * unit, scale=scale * unit
    )
    first, second = (plan(one, row.planner, STEPS, seeds=seed) for one in (problem, other))
    torch.testing.assert_close(second.actions, first.actions, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(second.cost, first.cost, rtol=1e-7, atol=1e-7)


@every_row
@few
@given(shift=st.integers(0, 7), horizon=st.integers(1, 5), longer=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_warm_start_shifted_by_any_number_of_steps(row: Row, shift, horizon, longer, seed, figure):
    """The next plan starts from the rest of the last one, its last action repeated, and is never worse than that."""
    figure("random cases")
    before = plan(toys.problem(2, horizon), row.planner, STEPS, seeds=seed)
    problem = dataclasses.replace(toys.problem(2, longer), states=before.states[:, :1])
    after = plan(problem, row.planner, STEPS, seeds=seed + 1, warm_start=before.warm_start.shifted(shift))
    kept = [min(shift, horizon - 1) + t for t in range(horizon)]
    rest = before.actions[:, [min(t, horizon - 1) for t in kept]]
    rest = rest[:, [min(t, horizon - 1) for t in range(longer)]]
    first = toys.cost_by_hand(problem, rest)
    torch.testing.assert_close(after.trace.cost[0], first)
    assert (after.cost <= first * (1 + 1e-12)).all()


@every_row
@few
@given(cut=st.integers(0, 6), seeds=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2))
def test_interrupted_anywhere_saved_loaded_and_continued(row: Row, cut, seeds, tmp_path, figure):
    figure("random cases")
    problem = toys.problem(2, 3)
    through = plan(problem, row.planner, Budget(steps=6), seeds=seeds)
    first = plan(problem, row.planner, Budget(steps=cut), seeds=seeds)
    loaded = load_state(save_state(first.warm_start, tmp_path / "state"))
    second = plan(problem, row.planner, Budget(steps=6 - cut), seeds=seeds, warm_start=loaded)
    assert second.warm_start.steps == through.warm_start.steps
    assert row.reads_the_budget or torch.equal(
        row.planner.actions(second.warm_start.state), row.planner.actions(through.warm_start.state)
    )


@functools.cache
def alone(row: Row, seed: int) -> Plan:
    return plan(whole(), row.planner, STEPS, seeds=seed)


@functools.cache
def whole() -> Problem:
    return toys.problem(3, 3)


@every_row
def test_the_same_from_several_threads_at_once(row: Row, figure):
    """Plans are equal to the bit, with different seeds at the same time, and with a model that all threads share."""
    expected = [alone(row, seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(lambda seed: plan(whole(), row.planner, STEPS, seeds=seed), range(4))):
            assert toys.same(found, expected[seed])
            figure("random cases")


@pytest.mark.parametrize("rows", [1, 2, 5])
@every_row
def test_any_room_gives_the_same_plan(row: Row, rows, figure):
    """Memory suffices only for ``rows`` rows per call, with and without gradients."""
    figure("random cases")

    class Small:
        context = 1

        def __call__(self, states, actions):
            if states.shape[0] > rows:
                raise torch.cuda.OutOfMemoryError("no room")
            return inner(states, actions)

    inner = toys.Nonlinear()
    expected = alone(row, 1)
    found = plan(dataclasses.replace(whole(), dynamics=Small()), row.planner, STEPS, seeds=1)
    torch.testing.assert_close(found.actions, expected.actions, rtol=1e-7, atol=1e-7)
    assert (found.transitions, found.calls) == (expected.transitions, expected.calls)
    assert torch.equal(found.status, expected.status)
