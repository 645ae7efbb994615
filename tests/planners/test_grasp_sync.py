"""GRASP's syncs: their times, their results, the states after them, and schedules."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from grasp_watched import NEVER, after, begun, states_of
from torch import Tensor

import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Budget,
    GraspPlannerError,
    LatCo,
    Markov,
    MultiStart,
    Problem,
    RandomShooting,
    plan,
)
from grasp_planner.core.noise import Noise
from grasp_planner.planners.gap_sync import gap_deviation

# --- sync -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 4])
def test_k_lifted_steps_then_j_steps_of_the_sync_and_a_rollout(every, count):
    model, calls, rolled_out = toys.Counted(), [], []
    problem = toys.problem(2, 3, model)
    planner = GRASP(sync=GD(), sync_every=every, sync_steps=count)

    def watch(progress):
        calls.append(model.calls)
        rolled_out.append(progress.rolled_out)

    cycle = every + count + 1
    plan(problem, planner, Budget(steps=2 * cycle + 1), callback=watch)
    for step in range(1, 2 * cycle + 2):
        in_sync = (step - 1) % cycle >= every
        assert rolled_out[step] == in_sync
        assert calls[step] - calls[step - 1] == (3 if in_sync else 1)
    assert model.calls - calls[-1] == 3, "the last actions are scored"


def test_sync_none_scores_and_changes_nothing():
    problem = toys.problem(2, 4)
    planner = GRASP(sync=None, sync_every=2, reset_moments=False)
    synced = states_of(problem, planner, 6)
    lifted = states_of(problem, dataclasses.replace(planner, sync_every=NEVER), 4)
    expected = [lifted[1], lifted[2], lifted[2]]  # two lifted steps, a rollout
    for one, other in zip(synced[1:], expected):
        assert torch.equal(one.actions, other.actions) and torch.equal(one.states, other.states)
    assert torch.equal(synced[4].actions, states_of(problem, planner, 4)[4].actions)
    costs = plan(problem, planner, Budget(steps=3), seeds=1).trace.cost
    at_sync = toys.cost_by_hand(problem, synced[3].actions)
    torch.testing.assert_close(costs[3], torch.minimum(costs[2], at_sync))


def test_a_sync_hands_on_its_best_rollout():
    """With a too large learning rate, the last plan is worse than the first; the next cycle starts at the best."""
    problem = toys.problem(4, 4)
    planner = GRASP(sync=GD(lr=0.9), sync_every=2, sync_steps=7, state_noise=0.0)
    state, noise, seen = begun(problem.normalised(), planner), Noise.of(1, 4), []
    for k in range(2 + 7 + 1):
        state, scored = planner.step(problem.normalised(), state, noise.fold(k))
        seen += [] if scored is None else [scored]
    assert len(seen) == 8
    costs = torch.stack([scored.cost for scored in seen])
    assert (costs[-2] > costs.amin(0)).any(), "the last step of the serial planner is not the best everywhere"
    assert torch.equal(costs[-1], costs.amin(0)) and torch.equal(state.actions, seen[-1].actions)
    torch.testing.assert_close(toys.cost_by_hand(problem, state.actions), costs.amin(0))


@pytest.mark.parametrize("kind", ["seconds", "transitions"])
def test_a_sync_that_the_budget_cuts_short_counts_as_far_as_it_came(kind, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    planner = GRASP(sync=GD(lr=0.1), sync_every=12, sync_steps=20)
    # The first plan's rollout, 12 lifted steps of one call each (4 transitions), then 9 rollouts, including the last.
    limit = Budget(seconds=0.04 + 0.12 + 9.5 * 0.04) if kind == "seconds" else Budget(transitions=4 * (1 + 12 + 9))
    found = plan(toys.problem(2, 4, toys.Slow(now)), planner, limit, seeds=1)
    assert found.steps == 12 + 8
    lifted = states_of(toys.problem(2, 4), dataclasses.replace(planner, sync_every=NEVER), 12)[-1]
    alone = plan(toys.problem(2, 4), GD(lr=0.1), Budget(steps=8), warm_start=lifted.actions)
    start = toys.cost_by_hand(toys.problem(2, 4), torch.zeros(2, 4, 2, dtype=torch.float64))
    torch.testing.assert_close(found.cost, torch.minimum(alone.cost, start), rtol=1e-8, atol=1e-10)


SYNCS = {
    "gd": GD(lr=0.1),
    "gd sgd": GD(lr=0.05, optimiser="sgd"),
    "cem": CEM(samples=16, elites=4, std=0.3),
    "icem": ICEM(samples=16, elites=4, std=0.3),
    "mppi": MPPI(samples=16, std=0.3),
    "latco": LatCo(score_every=2),
    "latco gauss-newton": LatCo(method="gauss_newton", damping=0.1, score_every=1),
    "random shooting": RandomShooting(samples=16),
    "none": None,
    "grasp": GRASP(sync_every=2, sync_steps=2),
    "multi-start": MultiStart(GD(lr=0.1), starts=3, start_std=0.2),
}


@pytest.mark.parametrize("sync", SYNCS)
@pytest.mark.parametrize("starts", [1, 2])
def test_any_planner_can_be_the_sync(sync, starts):
    problem = toys.problem(3, 4, toys.Remembering(2))
    planner = MultiStart(GRASP(sync=SYNCS[sync], sync_every=4, sync_steps=5), starts=starts, start_std=0.1)
    seen, costs = [], []

    def watch(progress):
        seen.append(progress.state)
        costs.append(progress.best.cost)

    cycle = 4 + (0 if sync == "none" else 5) + 1
    found = plan(problem, planner, Budget(steps=cycle), seeds=1, callback=watch)
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))
    if sync != "none":
        assert (found.cost < found.trace.cost[0]).all()
    # The next cycle starts at the best actions that the sync rolled out. Those of the best start are the best of all.
    going_on = seen[-1].inner.actions
    assert seen[-1].inner.phase == 0 and seen[-1].inner.serial is None
    cost = toys.cost_by_hand(problem.repeat(starts), going_on).unflatten(0, (3, starts)).amin(1)
    torch.testing.assert_close(torch.minimum(cost, costs[0]), found.cost)


def test_a_sync_by_gd_is_gd_from_the_lifted_actions():
    problem = toys.problem(2, 4)
    planner = GRASP(sync=GD(lr=0.07), sync_every=3, sync_steps=6)
    lifted = states_of(problem, planner, 3)[-1]
    synced = states_of(problem, planner, 3 + 6 + 1)[-1]
    alone = plan(problem, GD(lr=0.07), Budget(steps=6), warm_start=lifted.actions)
    torch.testing.assert_close(synced.actions, alone.actions)


def test_a_sync_starts_afresh_each_time():
    """The serial planner's moments and standard deviations are reset at each sync, as in the authors' code."""
    problem = toys.problem(2, 4)
    planner = GRASP(sync=GD(lr=0.07), sync_every=2, sync_steps=3, action_lr=0.0, state_noise=0.0)
    seen = states_of(problem, planner, 12)
    once = plan(problem, GD(lr=0.07), Budget(steps=3), warm_start=seen[6].actions)
    torch.testing.assert_close(seen[12].actions, once.actions)


@pytest.mark.parametrize("steps", [6, 10, 14, 17, 30])
def test_the_best_rollout_is_returned_wherever_a_run_ends(steps):
    problem = toys.problem(4, 5)
    found = plan(problem, GRASP(sync_every=5, sync_steps=8), Budget(steps=steps), seeds=1)
    assert (found.cost < found.trace.cost[0]).any() and (found.cost <= found.trace.cost[-1]).all()
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))


def test_the_lifted_loss_is_never_the_score():
    """Lifted steps without a sync do not change the best plan or its cost."""
    found = plan(toys.problem(2, 5), GRASP(sync_every=5, sync_steps=3), Budget(steps=13), seeds=1)
    cost = found.trace.cost
    assert torch.equal(cost[0], cost[5]) and torch.equal(cost[9], cost[13])
    assert (cost[9] < cost[5]).all()


@pytest.mark.parametrize("reset", [True, False])
def test_resetting_states(reset):
    problem = toys.problem(2, 5)
    planner = GRASP(sync_every=3, sync_steps=4, reset_states=reset)
    synced = states_of(problem, planner, 3 + 4 + 1)[-1]
    lifted = states_of(problem, planner, 3)[-1]
    rollout = toys.rollout_by_hand(problem, synced.actions)[:, :-1] / problem.unit[:, None]
    torch.testing.assert_close(synced.states, rollout if reset else lifted.states)


@pytest.mark.parametrize("reset", [True, False])
def test_resetting_moments(reset):
    planner = GRASP(sync_every=3, sync_steps=1, reset_moments=reset)
    seen = states_of(toys.problem(2, 5), planner, 6)
    for moments in (seen[5].state_moments, seen[5].action_moments):
        assert moments.count == (0 if reset else 3)
        assert moments.first.any() != reset and moments.second.any() != reset
    assert seen[6].action_moments.count == (1 if reset else 4)


# --- schedules, gap, noise ------------------------------------------------------------------------------------------


def test_schedules_fall_linearly_within_each_phase():
    """At lifted step k of K, gamma and sigma are (1 - k / K) times their setting."""
    problem = toys.problem(2, 5)
    scheduled = GRASP(
        goal_weight=0.8, state_noise=0.3, sync=None, sync_every=4, goal_schedule="linear", noise_schedule="linear"
    )
    state = begun(problem, scheduled)
    for step in range(10):
        left = 1 - (step % 5) / 4  # the fifth step of a cycle is the rollout
        plain = GRASP(goal_weight=0.8 * left, state_noise=0.3 * left, sync=None, sync_every=4)
        noise = Noise.of(1, 2).fold(step)
        following, expected = after(scheduled, problem, state, noise), after(plain, problem, state, noise)
        torch.testing.assert_close(following.actions, expected.actions, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(following.states, expected.states)
        state = following
    assert GRASP().goal_schedule == GRASP().noise_schedule == "constant"


def double_integrator(batch: int = 24, horizon: int = 20) -> Problem:
    def step(state: Tensor, action: Tensor) -> Tensor:
        speed = state[:, 1:] + 0.2 * action
        return torch.cat([state[:, :1] + 0.2 * speed, speed], dim=1)

    start = toys.fixed(batch, 2, seed=1) * torch.tensor([1.0, 0.3], dtype=torch.float64)
    goal, bound = torch.tensor([[1.0, 0.0]]).double().expand(batch, -1), torch.full((1,), 2.0, dtype=torch.float64)
    return Problem.between(Markov(step), start, goal, horizon, -bound, bound)


@pytest.mark.parametrize("seed", [0, 1])
def test_on_the_double_integrator_a_schedule_beats_a_constant_goal_weight(seed):
    """On an underactuated system, the greedy pull of a constant goal weight stalls planning."""
    problem, cost = double_integrator(batch=300), {}
    seeds = range(300 * seed, 300 * (seed + 1))
    for weight, schedule in ((1.0, "constant"), (1.0, "linear"), (0.1, "constant")):
        planner = GRASP(
            state_lr=0.1,
            action_lr=0.05,
            state_noise=0.05,
            goal_weight=weight,
            goal_schedule=schedule,
            sync=GD(lr=0.02),
            sync_every=50,
            sync_steps=5,
            reset_states=True,
        )
        cost[weight, schedule] = plan(problem, planner, Budget(steps=3 * (50 + 5 + 1)), seeds=seeds).cost
    for typical in (torch.mean, torch.median):
        assert typical(cost[1.0, "linear"]) < 0.8 * typical(cost[1.0, "constant"])
        assert typical(cost[0.1, "constant"]) < 0.5 * typical(cost[1.0, "constant"])


@pytest.mark.parametrize("sync", [CEM(samples=4, elites=2), ICEM(samples=4, elites=2), MPPI(samples=4)])
@pytest.mark.parametrize("starts", [1, 2])
def test_gap_std_is_the_deviation_that_the_sync_starts_with(sync, starts, monkeypatch):
    problem = toys.problem(2, 4, toys.Remembering(2))
    planner = GRASP(sync=sync, sync_every=3, sync_steps=2, gap_std=0.7)
    lifted = states_of(problem, MultiStart(planner, starts), 3)[-1].inner
    deviations = []
    original = type(sync).step

    def step(self, problem, state, noise):
        deviations.append(state.gaussian.std if isinstance(self, ICEM) else state.std)
        return original(self, problem, state, noise)

    monkeypatch.setattr(type(sync), "step", step)
    plan(problem, MultiStart(planner, starts), Budget(steps=5), seeds=1)
    many = problem.normalised().repeat(starts)
    expected = 0.7 * gap_deviation(many, lifted.states, many.rollout(lifted.actions))
    torch.testing.assert_close(deviations[0], expected.expand_as(lifted.actions))
    deviations.clear()
    plan(problem, MultiStart(dataclasses.replace(planner, gap_std=0.0), starts), Budget(steps=4), seeds=1)
    assert (deviations[0] == sync.std).all()


@pytest.mark.parametrize("sync", [None, GD(), LatCo(), RandomShooting(), MultiStart(CEM())])
def test_gap_std_needs_a_sync_with_a_deviation(sync):
    with pytest.raises(GraspPlannerError, match="gap_std.*CEM, ICEM, MPPI"):
        GRASP(sync=sync, gap_std=1.0)


@pytest.mark.parametrize("sync", ["gd", GD, 3, object()])
def test_a_sync_that_is_no_planner_is_refused(sync):
    with pytest.raises(GraspPlannerError, match="GRASP.sync must be None or a planner"):
        GRASP(sync=sync)


def test_initial_noise_is_on_the_states_in_units_of_the_scale():
    scale = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    problem = toys.problem(1, 3000, scale=scale).normalised()
    actions = torch.zeros(1, 3000, 2, dtype=torch.float64)
    plain = GRASP().init(problem, actions, Noise.of(1, 1))
    noisy = GRASP(initial_noise=0.3).init(problem, actions, Noise.of(1, 1))
    deviation = ((noisy.states - plain.states) * scale).std((0, 1))
    torch.testing.assert_close(deviation, 0.3 * scale, rtol=0.05, atol=0)
    assert torch.equal(noisy.actions, actions)


def test_a_schedule_word_is_checked():
    for field in ("noise_schedule", "goal_schedule"):
        with pytest.raises(GraspPlannerError, match=f"GRASP.{field} must be one of .*constant.*linear.*'cosine'"):
            GRASP(**{field: "cosine"})
