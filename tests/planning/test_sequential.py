"""Sequential: when the second planner begins, where it begins, and what it costs."""

from __future__ import annotations

import time

import pytest
import torch

import toys
from grasp_planner import CEM, GD, GRASP, Budget, GraspPlannerError, LatCo, MultiStart, Sequential, Status, plan

FIRST = [MultiStart(GRASP(sync_every=4, sync_steps=2), starts=2, start_std=0.0), LatCo(score_every=2), GD(lr=0.2)]
SECOND = GD(lr=0.05)


def turns(problem, planner, budget, **rest):
    """Return the plan, and for each step whether the second planner is running."""
    seen = []

    def watch(progress):
        if progress.state is not None:
            seen.append(progress.state.in_second)

    return plan(problem, planner, budget, callback=watch, **rest), seen


@pytest.mark.parametrize("first", FIRST)
def test_it_is_the_second_planner_from_the_best_plan_on(first):
    problem = toys.problem(3, 5)
    found, seen = turns(problem, Sequential(first, SECOND, share=0.4), Budget(steps=20), seeds=1)
    assert seen == [False] * 12 + [True] * 8
    before, _ = turns(problem, Sequential(first, SECOND, share=0.0), Budget(steps=12), seeds=1)
    best = before.warm_start.state.best  # the best that the first planner rolled out
    alone = plan(problem, SECOND, Budget(steps=8), warm_start=best.actions)
    torch.testing.assert_close(found.cost, torch.minimum(alone.cost, before.trace.cost[-1]), rtol=1e-8, atol=1e-12)
    assert (found.cost < before.trace.cost[-1]).all()
    assert found.trace.snapshots[-1].cost.equal(found.cost)


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_is_of_the_nearest_limit(first, share, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    for budget in (
        Budget(transitions=800),
        Budget(seconds=2.0),
        Budget(transitions=800, steps=10**6, seconds=10**6),
    ):
        now[0] = 0.0
        planner = Sequential(first, SECOND, share=share)
        spent = []

        def watch(progress, spent=spent):
            if progress.state is not None and not progress.state.in_second:
                spent.append(progress.spent)

        plan(toys.problem(2, 4, toys.Slow(now)), planner, budget, seeds=1, callback=watch)
        if share == 1.0:
            assert not spent
        else:
            assert spent[-2] < 1 - share and spent[-1] <= 1.0
            assert spent[-1] == pytest.approx(1 - share, abs=0.06), "switched at the first step after that share"


def test_a_second_planner_without_gradients_and_with_noise_of_its_own():
    problem = toys.problem(3, 4)
    planner = Sequential(FIRST[0], CEM(samples=16, elites=4, std=0.1), share=0.5)
    found = plan(problem, planner, Budget(steps=20), seeds=[1, 2, 3])
    assert (found.cost < found.trace.cost[10]).any()
    alone = plan(toys.rows(problem, [1]), planner, Budget(steps=20), seeds=[2])
    torch.testing.assert_close(alone.actions[0], found.actions[1], rtol=1e-7, atol=1e-7)


def test_what_is_solved_is_left_alone():
    problem = toys.problem(2, 4)
    found = plan(problem, Sequential(GD(), GD(tolerance=1e9)), Budget(steps=9))
    assert found.calls == 4 and (found.status == Status.CONVERGED).all(), "the first plan's rollout and nothing else"


def test_stepped_by_hand_the_first_planner_goes_on():
    problem = toys.problem(2, 4).normalised()
    planner = Sequential(GD(), CEM())
    from grasp_planner.core.noise import Noise

    state = planner.init(problem, torch.zeros(2, 4, 2, dtype=torch.float64), Noise.of(0, 2))
    for k in range(5):
        state, _ = planner.step(problem, state, Noise.of(0, 2).fold(k))
    assert not state.in_second
    state, _ = planner.step(problem.at(0.9), state, Noise.of(0, 2).fold(5))
    assert state.in_second


def test_with_smoothing_the_second_planner_begins_at_the_best_plan_of_the_smoother_version():
    whole = toys.problem(3, 5, toys.Wavy())
    first, seen = GD(lr=0.2), []

    def watch(progress):
        if progress.state is not None:
            seen.append((progress.state.in_second, progress.rolled_out, progress.state.best))

    planner = Sequential(first, SECOND, share=0.4, smoothing=0.5)
    found = plan(whole, planner, Budget(steps=20), callback=watch)
    assert [in_second for in_second, _, _ in seen] == [False] * 12 + [True] * 8
    assert not any(rolled_out for in_second, rolled_out, _ in seen if not in_second), "no cost of another model"
    smooth = plan(whole.through(whole.dynamics.smoothed(0.5)), first, Budget(steps=12))
    best = seen[-1][2]
    assert (best.cost >= smooth.cost).all(), "the plan that the loop scores last may be better still"
    alone = plan(whole, SECOND, Budget(steps=8), warm_start=best.actions)
    start = toys.cost_by_hand(whole, torch.zeros_like(found.actions))
    torch.testing.assert_close(found.cost, torch.minimum(alone.cost, start), rtol=1e-8, atol=1e-12)


def test_without_smoother_versions_smoothing_changes_nothing():
    problem = toys.problem(2, 4)
    plain, smoothing = (plan(problem, Sequential(GD(), GD(), 0.5, amount), Budget(steps=9)) for amount in (0.0, 1.0))
    assert toys.same(plain, smoothing)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "0.5", True])
def test_a_share_is_a_number_from_0_to_1(share):
    with pytest.raises(GraspPlannerError, match="Sequential.share must be a number"):
        Sequential(GD(), GD(), share=share)
    with pytest.raises(GraspPlannerError, match="Sequential.smoothing must be a number"):
        Sequential(GD(), GD(), smoothing=share)
