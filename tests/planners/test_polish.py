"""The polish: a serial planner that goes on from the best plan, with what the loop keeps of the budget for it."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

import toys
from grasp_planner import CEM, GD, GRASP, Budget, GraspPlannerError, LatCo, Status, plan

LIFTED = [GRASP(sync_every=4, sync_steps=2, particles=2), LatCo(score_every=2)]
POLISH = GD(lr=0.05)


def with_polish(planner, steps, polish=POLISH):
    return dataclasses.replace(planner, polish=polish, polish_steps=steps)


@pytest.mark.parametrize("planner", LIFTED)
def test_it_is_the_serial_planner_from_the_best_plan_on(planner):
    problem = toys.problem(3, 5)
    first = plan(problem, planner, Budget(steps=9), seeds=1)
    then = plan(problem, POLISH, Budget(steps=7), warm_start=first.actions)
    found = plan(problem, with_polish(planner, 7), Budget(steps=9), seeds=1)
    torch.testing.assert_close(found.actions, then.actions, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.cost, then.cost, rtol=1e-9, atol=1e-12)
    assert (found.cost < first.cost).all()
    assert found.steps == 9 and found.transitions == first.transitions + (7 + 1) * 5
    assert found.trace.snapshots[-1].cost.equal(found.cost)


@pytest.mark.parametrize("planner", LIFTED)
def test_its_transitions_are_kept_and_everything_before_is_as_with_a_smaller_budget(planner):
    problem, polish = toys.problem(2, 4), 6 * 4
    whole = plan(problem, with_polish(planner, 5), Budget(transitions=400), seeds=1)
    before = plan(problem, planner, Budget(transitions=400 - polish), seeds=1)
    then = plan(problem, POLISH, Budget(steps=5), warm_start=before.actions)
    assert whole.steps == before.steps and whole.transitions == before.transitions + polish <= 400
    torch.testing.assert_close(whole.cost, then.cost, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("planner", LIFTED)
def test_at_most_three_tenths_of_the_budget(planner):
    problem = toys.problem(2, 4)
    whole = plan(problem, with_polish(planner, 1000), Budget(transitions=400), seeds=1)
    before = plan(problem, planner, Budget(transitions=280), seeds=1)
    assert whole.steps == before.steps
    assert 400 - 4 < whole.transitions <= 400, "as many rollouts as there was room for"
    assert (whole.cost <= before.cost).all() and (whole.cost < before.cost).any()


@pytest.mark.parametrize("planner", LIFTED)
def test_it_comes_back_before_a_deadline(planner, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    kept = plan(toys.problem(2, 4, toys.Slow(now)), with_polish(planner, 2), Budget(seconds=4.0))
    # A rollout takes 0.04 s; with gradients it may take three times as long, and three rollouts are kept time for.
    assert kept.seconds == pytest.approx(4.0 - 0.36 + 0.12, abs=0.2)
    now[0] = 0.0
    long = plan(toys.problem(2, 4, toys.Slow(now)), with_polish(planner, 1000), Budget(seconds=4.0))
    assert (long.status == Status.DEADLINE).all() and long.seconds == pytest.approx(4.0, abs=0.011)
    now[0] = 0.0
    less = plan(toys.problem(2, 4, toys.Slow(now)), planner, Budget(seconds=2.8))
    assert abs(long.steps - less.steps) <= 1


@pytest.mark.parametrize("planner", LIFTED)
def test_what_is_solved_or_interrupted_is_left_alone(planner):
    problem = toys.problem(2, 4)
    solved = dataclasses.replace(with_polish(planner, 5), tolerance=1e9)
    assert plan(problem, solved, Budget(steps=9)).calls == 4, "the first plan's rollout and nothing else"
    stopped = plan(problem, with_polish(planner, 5), Budget(steps=9), callback=lambda p: p.step == 3)
    plain = plan(problem, planner, Budget(steps=9), callback=lambda p: p.step == 3)
    assert stopped.calls == plain.calls and torch.equal(stopped.actions, plain.actions)


def test_without_gradients_too_and_with_noise_of_its_own():
    problem, planner = toys.problem(3, 4), with_polish(LIFTED[0], 4, CEM(samples=16, elites=4, std=0.1))
    plain = plan(problem, LIFTED[0], Budget(steps=8), seeds=[1, 2, 3])
    found = plan(problem, planner, Budget(steps=8), seeds=[1, 2, 3])
    assert (found.cost < plain.cost).any() and (found.cost <= plain.cost).all()
    alone = plan(toys.rows(problem, [1]), planner, Budget(steps=8), seeds=[2])
    torch.testing.assert_close(alone.actions[0], found.actions[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("planner", LIFTED)
def test_what_is_no_planner_is_refused(planner):
    for wrong in ("gd", GD, 3):
        with pytest.raises(GraspPlannerError, match=r"\.polish must be None or a planner"):
            dataclasses.replace(planner, polish=wrong)
    with pytest.raises(GraspPlannerError, match="polish_steps"):
        dataclasses.replace(planner, polish_steps=0)
