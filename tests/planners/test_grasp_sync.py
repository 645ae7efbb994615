"""GRASP's syncs, schedules and particles."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from grasp_watched import NEVER, Counted, states_of
from torch import Tensor

import toys
from grasp_planner import CEM, GD, GRASP, ICEM, MPPI, Budget, GraspPlannerError, LatCo, Markov, RandomShooting, plan
from grasp_planner.core.noise import Noise
from grasp_planner.planners.lifted import gap_deviation
from grasp_planner.planning.meter import BudgetSpent, Meter

# --- sync -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 4])
def test_sync_every_k_steps_of_j_steps(every, count):
    model, spent = Counted(), []
    problem = toys.problem(2, 3, model)
    planner = GRASP(sync=GD(), sync_every=every, sync_steps=count)
    seen = []
    plan(
        problem,
        planner,
        Budget(steps=11),
        callback=lambda p: (seen.append(p.state), spent.append(len(model.states)))[0],
    )
    for step in range(1, 12):
        due = step % every == 0
        assert (seen[step].scored is not None) == due
        # One lifted call; in a sync J rollouts of T calls, and one more for the last iterate.
        assert spent[step] - spent[step - 1] == 1 + due * (count + 1) * 3
    finishing = len(model.states) - spent[-1]
    assert finishing == (0 if 11 % every == 0 else (count + 1) * 3), "it ends on a sync, and not on two"


def test_sync_none_scores_and_changes_nothing():
    problem = toys.problem(2, 4)
    synced = states_of(problem, GRASP(sync=None, sync_every=2, reset_moments=False), 4)
    lifted = states_of(problem, GRASP(sync=None, sync_every=NEVER, reset_moments=False), 4)
    for one, other in zip(synced[1:], lifted[1:]):
        assert torch.equal(one.actions, other.actions) and torch.equal(one.states, other.states)
    assert [state.scored is not None for state in synced[1:]] == [False, True, False, True]
    torch.testing.assert_close(synced[2].scored.cost, toys.cost_by_hand(problem, synced[2].actions))


@pytest.mark.parametrize("fit", [1, 2, 5])
def test_a_sync_that_the_budget_cuts_short_hands_on_the_best_that_it_saw(fit):
    meter = Meter(toys.Nonlinear())
    problem, noise = toys.problem(2, 3).through(meter), Noise.of([0, 1], 2)
    planner = GRASP(sync=GD(lr=0.1), sync_steps=9, reset_moments=False)
    state = planner.init(problem, torch.zeros(2, 3, 2, dtype=torch.float64), noise)
    meter.most_rows = meter.rows + fit * 2 * 3 + 5  # not quite one more rollout
    cut = planner.synchronise(problem, state, noise).scored
    whole = dataclasses.replace(planner, sync_steps=fit).synchronise(toys.problem(2, 3), state, noise).scored
    assert cut is not None and whole is not None
    # The shorter sync ends on a rollout of its last iterate, for which there was no room in the one that was cut.
    assert (cut.cost >= whole.cost).all()
    torch.testing.assert_close(cut.cost, toys.cost_by_hand(toys.problem(2, 3), cut.actions))
    meter.most_rows = meter.rows + 5
    with pytest.raises(BudgetSpent):
        planner.synchronise(problem, state, noise)


def test_time_that_does_not_suffice_for_a_whole_sync_goes_to_a_shorter_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    planner, times = GRASP(sync_every=12, sync_steps=20), []
    # The first plan's rollout 0.04 s, then cycles of 12 calls and 21 rollouts of 4 calls: 0.12 + 0.84 s.
    limit = Budget(seconds=0.04 + 0.96 + 0.40)
    found = plan(toys.problem(2, 4, toys.Slow(now)), planner, limit, callback=lambda p: times.append(p.seconds))
    once = plan(toys.problem(2, 4), planner, Budget(steps=12))
    assert 12 < found.steps < 24 and found.seconds == pytest.approx(1.40, abs=0.011)
    assert (found.cost <= once.cost).all() and (found.cost < once.cost).any()
    assert times[-1] - 1.00 == pytest.approx(0.2 * 0.40, abs=0.011), "most of what was left went to the sync"


def test_transitions_that_do_not_suffice_for_a_whole_sync_go_to_a_shorter_one():
    planner = GRASP(sync_every=12, sync_steps=20, particles=2)
    # In rollouts: the first plan 1, then cycles of 12 * 2 and (20 + 1) * 2. Of another cycle half fits, and two steps
    # after which a whole sync does.
    whole, half, both = 4 * (1 + 24 + 42), 4 * 33, 4 * (42 + 4)
    once = plan(toys.problem(3, 4), planner, Budget(transitions=whole))
    assert (once.steps, once.transitions) == (12, whole)
    found = plan(toys.problem(3, 4), planner, Budget(transitions=whole + half))
    assert (found.cost <= once.cost).all() and (found.cost < once.cost).any()
    assert whole + half - 8 < found.transitions <= whole + half, "all but less than one rollout of each particle"
    assert found.trace.transitions[-1] - whole == pytest.approx(0.2 * half, abs=8), (
        "most of what was left went to the sync"
    )
    found = plan(toys.problem(3, 4), planner, Budget(transitions=whole + both))
    assert (found.steps, found.transitions) == (14, whole + both), "a whole sync, where it fits"


def test_a_sync_that_never_fits_is_a_shorter_one():
    planner = GRASP(sync_every=50, sync_steps=40)
    found = plan(toys.problem(2, 4), planner, Budget(transitions=4 * 20))
    assert 0 < found.steps < 20 and 4 * 19 < found.transitions <= 4 * 20
    assert (found.cost < plan(toys.problem(2, 4), planner, Budget(transitions=4)).cost).all()


SYNCS = {
    "gd": GD(lr=0.1),
    "gd sgd": GD(lr=0.05, optimiser="sgd"),
    "cem": CEM(samples=16, elites=4, std=0.3),
    "icem": ICEM(samples=16, elites=4, std=0.3),
    "mppi": MPPI(samples=16, std=0.3),
    "latco": LatCo(),
    "latco gauss-newton": LatCo(method="gauss_newton", damping=0.1),
    "random shooting": RandomShooting(samples=16),
    "none": None,
    "grasp": GRASP(sync_every=2, sync_steps=2),
}


@pytest.mark.parametrize("sync", SYNCS)
@pytest.mark.parametrize("particles", [1, 2])
def test_any_planner_can_be_the_sync(sync, particles):
    problem = toys.problem(3, 4, toys.Remembering(2))
    planner = GRASP(sync=SYNCS[sync], sync_every=4, sync_steps=5, particles=particles)
    seen = []
    found = plan(problem, planner, Budget(steps=10), seeds=1, callback=lambda p: seen.append(p.state))
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))
    if sync != "none":
        assert (found.cost < found.trace.cost[0]).all()
    # The actions that go on are the best that the sync rolled out.
    state = seen[4]
    torch.testing.assert_close(state.scored.cost, toys.cost_by_hand(problem, planner.actions(state)))
    torch.testing.assert_close(planner.actions(state), state.scored.actions)


def test_a_sync_by_gd_is_gd_from_the_lifted_actions():
    problem = toys.problem(2, 4)
    planner = GRASP(sync=GD(lr=0.07), sync_every=3, sync_steps=6)
    lifted = states_of(problem, dataclasses.replace(planner, sync_every=NEVER), 3)[-1]
    synced = states_of(problem, planner, 3)[-1]
    alone = plan(problem, GD(lr=0.07), Budget(steps=6), warm_start=lifted.actions)
    torch.testing.assert_close(synced.actions, alone.actions)
    torch.testing.assert_close(synced.scored.cost, alone.cost)


def test_a_sync_starts_afresh_each_time():
    """The serial planner's own moments and deviations do not outlive a sync, as in the authors' code."""
    problem = toys.problem(2, 4)
    planner = GRASP(sync=GD(lr=0.07), sync_every=2, sync_steps=3, action_lr=0.0, state_noise=0.0)
    seen = states_of(problem, planner, 4)
    once = plan(problem, GD(lr=0.07), Budget(steps=3), warm_start=seen[2].actions)
    torch.testing.assert_close(seen[4].actions, once.actions)


@pytest.mark.parametrize("steps", [0, 1, 7, 10])
def test_a_run_ends_on_a_sync_and_returns_the_best_rollout(steps):
    problem = toys.problem(4, 5)
    found = plan(problem, GRASP(sync_every=5, sync_steps=8), Budget(steps=steps), seeds=1)
    assert (found.cost < found.trace.cost[0]).all()
    assert (found.cost <= found.trace.cost[-1]).all()
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))


def test_the_lifted_loss_is_never_the_score():
    """Lifted steps alone change nothing that is known of the plan."""
    found = plan(toys.problem(2, 5), GRASP(sync_every=5), Budget(steps=9), seeds=1)
    assert torch.equal(found.trace.cost[1], found.trace.cost[4]) and torch.equal(
        found.trace.cost[5], found.trace.cost[9]
    )


@pytest.mark.parametrize("reset", [True, False])
def test_resetting_states(reset):
    problem = toys.problem(2, 5)
    planner = GRASP(sync_every=3, reset_states=reset)
    synced = states_of(problem, planner, 3)[-1]
    lifted = states_of(problem, dataclasses.replace(planner, sync_every=NEVER), 3)[-1]
    expected = toys.rollout_by_hand(problem, synced.actions)[:, :-1] if reset else lifted.states
    torch.testing.assert_close(synced.states, expected)


@pytest.mark.parametrize("reset", [True, False])
def test_resetting_moments(reset):
    planner = GRASP(sync_every=3, reset_moments=reset)
    seen = states_of(toys.problem(2, 5), planner, 4)
    for moments in (seen[3].state_moments, seen[3].action_moments):
        assert moments.count == (0 if reset else 3)
        assert moments.first.any() != reset and moments.second.any() != reset
    assert seen[4].action_moments.count == (1 if reset else 4)


# --- schedules, gap, particles --------------------------------------------------------------------------------------


def test_schedules_fall_linearly_within_each_phase():
    """At step k of a phase of K, gamma and sigma are (1 - k / K) of what was set."""
    problem = toys.problem(2, 5)
    scheduled = GRASP(
        goal_weight=0.8, state_noise=0.3, sync=None, sync_every=4, goal_schedule="linear", noise_schedule="linear"
    )
    state = scheduled.init(problem, torch.zeros(2, 5, 2, dtype=torch.float64), Noise.of(1, 2))
    for step in range(9):
        left = 1 - (step % 4) / 4
        plain = GRASP(goal_weight=0.8 * left, state_noise=0.3 * left, sync=None, sync_every=4)
        noise = Noise.of(1, 2).fold(step)
        following = scheduled.step(problem, state, noise)
        expected = plain.step(problem, state, noise)
        assert torch.equal(following.actions, expected.actions)
        torch.testing.assert_close(following.states, expected.states)
        state = following
    assert GRASP().goal_schedule == GRASP().noise_schedule == "constant"


def double_integrator(batch: int = 24, horizon: int = 20):
    from grasp_planner import Problem

    def step(state: Tensor, action: Tensor) -> Tensor:
        speed = state[:, 1:] + 0.2 * action
        return torch.cat([state[:, :1] + 0.2 * speed, speed], dim=1)

    start = toys.fixed(batch, 2, seed=1) * torch.tensor([1.0, 0.3], dtype=torch.float64)
    goal, bound = torch.tensor([[1.0, 0.0]]).double().expand(batch, -1), torch.full((1,), 2.0, dtype=torch.float64)
    return Problem.between(Markov(step), start, goal, horizon, -bound, bound)


@pytest.mark.parametrize("seed", [0, 1])
def test_on_the_double_integrator_a_schedule_beats_a_constant_goal_weight(seed):
    """Underactuated: the greedy pull of a constant goal weight stalls it (and a small weight pulls less)."""
    problem, cost = double_integrator(), {}
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
        cost[weight, schedule] = plan(problem, planner, Budget(steps=150), seeds=seed).cost
    for typical in (torch.mean, torch.median):
        assert typical(cost[1.0, "linear"]) < 0.8 * typical(cost[1.0, "constant"])
        assert typical(cost[0.1, "constant"]) < 0.5 * typical(cost[1.0, "constant"])


@pytest.mark.parametrize("sync", [CEM(samples=4, elites=2), ICEM(samples=4, elites=2), MPPI(samples=4)])
@pytest.mark.parametrize("particles", [1, 2])
def test_gap_std_is_the_deviation_that_the_sync_starts_with(sync, particles, monkeypatch):
    problem = toys.problem(2, 4, toys.Remembering(2))
    planner = GRASP(sync=sync, sync_every=3, sync_steps=2, gap_std=0.7, particles=particles)
    lifted = states_of(problem, dataclasses.replace(planner, sync_every=NEVER), 3)[-1]
    deviations = []
    original = type(sync).step

    def step(self, problem, state, noise):
        deviations.append(state.std)
        return original(self, problem, state, noise)

    monkeypatch.setattr(type(sync), "step", step)
    plan(problem, planner, Budget(steps=3), seeds=1)
    expected = 0.7 * gap_deviation(problem.repeat(particles), lifted.states, lifted.actions)
    torch.testing.assert_close(deviations[0], expected)
    deviations.clear()
    plan(problem, dataclasses.replace(planner, gap_std=0.0), Budget(steps=3), seeds=1)
    assert (deviations[0] == sync.std).all()


@pytest.mark.parametrize("sync", [None, GD(), LatCo(), RandomShooting()])
def test_gap_std_needs_a_sync_with_a_deviation(sync):
    with pytest.raises(GraspPlannerError, match="gap_std.*CEM, ICEM, MPPI"):
        GRASP(sync=sync, gap_std=1.0)


@pytest.mark.parametrize("sync", ["gd", GD, 3, object()])
def test_a_sync_that_is_no_planner_is_refused(sync):
    with pytest.raises(GraspPlannerError, match="GRASP.sync must be None or a planner"):
        GRASP(sync=sync)


def test_initial_noise_is_on_the_states_in_units_of_the_scale():
    scale = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    problem = toys.problem(1, 3000, scale=scale)
    actions = torch.zeros(1, 3000, 2, dtype=torch.float64)
    plain = GRASP().init(problem, actions, Noise.of(1, 1))
    noisy = GRASP(initial_noise=0.3).init(problem, actions, Noise.of(1, 1))
    torch.testing.assert_close((noisy.states - plain.states).std((0, 1)), 0.3 * scale, rtol=0.05, atol=0)
    assert torch.equal(noisy.actions, actions)


def test_particles_are_chains_of_their_own():
    """The first of several chains is the only one of one; the others differ by their noise alone."""
    problem = toys.problem(2, 4)
    one = GRASP(sync_every=3, sync_steps=2, initial_noise=0.1)
    several = dataclasses.replace(one, particles=3)
    for alone, together in zip(states_of(problem, one, 7)[1:], states_of(problem, several, 7)[1:]):
        chains = together.actions.unflatten(0, (2, 3))
        torch.testing.assert_close(chains[:, 0], alone.actions, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together.states.unflatten(0, (2, 3))[:, 0], alone.states, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(chains[:, 1], chains[:, 0], atol=1e-3)
    assert not torch.allclose(chains[:, 1], chains[:, 2], atol=1e-3)


def test_without_noise_all_particles_are_one():
    seen = states_of(toys.problem(2, 4), GRASP(state_noise=0.0, particles=3), 5)
    chains = seen[-1].actions.unflatten(0, (2, 3))
    torch.testing.assert_close(chains[:, 1], chains[:, 0]), torch.testing.assert_close(chains[:, 2], chains[:, 0])


def test_particles_begin_near_the_given_actions_and_the_first_at_them():
    problem, given = toys.problem(2, 4, bound=0.3), toys.fixed(2, 4, 2, seed=4).clamp(-0.3, 0.3)
    begun = GRASP(particles=200, start_std=0.1).init(problem, given, Noise.of(seeds=0, problems=2)).actions
    chains = begun.unflatten(0, (2, 200))
    assert torch.equal(chains[:, 0], given) and (chains.abs() <= 0.3).all()
    inside = given.abs() < 0.05  # where bounds cut nothing off
    assert inside.any()
    deviation = chains[:, 1:].std(1)[inside]
    assert (0.08 < deviation).all() and (deviation < 0.12).all()
    same = GRASP(particles=3).init(problem, given, Noise.of(seeds=0, problems=2)).actions
    assert torch.equal(same, given.repeat_interleave(3, dim=0))


def test_the_plan_is_the_best_of_all_particles():
    problem = toys.problem(3, 5)
    planner = GRASP(particles=4, state_noise=0.5, sync_every=4, sync_steps=1)
    state = states_of(problem, planner, 4)[-1]
    costs = toys.cost_by_hand(problem.repeat(4), state.actions).unflatten(0, (3, 4))
    torch.testing.assert_close(state.scored.cost, costs.amin(1))
    assert torch.equal(state.leader, costs.argmin(1))


def test_a_schedule_word_is_checked():
    for field in ("noise_schedule", "goal_schedule"):
        with pytest.raises(GraspPlannerError, match=f"GRASP.{field} must be one of .*constant.*linear.*'cosine'"):
            GRASP(**{field: "cosine"})
