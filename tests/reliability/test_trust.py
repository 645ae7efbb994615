"""Diagnosis and trust law, compared with models for which they can be computed by hand."""

from __future__ import annotations

import dataclasses

import numpy
import pytest
import torch
from driven import Encoder, World, agent

import grasp_planner.control.agent
import toys
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    Budget,
    Chunked,
    GraspPlannerError,
    LatCo,
    Markov,
    MultiStart,
    Plan,
    Problem,
    Sequential,
    TrustLaw,
    diagnose,
    plan,
)
from grasp_planner.control.saving import load_plan, save_plan
from grasp_planner.models import Ensemble
from grasp_planner.trust.diagnosis import Diagnosis
from grasp_planner.trust.law import true_errors


def growing(factor: float, batch: int = 3, horizon: int = 8) -> Problem:
    """Make problems whose differences grow by the same factor in every step and direction."""
    push = toys.fixed(2, 3, seed=1)
    return toys.problem(batch, horizon, Markov(lambda state, action: factor * state + action @ push))


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_gain_and_error_of_a_linear_model(factor):
    problem = growing(factor)
    found = plan(problem, CEM(samples=6, elites=2), Budget(steps=2))
    told = diagnose(problem, found, TrustLaw(step_error=0.01, tolerance=0.05, samples=400), steep=1.2)
    torch.testing.assert_close(told.gain, torch.full_like(told.gain, factor), rtol=1e-6, atol=0)
    assert (told.exploited == float(factor > 1.2)).all()
    expected = torch.tensor([sum(factor ** (2 * k) for k in range(t + 1)) ** 0.5 for t in range(8)]) * 0.01
    torch.testing.assert_close(told.error, expected.double().expand(3, -1), rtol=0.1, atol=0)
    assert told.trust.tolist() == [int((expected <= 0.05).long().cumprod(0).sum())] * 3
    assert told.gap is None and told.disagreement is None


def with_states(found: Plan, states: torch.Tensor) -> Plan:
    """Replace the virtual states in the planner's state of a plan; they are in units of the scale."""

    def moved(state):
        if hasattr(state, "states"):
            return state._replace(states=states[:, : state.states.shape[1]])
        return state._replace(inner=moved(state.inner))

    return dataclasses.replace(found, warm_start=found.warm_start._replace(state=moved(found.warm_start.state)))


LIFTING, LATCO = GRASP(sync_every=2, sync_steps=1), LatCo()
LIFTED = {
    "grasp": (LIFTING, 1, lambda state: LIFTING.actions(state)),
    "latco": (LATCO, 1, lambda state: LATCO.actions(state)),
    "many starts": (MultiStart(LIFTING, starts=2), 2, lambda state: LIFTING.actions(state.inner)),
    "sequential": (Sequential(LATCO, CEM(samples=4, elites=2), share=0.0), 1, lambda state: LATCO.actions(state.inner)),
}
"""Planner, number of starts, and the actions of all starts in its state."""


@pytest.mark.parametrize("name", LIFTED)
def test_virtual_states_on_the_rollout_have_no_gap_and_others_have_theirs(name):
    planner, starts, actions_of = LIFTED[name]
    problem = growing(0.9)
    found = plan(problem, planner, Budget(steps=3), seeds=1)
    assert diagnose(problem, found).gap.shape == (3, 7)
    many = problem.normalised().repeat(starts)
    rollout = many.rollout(actions_of(found.warm_start.state))
    assert (diagnose(problem, with_states(found, rollout)).gap < 1e-8).all()
    gap = diagnose(problem, with_states(found, rollout + 0.5)).gap
    torch.testing.assert_close(gap, torch.full((3, 7), 0.5).double())


@pytest.mark.parametrize(
    "planner",
    [
        CEM(samples=4, elites=2),
        MultiStart(GD(), starts=2),
        Sequential(LatCo(), CEM(samples=4, elites=2), share=1.0),
    ],
)
def test_without_virtual_states_there_is_no_gap(planner):
    problem = growing(0.9)
    assert diagnose(problem, plan(problem, planner, Budget(steps=3), seeds=1)).gap is None


def equal(first: Diagnosis, second: Diagnosis, *names: str) -> None:
    for name in names or ("gap", "gain", "exploited", "disagreement", "error", "trust"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("planner", [GRASP(sync_every=2, sync_steps=1), CEM(samples=4, elites=2)])
def test_a_saved_plan_has_the_same_diagnosis(planner, tmp_path):
    problem, law = growing(1.2), TrustLaw(step_error=0.01, tolerance=0.05)
    found = plan(problem, planner, Budget(steps=3), seeds=1)
    equal(diagnose(problem, load_plan(save_plan(found, tmp_path / "a.plan")), law), diagnose(problem, found, law))


@pytest.mark.parametrize("planner", [GRASP(sync_every=2, sync_steps=1), CEM(samples=4, elites=2)])
def test_the_agent_diagnoses_its_plans_outside_of_the_budget(planner, monkeypatch):
    problems, inner = [], grasp_planner.control.agent.run

    def watched(problem, *arguments, **rest):
        problems.append(problem)
        return inner(problem, *arguments, **rest)

    monkeypatch.setattr(grasp_planner.control.agent, "run", watched)
    law = TrustLaw(step_error=0.01, tolerance=0.05)
    plain, trusting = agent(planner=planner), agent(planner=planner, trust=law)
    world = World(plain)
    for _ in range(2):
        block = plain.act(world.observation(), world.goal)
        assert numpy.array_equal(trusting.act(world.observation(), world.goal), block)
        assert plain.diagnosis is None
        assert (plain.plan.calls, plain.plan.transitions) == (trusting.plan.calls, trusting.plan.transitions)
        equal(trusting.diagnosis, diagnose(problems[-1], trusting.plan, law))
        world.step(block)


def test_a_steep_step_is_found_and_not_trusted():
    """The model is steep only at 0, where differences grow a hundredfold."""
    step = Markov(lambda s, a: s + a.sum(-1, keepdim=True) * 0.1 + 0.5 * torch.tanh(100 * s))
    near, far = torch.zeros(1, 1).double(), torch.full((1, 1), 5.0).double()
    for start, steep in ((near, True), (far, False)):
        bound = torch.ones(1).double()
        problem = Problem.between(step, start, start + 1, 4, -bound, bound, scale=bound)
        found = plan(problem, CEM(samples=4, elites=2), Budget(steps=0))
        told = diagnose(problem, found, TrustLaw(step_error=1e-3, tolerance=0.05))
        assert (told.exploited > 0) == steep and (told.trust < 4) == steep


class Decaying(Encoder):
    """A member of an ensemble; members differ by their offsets."""

    context = 1

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def __call__(self, states, actions):
        return 0.9 * states[:, -1] + self.offset


def test_disagreement_counts_where_it_exceeds_the_step_error():
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
def test_a_diagnosis_needs_no_more_memory_than_a_plan(planner, rows):
    problem, law = growing(1.2), TrustLaw(step_error=0.01, tolerance=0.05)

    class Small:
        context = 1

        def __call__(self, states, actions):
            if states.shape[0] > rows:
                raise torch.cuda.OutOfMemoryError("no room")
            return problem.dynamics(states, actions)

    small = dataclasses.replace(problem, dynamics=Small())
    expected = diagnose(problem, plan(problem, planner, Budget(steps=3), seeds=1), law)
    told = diagnose(small, plan(small, planner, Budget(steps=3), seeds=1), law)
    equal(told, expected, "gain", "exploited", "error", "trust")


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
def test_the_disagreement_of_a_wrapped_ensemble_is_found(wrap):
    model = Ensemble([Decaying(-0.2), Decaying(0.2)])
    start = torch.zeros(3, 4).double()
    problem = Problem.between(model, start, start + 1, 5, model.low, model.high, scale=model.scale)
    found = plan(problem, CEM(samples=4, elites=2), Budget(steps=0))
    told = diagnose(problem.through(wrap(model)), found)
    torch.testing.assert_close(told.disagreement, torch.full((3, 5), 0.2).double())
    assert torch.equal(told.trust, diagnose(problem, found).trust)


def test_trust_does_not_depend_on_batch_mates_and_uses_the_coordinates_of_the_goal():
    problem = toys.problem(4, 6, toys.Remembering(3))
    actions, law = toys.fixed(4, 6, 2, seed=3).clamp(-1, 1), TrustLaw(step_error=0.05)
    errors = law.errors(problem, actions)
    torch.testing.assert_close(law.errors(toys.rows(problem, [2]), actions[[2]])[0], errors[2])
    states = problem.rollout(actions)
    off = states + torch.tensor([0.0, 0.0, 1.0]).double() * problem.unit[:, None]
    assert (true_errors(problem, states, off) > 0.5).all()
    uncounted = dataclasses.replace(problem, objective=toys.GoalDistance(weights=(1.0, 1.0, 0.0)))
    assert not true_errors(uncounted, states, off).any()


def test_a_model_that_overflows_is_not_trusted():
    problem = toys.problem(2, 5, Markov(lambda s, a: torch.where(s.abs() > 1e150, torch.nan, 1e100 * s)))
    assert (TrustLaw().horizon(problem, torch.zeros(2, 5, 2).double()) <= 2).all()


@pytest.mark.parametrize("wrong", [{"step_error": 0}, {"tolerance": -1.0}, {"factor": float("nan")}, {"samples": 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(GraspPlannerError, match=f"TrustLaw.{next(iter(wrong))} must be"):
        TrustLaw(**wrong)


def test_the_agent_replans_where_trust_ends():
    ages = []
    for tolerance in (1e-9, 0.015, 10.0):
        one = agent(execute=4, trust=TrustLaw(step_error=0.01, tolerance=tolerance, samples=64))
        world, seen = World(one), []
        for _ in range(6):
            world.step(one.act(world.observation(), world.goal))
            seen.append(one.report.age[0])
        ages.append(seen)
    assert ages[0] == [0] * 6, "not even one step is trusted, but one step is always executed"
    assert ages[2] == [0, 1, 2, 3, 0, 1], "as long as execute allows"
    assert 1 < max(ages[1]) + 1 < 4 and numpy.diff([i for i, age in enumerate(ages[1]) if age == 0]).min() > 1
