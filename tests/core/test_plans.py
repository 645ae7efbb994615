"""Budgets, statuses, and the choice between scored plans."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import toys
from grasp_planner import Budget, GraspPlannerError, Status
from grasp_planner.core.plans import Scored, better, chosen, score

NAN, INF = float("nan"), float("inf")


def test_statuses_are_what_is_written_in_records():
    assert {status.name: int(status) for status in Status} == {
        "CONVERGED": 0,
        "BUDGET": 1,
        "DEADLINE": 2,
        "NONFINITE": 3,
        "INTERRUPTED": 4,
        "VIOLATED": 5,
    }


@pytest.mark.parametrize(
    "limits", [{"steps": 0}, {"steps": 5}, {"seconds": 0}, {"seconds": 0.5}, {"transitions": 0}, {"seconds": INF}]
)
def test_budgets(limits):
    budget = Budget(**limits)
    assert {k: v for k, v in dataclasses.asdict(budget).items() if v is not None} == limits


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "needs a limit: steps=, seconds= or transitions="),
        ({"steps": -1}, "Budget.steps must be.*got -1"),
        ({"steps": 1.5}, "Budget.steps must be.*got 1.5"),
        ({"steps": True}, "Budget.steps must be.*got True"),
        ({"steps": "3"}, "Budget.steps must be.*got '3'"),
        ({"seconds": -0.1}, "Budget.seconds must be.*got -0.1"),
        ({"seconds": NAN}, "Budget.seconds must be.*got nan"),
        ({"seconds": "1"}, "Budget.seconds must be.*got '1'"),
        ({"transitions": -1}, "Budget.transitions must be.*got -1"),
        ({"transitions": 10.0}, "Budget.transitions must be.*got 10.0"),
        ({"steps": 3, "seconds": -1}, "Budget.seconds must be.*got -1"),
    ],
)
def test_bad_budgets(limits, message):
    with pytest.raises(GraspPlannerError, match=message):
        Budget(**limits)


def scored(costs: list[float], mark: float) -> Scored:
    count = len(costs)
    return Scored(torch.full((count, 2, 1), mark), torch.full((count, 2, 3), mark), torch.tensor(costs))


def test_the_better_of_two_in_every_combination():
    values = [1.0, 2.0, NAN, INF, -INF]
    pairs = [(one, other) for one in values for other in values]
    first, second = scored([one for one, _ in pairs], 1.0), scored([other for _, other in pairs], 2.0)
    picked = better(first, second)
    for i, (one, other) in enumerate(pairs):
        expected = 2.0 if math.isfinite(other) and (not math.isfinite(one) or other < one) else 1.0
        assert (picked.actions[i] == expected).all() and (picked.states[i] == expected).all()
        cost = other if expected == 2.0 else one
        assert picked.cost[i].item() == cost or (math.isnan(cost) and picked.cost[i].isnan())


def test_chosen_by_a_mask():
    mask = torch.tensor([True, False, True])
    picked = chosen(mask, scored([1.0, 1.0, 1.0], 1.0), scored([2.0, 2.0, 2.0], 2.0))
    assert picked.cost.tolist() == [1.0, 2.0, 1.0] and picked.actions[:, 0, 0].tolist() == [1.0, 2.0, 1.0]


def test_score_is_a_rollout_and_its_cost_without_a_graph():
    problem = toys.problem(2, 3, toys.Remembering(3))
    actions = toys.fixed(2, 3, 2, seed=1).requires_grad_()
    made = score(problem, actions)
    torch.testing.assert_close(made.states, toys.rollout_by_hand(problem, actions.detach()))
    torch.testing.assert_close(made.cost, toys.cost_by_hand(problem, actions.detach()))
    assert not made.states.requires_grad and not made.cost.requires_grad
