"""A plan depends on its own problem and seed, and not on other problems of the batch or on global random states."""

from __future__ import annotations

import functools
import random

import numpy
import pytest
import torch
from contract_rows import Row, every_row, some_rows
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import Budget, Plan, Problem, plan

BIG = 64
STEPS = Budget(steps=7)


@functools.cache
def whole(context: int = 1) -> Problem:
    return toys.problem(BIG, 5, toys.Nonlinear() if context == 1 else toys.Remembering(context))


@functools.cache
def seeds() -> list[int]:
    return [3 * i - 20 for i in range(BIG)]


@functools.cache
def together(row: Row, context: int = 1) -> Plan:
    return plan(whole(context), row.planner, STEPS, seeds=seeds())


def agree(part: Plan, places: list[int], row: Row, context: int = 1) -> None:
    all_of_them = together(row, context)
    for name in ("actions", "states", "cost"):
        found, expected = getattr(part, name), getattr(all_of_them, name)[places]
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")
    assert torch.equal(part.status, all_of_them.status[places])
    torch.testing.assert_close(part.trace.cost, all_of_them.trace.cost[:, places], rtol=1e-7, atol=1e-7)
    assert part.transitions == all_of_them.transitions and part.calls == all_of_them.calls


@every_row
@pytest.mark.parametrize("place", [0, 63])
def test_alone_as_in_a_batch_of_64(row: Row, place):
    alone = plan(toys.rows(whole(), [place]), row.planner, STEPS, seeds=[seeds()[place]])
    agree(alone, [place], row)


@every_row
def test_alone_as_in_a_batch_with_a_context_of_three(row: Row):
    alone = plan(toys.rows(whole(3), [40]), row.planner, STEPS, seeds=seeds()[40])
    agree(alone, [40], row, context=3)


@every_row
def test_the_batch_is_not_the_same_problem_64_times(row: Row):
    # Plans that end on the bounds may be equal, but not their rollouts.
    states = together(row).states.flatten(1)
    assert torch.unique(states, dim=0).shape[0] > 0.9 * BIG


@every_row
@settings(max_examples=4)
@given(data=st.data())
def test_order_and_split_of_the_batch_do_not_matter(row: Row, data):
    size = data.draw(st.integers(2, 9))
    places = data.draw(st.permutations(range(BIG)))[:size]
    chosen = toys.rows(whole(), places)
    agree(plan(chosen, row.planner, STEPS, seeds=[seeds()[i] for i in places]), places, row)


@every_row
def test_split_in_three_unequal_parts(row: Row):
    for part in (range(0, 1), range(1, 8), range(8, BIG)):
        places = list(part)
        found = plan(toys.rows(whole(), places), row.planner, STEPS, seeds=torch.tensor(seeds())[places])
        agree(found, places, row)


@every_row
def test_without_seeds_and_with_one_seed_all_problems_draw_the_same_numbers(row: Row):
    small, single = toys.problem(5, 4), toys.rows(toys.problem(5, 4), [3])
    for given_seeds in (None, 11):
        batch = plan(small, row.planner, STEPS, seeds=given_seeds)
        alone = plan(single, row.planner, STEPS, seeds=given_seeds)
        torch.testing.assert_close(batch.actions[3:4], alone.actions, rtol=1e-7, atol=1e-7)


@some_rows
def test_every_way_to_write_seeds_down_means_the_same(row: Row):
    small = toys.problem(3, 4)
    first = plan(small, row.planner, STEPS, seeds=5)
    for same_seeds in (
        [5, 5, 5],
        (5, 5, 5),
        torch.tensor([5, 5, 5]),
        torch.tensor(5, dtype=torch.int32),
        numpy.array([5, 5, 5]),
        numpy.int64(5),
        (number for number in (5, 5, 5)),
    ):
        assert toys.same(first, plan(small, row.planner, STEPS, seeds=same_seeds))
    assert toys.same(plan(small, row.planner, STEPS), plan(small, row.planner, STEPS, seeds=0))


@every_row
def test_same_seed_same_plan_to_the_bit(row: Row):
    first = plan(toys.problem(3, 5), row.planner, STEPS, seeds=[1, 2, 3])
    again = plan(toys.problem(3, 5), row.planner, STEPS, seeds=[1, 2, 3])
    assert toys.same(first, again)
    assert torch.equal(first.trace.cost, again.trace.cost)


# Deterministic plans do not depend on random numbers: their rows agree for any two seeds.
NOISELESS = {
    ("gd", ""),
    ("latco", "gauss-newton"),
    ("gauss_newton", ""),
    ("gauss_newton", "no-secants"),
    ("augmented_lagrangian", "gd"),
}


@every_row
def test_another_seed_gives_another_plan_where_noise_is_used(row: Row):
    small = toys.problem(3, 5)
    first, other = (plan(small, row.planner, STEPS, seeds=seed) for seed in (1, 2))
    assert torch.equal(first.actions, other.actions) == ((row.name, row.variant) in NOISELESS)


@every_row
def test_global_random_state_is_neither_read_nor_moved(row: Row):
    def states():
        keys = numpy.random.get_state()
        return torch.get_rng_state(), keys[1].copy(), keys[2], random.getstate()

    small = toys.problem(2, 4)
    before = states()
    first = plan(small, row.planner, STEPS, seeds=3)
    after = states()
    assert torch.equal(before[0], after[0]), "torch's generator was moved"
    assert numpy.array_equal(before[1], after[1]) and before[2] == after[2], "numpy's generator was moved"
    assert before[3] == after[3], "Python's generator was moved"
    torch.manual_seed(1234), numpy.random.seed(99), random.seed(5)
    assert toys.same(first, plan(small, row.planner, STEPS, seeds=3)), "a global generator was read"
