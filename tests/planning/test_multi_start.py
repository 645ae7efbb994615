"""MultiStart: the distribution of the starts, their independence, and the choice of the plan."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import toys
from grasp_planner import CEM, GD, GRASP, Budget, GraspPlannerError, LatCo, MultiStart, Sequential, plan
from grasp_planner.core.noise import Noise

INNER = {
    "gd": GD(lr=0.05),
    "gd noise": GD(lr=0.05, action_noise=0.1),
    "grasp": GRASP(sync_every=3, sync_steps=2, initial_noise=0.1),
    "cem": CEM(samples=8, elites=3),
    "latco": LatCo(score_every=2, initial_noise=0.1),
}


def states_of(problem, planner, steps, **rest):
    seen = []
    plan(problem, planner, Budget(steps=steps), callback=lambda p: seen.append(p.state), **rest)
    return seen[1:]


def test_the_first_start_is_the_one_given_and_the_others_lie_around_it_within_the_bounds():
    problem, given = toys.problem(2, 200, bound=0.3), toys.fixed(2, 200, 2, seed=4).clamp(-0.3, 0.3)
    state = MultiStart(GD(), starts=50, start_std=0.1).init(problem, given, Noise.of(0, 2))
    starts = state.inner.actions.unflatten(0, (2, 50))
    assert torch.equal(starts[:, 0], given) and (starts.abs() <= 0.3).all()
    inside = given.abs() < 0.05  # where the bounds clamp nothing
    away = (starts[:, 1:] - given[:, None]).movedim(1, -1)[inside]
    assert away.std().item() == pytest.approx(0.1, rel=0.05) and abs(away.mean().item()) < 0.005
    same = MultiStart(GD(), starts=3, start_std=0.0).init(problem, given, Noise.of(0, 2)).inner.actions
    assert torch.equal(same, given.repeat_interleave(3, dim=0))


@pytest.mark.parametrize("name", INNER)
def test_each_start_is_the_inner_planner_alone(name):
    """Each start has its own noise, for any number of starts."""
    problem, inner = toys.problem(2, 4), INNER[name]
    several = states_of(problem, MultiStart(inner, starts=3, start_std=0.5), 7, seeds=[5, 6])
    normal, streams = problem.normalised(), Noise.of([5, 6], 2)
    starts = MultiStart(GD(), starts=3, start_std=0.5).init(
        normal, torch.zeros(2, 4, 2, dtype=torch.float64), streams.fold(0)
    )
    for i in range(2):
        for j in range(3):
            one, place = toys.rows(problem, [i]).normalised(), 3 * i + j
            own = [Noise(streams.fold(0).fold(1).repeat(3).seeds[[place]])]
            own += [Noise(streams.fold(k).repeat(3).seeds[[place]]) for k in range(1, 8)]
            state = inner.init(one, starts.inner.actions[[place]], own[0])
            for k in range(7):
                state, _ = inner.step(one, state, own[k + 1])
                together = inner.actions(several[k].inner)[[place]]
                torch.testing.assert_close(together, inner.actions(state), rtol=1e-7, atol=1e-7)


def test_the_best_start_is_the_plan():
    problem = toys.problem(3, 5)
    planner = MultiStart(GD(lr=0.05), starts=4)
    found = plan(problem, planner, Budget(steps=30), seeds=9)
    starts = planner.init(problem, torch.zeros(3, 5, 2, dtype=torch.float64), Noise.of(9, 3).fold(0)).inner.actions
    singles = torch.stack(
        [
            plan(problem, GD(lr=0.05), Budget(steps=29), warm_start=starts.unflatten(0, (3, 4))[:, j]).cost
            for j in range(4)
        ],
        dim=1,
    )
    # The loop scores only the last actions of the leader. Every start was scored in the last step.
    assert (found.cost <= singles.amin(1) * (1 + 1e-9)).all()
    last = states_of(problem, planner, 30, seeds=9)[-1]
    assert torch.equal(planner.actions(last), last.inner.actions.unflatten(0, (3, 4))[range(3), last.leader])
    costs = [toys.cost_by_hand(problem, actions) for actions in starts.unflatten(0, (3, 4)).unbind(1)]
    first = states_of(problem, planner, 1, seeds=9)[-1]
    assert torch.equal(first.leader, torch.stack(costs, dim=1).argmin(1))


def test_without_spread_and_noise_all_starts_are_one():
    quiet = GRASP(state_noise=0.0, sync_every=3, sync_steps=2)
    chains = states_of(toys.problem(2, 4), MultiStart(quiet, starts=3, start_std=0.0), 5)[-1].inner.actions
    chains = chains.unflatten(0, (2, 3))
    torch.testing.assert_close(chains[:, 1], chains[:, 0])
    torch.testing.assert_close(chains[:, 2], chains[:, 0])
    noisy = dataclasses.replace(quiet, state_noise=0.5)
    chains = states_of(toys.problem(2, 4), MultiStart(noisy, starts=3, start_std=0.0), 8)[-1].inner.actions
    chains = chains.unflatten(0, (2, 3))
    assert not torch.allclose(chains[:, 1], chains[:, 0], atol=1e-3)
    assert not torch.allclose(chains[:, 1], chains[:, 2], atol=1e-3)


def test_virtual_states_are_those_of_the_leader():
    problem = toys.problem(2, 4)
    planner = MultiStart(GRASP(sync_every=3, sync_steps=2), starts=3, start_std=0.5)
    state = states_of(problem, planner, 7, seeds=1)[-1]
    expected = state.inner.states.unflatten(0, (2, 3))[range(2), state.leader]
    assert torch.equal(planner.virtual(state), expected)
    assert MultiStart(GD()).virtual(states_of(problem, MultiStart(GD(), starts=2), 1)[-1]) is None


def test_nested():
    """MultiStart inside MultiStart, and Sequential inside MultiStart."""
    problem = toys.problem(2, 4)
    for planner in (
        MultiStart(MultiStart(GD(lr=0.1), starts=2), starts=3),
        MultiStart(Sequential(CEM(samples=8, elites=3), GD(lr=0.05), share=0.5), starts=3),
    ):
        found = plan(problem, planner, Budget(steps=20), seeds=1)
        assert (found.cost < found.trace.cost[0]).all()
        torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))


KICKED = MultiStart(GD(lr=0.05), starts=4, start_std=0.5, restart_every=3, survivors=0.5, kick_std=0.2, noise_beta=1.0)


def test_at_a_restart_the_worst_starts_take_over_the_best_plans():
    planner = dataclasses.replace(KICKED, kick_std=0.0)
    problem = toys.problem(2, 4)
    before, after = states_of(problem, planner, 4, seeds=[1, 2])[2:4]
    cost, best = before.best.cost.reshape(2, 4), before.best.actions.unflatten(0, (2, 4))
    # There was one step of descent after the restart, and `after.best` has the plans that the restart began with.
    assert after.inner.moments.count == 1
    for i in range(2):
        first, second = cost[i].argsort()[:2].tolist()
        for place, source in enumerate([first, second, first, second]):
            torch.testing.assert_close(after.best.actions.unflatten(0, (2, 4))[i, place], best[i, source])


def test_a_kick_has_the_std_and_goes_back_to_the_best_plan_of_each_start():
    planner = dataclasses.replace(KICKED, planner=GD(lr=0.0), survivors=1.0, start_std=0.0, starts=40)
    problem = toys.problem(2, 50, bound=10.0)
    kicked = states_of(problem, planner, 4, seeds=[1, 2])[3].inner.actions
    assert kicked.std().item() == pytest.approx(0.2, rel=0.1) and abs(kicked.mean().item()) < 0.05
    again = states_of(problem, planner, 7, seeds=[1, 2])
    # The second kick starts from the best plan, not from the first kick.
    seen = again[5].best
    order = seen.cost.unflatten(0, (2, 40)).argsort(dim=1, stable=True)
    best = torch.cat([seen.actions.unflatten(0, (2, 40))[i, order[i]] for i in range(2)])
    away = again[6].inner.actions - best
    assert away.std().item() == pytest.approx(0.2, rel=0.1)


def test_noise_beta_makes_starts_and_kicks_smooth():
    def roughness(beta):
        planner = dataclasses.replace(KICKED, planner=GD(lr=0.0), start_std=1.0, kick_std=1.0, noise_beta=beta)
        problem = toys.problem(1, 64, bound=10.0)
        start = planner.init(problem.normalised(), torch.zeros(1, 64, 2).double(), Noise.of(3, 1)).inner.actions[1:]
        kicked = states_of(problem, dataclasses.replace(planner, start_std=0.0), 4, seeds=3)[3].inner.actions
        return [float(plans.diff(dim=1).square().mean() / plans.var(dim=1).mean()) for plans in (start, kicked)]

    white, smooth = roughness(0.0), roughness(2.0)
    assert all(value == pytest.approx(2.0, rel=0.2) for value in white)
    assert all(value < 0.5 for value in smooth)


def test_without_restarts_nothing_is_kicked_or_taken_over():
    problem = toys.problem(2, 4)
    plain = dataclasses.replace(KICKED, restart_every=None)
    without = MultiStart(GD(lr=0.05), starts=4, start_std=0.5, noise_beta=1.0)
    first, second = (plan(problem, each, Budget(steps=9), seeds=1) for each in (plain, without))
    assert torch.equal(first.actions, second.actions)
    kicked = plan(problem, KICKED, Budget(steps=9), seeds=1)
    assert not torch.equal(first.actions, kicked.actions)


def test_a_restart_waits_for_a_score():
    """LatCo scores every third step only; before the first score there is no best plan to go back to."""
    planner = MultiStart(LatCo(score_every=2), starts=2, restart_every=1, kick_std=0.1)
    seen = states_of(toys.problem(2, 4), planner, 5, seeds=1)
    assert [state.steps_left for state in seen] == [0, -1, -2, 0, 0]
    assert seen[1].best is None and seen[2].best is not None


def test_kicks_grow_while_the_lowest_cost_does_not_fall():
    """With learning rate 0 only kicks lower the cost; with kicks of 0 nothing does, so every restart is a stall."""
    planner = dataclasses.replace(KICKED, planner=GD(lr=0.0), kick_std=1e-9, kick_growth=2.0, restart_every=1)
    seen = states_of(toys.problem(3, 4), planner, 5, seeds=1)
    stalls = [state.kick_std / 1e-9 for state in seen]
    for step, expected in enumerate([1.0, 1.0, 2.0, 4.0, 8.0]):  # the first restart has nothing to compare with
        torch.testing.assert_close(stalls[step], torch.full((3,), expected).double())


def test_kicks_are_small_again_after_the_lowest_cost_fell():
    planner = dataclasses.replace(KICKED, planner=GD(lr=0.05), kick_std=0.2, kick_growth=2.0)
    seen = states_of(toys.problem(16, 4), planner, 40, seeds=1)
    restarts = [(a, b) for a, b in zip(seen, seen[1:]) if b.steps_left > a.steps_left]
    fell = torch.stack([b.lowest <= 0.95 * a.lowest for a, b in restarts])
    std = torch.stack([b.kick_std for _, b in restarts])
    assert fell[1:].any() and not fell.all()
    assert (std[fell] == 0.2).all()
    grown = torch.stack([2.0 * a.kick_std for a, _ in restarts])
    torch.testing.assert_close(std[~fell], grown[~fell])


def test_kicks_of_a_problem_that_stalls_for_ever_do_not_overflow():
    planner = dataclasses.replace(KICKED, planner=GD(lr=0.0), kick_std=1e-9, kick_growth=1e3, restart_every=1)
    last = states_of(toys.problem(3, 4), planner, 150, seeds=1)[-1]
    torch.testing.assert_close(last.kick_std, torch.full((3,), 1e-3).double())


RACE = MultiStart(GD(lr=0.05), starts=2, start_std=0.5, race_starts=5, race_steps=3)


def test_as_many_starts_in_the_race_as_after_it_are_no_race():
    problem, alone = toys.problem(3, 5), dataclasses.replace(RACE, race_starts=None, survivors=0.5, kick_std=0.2)
    plans = [plan(problem, dataclasses.replace(alone, race_starts=count), Budget(steps=8)) for count in (None, 2)]
    assert toys.same(*plans)


def test_a_race_ends_with_the_best_starts():
    problem = toys.problem(2, 4)
    seen = states_of(problem, RACE, 6, seeds=[1, 2])
    assert [state.starts for state in seen] == [5, 5, 5, 2, 2, 2]
    assert [len(state.inner.actions) for state in seen] == [10, 10, 10, 4, 4, 4]
    before, after = seen[2], seen[3]
    cost, best = before.best.cost.reshape(2, 5), before.best.actions.unflatten(0, (2, 5))
    assert after.best is None and after.inner.moments.count == 1
    for i in range(2):
        for place, source in enumerate(cost[i].argsort()[:2].tolist()):
            row = toys.rows(problem, [i]).normalised()
            begun = GD(lr=0.05).init(row, best[i, [source]], Noise.of(0, 1))
            expected, _ = GD(lr=0.05).step(row, begun, Noise.of(0, 1))
            torch.testing.assert_close(after.inner.actions.unflatten(0, (2, 2))[i, [place]], expected.actions)


def test_after_a_race_restarts_follow():
    planner = dataclasses.replace(RACE, restart_every=2, kick_std=0.1)
    seen = states_of(toys.problem(1, 4), planner, 8, seeds=1)
    assert [state.steps_left for state in seen] == [2, 1, 0, 1, 0, 1, 0, 1]
    assert seen[5].best is not None and len(seen[5].best.cost) == 2


def test_the_plan_at_the_end_of_a_race_is_that_of_the_best_start():
    """The inner planner scores nothing in its first steps, so the leader is still the one that won the race."""
    planner = MultiStart(LatCo(score_every=2), starts=2, start_std=1.0, race_starts=6, race_steps=3)
    seen = states_of(toys.problem(3, 4), planner, 5, seeds=1)
    race, after = seen[2], seen[3]
    assert race.starts == 6 and after.starts == 2 and after.leader.tolist() == [0, 0, 0]
    assert (race.leader > 1).any()


def test_a_race_of_fewer_starts_is_refused():
    with pytest.raises(GraspPlannerError, match=r"MultiStart.race_starts must be .* 4"):
        MultiStart(GD(), starts=4, race_starts=3)
