"""Checks of events on finished plans, and their calibration."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import (
    GD,
    GRASP,
    Budget,
    Constrained,
    GoalDistance,
    GraspPlannerError,
    Margin,
    TrustLaw,
    always,
    diagnose,
    eventually,
    plan,
)
from grasp_planner.trust.verification import required_margin

LOW = Margin(lambda states, actions: 1.0 - states[..., 0])


@pytest.mark.parametrize("planner", [GD(), GRASP(sync_every=2, sync_steps=2)])
def test_margins_of_a_plan_are_those_of_its_rollout(planner):
    objective = Constrained(GoalDistance(), always(LOW, first=1))
    problem = toys.problem(3, 5, objective=objective, scale=torch.tensor([2.0, 3.0, 0.5]).double())
    found = plan(problem, planner, Budget(steps=6))
    told = diagnose(problem, found, events={"start": always(LOW, last=0), "end": eventually(~LOW, 5)})
    assert list(told.margins) == ["constraint", "start", "end"]
    torch.testing.assert_close(told.margins["constraint"], (1.0 - found.states[..., 0]).amin(1))
    torch.testing.assert_close(told.margins["start"], 1.0 - problem.start[:, 0])
    torch.testing.assert_close(told.margins["end"], found.states[:, -1, 0] - 1.0)
    torch.testing.assert_close(found.violation, torch.relu(-told.margins["constraint"]))


def test_without_events_there_are_no_margins():
    problem = toys.problem(2, 3)
    assert diagnose(problem, plan(problem, GD(), Budget(steps=1))).margins == {}


def test_the_trust_law_measures_the_distance_of_the_objective_inside():
    """A coordinate without goal weight does not count, with a constraint as without."""
    problem = toys.problem(2, 4, objective=GoalDistance((1.0, 0.0, 1.0)))
    bound = dataclasses.replace(problem, objective=Constrained(problem.objective, always(LOW)))
    actions = 0.3 * toys.fixed(2, 4, 2, seed=4)
    assert torch.equal(TrustLaw().errors(bound, actions), TrustLaw().errors(problem, actions))


@given(st.data())
@settings(max_examples=60)
def test_the_required_margin_is_the_least_that_reaches_the_precision(data):
    count = data.draw(st.integers(1, 9))
    margins = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))).double()
    held = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    precision = data.draw(st.sampled_from([0.5, 0.8, 0.9, 1.0]))
    good = [m for m in sorted(set(margins.tolist())) if held[margins >= m].double().mean() >= precision]
    if good:
        assert required_margin(margins, held, precision) == good[0]
    else:
        with pytest.raises(GraspPlannerError, match=f"no margin reaches a precision of {precision}"):
            required_margin(margins, held, precision)


def test_margins_and_outcomes_must_be_of_the_same_plans():
    with pytest.raises(GraspPlannerError, match=r"must be \(n,\), got \(3,\) and \(2,\)"):
        required_margin(torch.zeros(3), torch.ones(2, dtype=torch.bool))
