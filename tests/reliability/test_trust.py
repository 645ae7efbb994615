"""Diagnosis: the numbers of a plan that can be known beforehand, against models whose answers can be worked out."""

from __future__ import annotations

import dataclasses

import numpy
import pytest
import torch
from driven import Encoder, World, agent

import toys
from grasp_planner import CEM, GRASP, Budget, Chunked, GraspPlannerError, LatCo, Markov, Problem, plan
from grasp_planner.control.saving import load_plan, save_plan
from grasp_planner.models import Ensemble
from grasp_planner.trust.diagnosis import diagnose
from grasp_planner.trust.law import TrustLaw, true_errors


def growing(factor: float, batch: int = 3, horizon: int = 8) -> Problem:
    """Differences grow by the same factor in every step and direction."""
    push = toys.fixed(2, 3, seed=1)
    return toys.problem(batch, horizon, Markov(lambda state, action: factor * state + action @ push))


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_gain_and_error_of_a_linear_model(factor):
    problem = growing(factor)
    found = plan(problem, CEM(samples=6, elites=2), Budget(steps=2))
    told = diagnose(problem, found, TrustLaw(step_error=0.01, tolerance=0.05, shakes=400), steep=1.2)
    torch.testing.assert_close(told.gain, torch.full_like(told.gain, factor), rtol=1e-6, atol=0)
    assert (told.exploited == float(factor > 1.2)).all()
    expected = torch.tensor([sum(factor ** (2 * k) for k in range(t + 1)) ** 0.5 for t in range(8)]) * 0.01
    torch.testing.assert_close(told.error, expected.double().expand(3, -1), rtol=0.1, atol=0)
    assert told.trust.tolist() == [int((expected <= 0.05).long().cumprod(0).sum())] * 3
    assert told.gap is None and told.disagreement is None


def test_virtual_states_on_the_rollout_have_no_gap_and_others_have_theirs():
    problem = growing(0.9)
    for planner in (GRASP(sync_every=2, sync_steps=1, particles=2), LatCo()):
        found = plan(problem, planner, Budget(steps=3), seeds=1)
        state = found.warm_start.state
        assert diagnose(problem, found).gap.shape == (3, 7)
        actions = planner.actions(state)
        rollout = problem.rollout(actions)
        if isinstance(planner, GRASP):
            many = problem.repeat(2).rollout(state.actions)[:, :-1]
            moved = state._replace(states=many + 0.5 * problem.repeat(2).unit[:, None])
        else:
            moved = state._replace(states=rollout + 0.5 * problem.unit[:, None])
        found = dataclasses.replace(found, warm_start=found.warm_start._replace(state=moved))
        torch.testing.assert_close(diagnose(problem, found).gap, torch.full((3, 7), 0.5).double())


@pytest.mark.parametrize("planner", [GRASP(sync_every=2, sync_steps=1), CEM(samples=4, elites=2)])
def test_a_plan_says_it_itself_where_a_law_is_given_and_pays_nothing_for_it(planner, tmp_path):
    problem, law = growing(1.2), TrustLaw(step_error=0.01, tolerance=0.05)
    plain = plan(problem, planner, Budget(steps=3), seeds=1)
    found = plan(problem, planner, Budget(steps=3), seeds=1, trust=law)
    assert plain.diagnosis is None and (found.calls, found.transitions) == (plain.calls, plain.transitions)
    told, loaded = diagnose(problem, plain, law), load_plan(save_plan(found, tmp_path / "a.plan")).diagnosis
    for name in ("gap", "gain", "exploited", "disagreement", "error", "trust"):
        torch.testing.assert_close(getattr(found.diagnosis, name), getattr(told, name))
        torch.testing.assert_close(getattr(loaded, name), getattr(told, name))


def test_a_steep_place_is_seen_and_not_trusted_beyond():
    """A cliff at 0: differences grow a hundredfold there, and nowhere else."""
    step = Markov(lambda s, a: s + a.sum(-1, keepdim=True) * 0.1 + 0.5 * torch.tanh(100 * s))
    near, far = torch.zeros(1, 1).double(), torch.full((1, 1), 5.0).double()
    for start, steep in ((near, True), (far, False)):
        bound = torch.ones(1).double()
        problem = Problem.between(step, start, start + 1, 4, -bound, bound, scale=bound)
        found = plan(problem, CEM(samples=4, elites=2), Budget(steps=0))
        told = diagnose(problem, found, TrustLaw(step_error=1e-3, tolerance=0.05))
        assert (told.exploited > 0) == steep and (told.trust < 4) == steep


class Decaying(Encoder):
    """Members of an ensemble that are apart by their offsets."""

    context = 1

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def __call__(self, states, actions):
        return 0.9 * states[:, -1] + self.offset


def test_disagreement_counts_where_it_is_larger():
    sure, unsure = Ensemble([Decaying(0.0), Decaying(0.0)]), Ensemble([Decaying(-0.2), Decaying(0.2)])
    law = TrustLaw(step_error=0.01, tolerance=0.1)
    for model, far in ((sure, 5), (unsure, 0)):
        start = torch.zeros(1, 4).double()
        problem = Problem.between(model, start, start + 1, 5, model.low, model.high, scale=model.scale)
        told = diagnose(problem, plan(problem, CEM(samples=4, elites=2), Budget(steps=0)), law)
        assert told.trust.tolist() == [far]
        torch.testing.assert_close(told.disagreement, torch.full((1, 5), 0.0 if far else 0.2).double())


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("planner", [GRASP(sync_every=2, sync_steps=1), CEM(samples=4, elites=2)])
def test_a_diagnosis_comes_where_memory_is_short_as_a_plan_does(planner, rows):
    problem, law = growing(1.2), TrustLaw(step_error=0.01, tolerance=0.05)

    class Small:
        context = 1

        def __call__(self, states, actions):
            if states.shape[0] > rows:
                raise torch.cuda.OutOfMemoryError("no room")
            return problem.dynamics(states, actions)

    expected = plan(problem, planner, Budget(steps=3), seeds=1, trust=law).diagnosis
    told = plan(dataclasses.replace(problem, dynamics=Small()), planner, Budget(steps=3), seeds=1, trust=law).diagnosis
    for name in ("gain", "exploited", "error", "trust"):
        torch.testing.assert_close(getattr(told, name), getattr(expected, name))


def test_no_room_for_one_row_says_so():
    class Full:
        context = 1

        def __call__(self, states, actions):
            raise torch.cuda.OutOfMemoryError("no room")

    problem = growing(1.2)
    found = plan(problem, CEM(samples=4, elites=2), Budget(steps=1))
    with pytest.raises(GraspPlannerError, match="not even one row"):
        diagnose(dataclasses.replace(problem, dynamics=Full()), found)


@pytest.mark.parametrize("wrap", [lambda model: Chunked(model, rows=2), lambda model: Chunked(Chunked(model, 3), 4)])
def test_a_wrapped_ensemble_still_says_how_sure_it_is(wrap):
    model = Ensemble([Decaying(-0.2), Decaying(0.2)])
    start = torch.zeros(3, 4).double()
    problem = Problem.between(model, start, start + 1, 5, model.low, model.high, scale=model.scale)
    found = plan(problem, CEM(samples=4, elites=2), Budget(steps=0))
    told = diagnose(problem.through(wrap(model)), found)
    torch.testing.assert_close(told.disagreement, torch.full((3, 5), 0.2).double())
    assert torch.equal(told.trust, diagnose(problem, found).trust)


def test_trust_does_not_depend_on_batch_mates_and_counts_what_the_goal_counts():
    problem = toys.problem(4, 6, toys.Remembering(3))
    actions, law = toys.fixed(4, 6, 2, seed=3).clamp(-1, 1), TrustLaw(step_error=0.05)
    errors = law.errors(problem, actions)
    torch.testing.assert_close(law.errors(toys.rows(problem, [2]), actions[[2]])[0], errors[2])
    states = problem.rollout(actions)
    off = states + torch.tensor([0.0, 0.0, 1.0]).double() * problem.unit[:, None]
    assert (true_errors(problem, states, off) > 0.5).all()
    uncounted = dataclasses.replace(problem, objective=toys.GoalDistance(weights=(1.0, 1.0, 0.0)))
    assert not true_errors(uncounted, states, off).any()


def test_a_model_that_leaves_all_numbers_is_not_trusted():
    problem = toys.problem(2, 5, Markov(lambda s, a: torch.where(s.abs() > 1e150, torch.nan, 1e100 * s)))
    assert (TrustLaw().horizon(problem, torch.zeros(2, 5, 2).double()) <= 2).all()


@pytest.mark.parametrize("wrong", [{"step_error": 0}, {"tolerance": -1.0}, {"factor": float("nan")}, {"shakes": 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(GraspPlannerError, match=f"TrustLaw.{next(iter(wrong))} must be"):
        TrustLaw(**wrong)


def test_the_agent_plans_anew_where_trust_ends():
    ages = []
    for tolerance in (1e-9, 0.015, 10.0):
        one = agent(execute=4, trust=TrustLaw(step_error=0.01, tolerance=tolerance, shakes=64))
        world, seen = World(one), []
        for _ in range(6):
            world.step(one.act(world.observation(), world.goal))
            seen.append(one.report.age[0])
        ages.append(seen)
    assert ages[0] == [0] * 6, "not even one step is trusted, and one is always taken"
    assert ages[2] == [0, 1, 2, 3, 0, 1], "as long as execute allows"
    assert 1 < max(ages[1]) + 1 < 4 and numpy.diff([i for i, age in enumerate(ages[1]) if age == 0]).min() > 1
