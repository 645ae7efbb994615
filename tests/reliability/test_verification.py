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


def test_a_share_that_equals_the_precision_is_enough():
    """0.55 * 20 is above 11 in floating point, but 11 of 20 are 0.55."""
    margins, held = torch.arange(20).flip(0), torch.arange(20) < 11
    assert required_margin(margins.float(), held, 0.55) == 0.0


def test_a_tightened_event_passes_exactly_the_plans_of_the_calibration():
    margins, held = toys.fixed(30, seed=4).float(), toys.fixed(30, seed=5) > -0.5
    required = required_margin(margins, held, 0.75)
    event = always(Margin(lambda states, actions: states[..., 0])).tightened(required)
    passes = event.margin(margins[:, None, None], torch.zeros(30, 1, 1)) >= 0
    assert torch.equal(passes, margins >= required) and held[passes].float().mean() >= 0.75


@pytest.mark.parametrize(
    ("margins", "held", "words"),
    [
        (torch.zeros(3), torch.ones(2, dtype=torch.bool), r"must be \(n,\) .* got \(3,\) and \(2,\)"),
        (torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), r"must be \(n,\) .* got \(2, 1\)"),
        (torch.zeros(2), torch.ones(2), "held must be bool"),
        (torch.tensor([0.0, torch.nan]), torch.ones(2, dtype=torch.bool), "got NaN"),
    ],
)
def test_margins_and_outcomes_must_be_numbers_of_the_same_plans(margins, held, words):
    with pytest.raises(GraspPlannerError, match=words):
        required_margin(margins, held)


def test_events_of_a_diagnosis_are_events_of_whole_trajectories():
    problem = toys.problem(2, 3)
    found = plan(problem, GD(), Budget(steps=1))
    with pytest.raises(GraspPlannerError, match=r"events\['low'\] must say at which steps it holds"):
        diagnose(problem, found, events={"low": LOW})
    with pytest.raises(GraspPlannerError, match="'constraint' is reserved"):
        diagnose(problem, found, events={"constraint": always(LOW)})
