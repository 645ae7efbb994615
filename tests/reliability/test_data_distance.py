"""Distances from training data: closed forms, gradients, projections, and plans that do not leave the data."""

from __future__ import annotations

import functools

import pytest
import torch

import toys
from grasp_planner import (
    GD,
    Budget,
    Constrained,
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    Markov,
    MultiStart,
    Problem,
    Status,
    always,
    diagnose,
    plan,
    recommended,
)
from grasp_planner.planners.least_squares import all_residuals
from grasp_planner.trust.data_distance import NearestStates, PrincipalComponents, near_data
from grasp_planner.wrappers.projected import Projected

COUNT, SIZE = 300, 5
SPREAD = torch.tensor([3.0, 1.0, 0.3, 0.1, 0.03]).double()


def data(seed: int = 0):
    """Return states (n, 5) with another spread along each of five oblique directions, and a mean that is not 0."""
    rotation, _ = torch.linalg.qr(toys.fixed(SIZE, SIZE, seed=seed + 1))
    return (toys.fixed(COUNT, SIZE, seed=seed) * SPREAD) @ rotation.mT + torch.arange(5.0).double()


def elsewhere(count: int = 40):
    return torch.arange(5.0).double() + 2.0 * toys.fixed(count, SIZE, seed=7)


def components(states, count: int):
    """Return the mean, the variances and the first directions by an eigendecomposition."""
    mean = states.mean(0)
    variances, directions = torch.linalg.eigh((states - mean).mT @ (states - mean) / len(states))
    return mean, variances.flip(0), directions.flip(1)[:, :count]


BOTH = pytest.mark.parametrize(
    "make",
    [functools.partial(PrincipalComponents, components=2), PrincipalComponents, NearestStates],
    ids=["two-components", "all-components", "nearest"],
)


def test_all_components_are_the_mahalanobis_distance():
    states, other = data(), elsewhere()
    offset = other - states.mean(0)
    precision = torch.linalg.inv(torch.cov(states.mT, correction=0))
    expected = ((offset @ precision) * offset).sum(1).div(SIZE).sqrt()
    torch.testing.assert_close(PrincipalComponents(states)(other), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_some_components_and_the_residual_by_an_eigendecomposition(kept):
    states, other = data(), elsewhere()
    mean, variances, first = components(states, kept)
    along = (other - mean) @ first
    residual = other - mean - along @ first.mT
    squares = (along.square() / variances[:kept]).sum(1) + residual.square().sum(1) / variances[kept:].mean()
    expected = (squares / SIZE).sqrt()
    torch.testing.assert_close(PrincipalComponents(states, components=kept)(other), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_the_nearest_states_by_brute_force(neighbours):
    states, other = data(), elsewhere()
    squares = (other[:, None] - states).square().sum(2).sort(1).values[:, :neighbours].mean(1)
    own = (states[:, None] - states).square().sum(2).sort(1).values[:, 1 : neighbours + 1].mean()
    found = NearestStates(states, neighbours=neighbours)
    torch.testing.assert_close(found(other), (squares / own).sqrt(), rtol=1e-6, atol=0)


def test_a_subset_of_the_states_is_stored():
    states = data()
    few, again, others = (NearestStates(states, neighbours=1, keep=20, seed=seed) for seed in (3, 3, 4))
    at = (few(states) < 1e-6).sum()
    assert at == 20 and torch.equal(few(states), again(states)) and not torch.equal(few(states), others(states))


@BOTH
def test_the_mean_square_of_the_data_is_one_in_any_units(make):
    states, other, scale = data(), elsewhere(), torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0]).double()
    distance = make(states, scale)
    if isinstance(distance, PrincipalComponents):
        torch.testing.assert_close(distance(states).square().mean(), torch.ones(()).double(), rtol=1e-9, atol=0)
    factors = torch.tensor([1e3, 1e-3, 1.0, 7.0, 1e2]).double()
    changed = make(states * factors, scale * factors)
    torch.testing.assert_close(changed(other * factors), distance(other), rtol=1e-6, atol=0)


def test_nearest_states_far_from_zero_are_found_in_single_precision():
    states, offset = torch.arange(200.0)[:, None], 30_000.0
    other = torch.arange(20.0, 180.0)[:, None] + 0.25
    here, there = NearestStates(states, neighbours=2), NearestStates(states + offset, neighbours=2)
    torch.testing.assert_close(there(other + offset), here(other), rtol=1e-4, atol=0)
    torch.testing.assert_close(there.project(other + offset, 0.0) - offset, here.project(other, 0.0), rtol=0, atol=0.01)


@BOTH
def test_rows_are_independent_and_leading_axes_are_kept(make):
    distance, other = make(data()), elsewhere(12)
    expected = distance(other)
    broken = other.clone()
    broken[5] = torch.nan
    found = distance(broken.reshape(3, 4, SIZE))
    assert found.shape == (3, 4) and found.flatten()[5].isnan()
    rest = torch.arange(12) != 5
    torch.testing.assert_close(found.flatten()[rest], expected[rest], rtol=1e-9, atol=0)
    torch.testing.assert_close(distance(other[3]), expected[3], rtol=1e-9, atol=0)
    moved = distance.project(broken, 1.0)
    torch.testing.assert_close(moved[rest], distance.project(other, 1.0)[rest], rtol=1e-9, atol=1e-12)


@BOTH
def test_constant_coordinates_do_not_count_and_do_not_change(make):
    states, other = data(), elsewhere()
    with_one = torch.cat([states, torch.full((COUNT, 1), 4.0)], dim=1).double()
    far = torch.cat([other, 9.0 * torch.ones(len(other), 1)], dim=1).double()
    distance = make(with_one)
    torch.testing.assert_close(distance(far), make(states)(other), rtol=1e-9, atol=0)
    assert torch.equal(distance.project(far, 0.5)[:, -1], far[:, -1])


@BOTH
def test_gradients(make):
    distance = make(data())
    far = elsewhere(4).requires_grad_()
    assert torch.autograd.gradcheck(distance, far)
    assert torch.autograd.gradcheck(lambda states: distance.project(states, 1.5), far)


@BOTH
@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_gradients_are_finite_where_the_distance_is_zero(make, limit):
    states = data()
    for distance in (make(states), NearestStates(states, neighbours=1)):
        at = torch.stack([states.mean(0), states[0]]).requires_grad_()
        for part in (distance(at), distance.project(at, limit)):
            (gradient,) = torch.autograd.grad(part.sum(), at)
            assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("kept", [2, 5])
def test_the_projection_clips_the_components_and_the_residual(kept):
    states, other = data(), 3.0 * elsewhere()
    mean, variances, first = components(states, kept)
    moved = PrincipalComponents(states, components=kept).project(other, 1.5)
    along, before = (moved - mean) @ first, (other - mean) @ first
    most = 1.5 * variances[:kept].sqrt()
    torch.testing.assert_close(along, before.clamp(-most, most), rtol=1e-9, atol=1e-9)
    residual, left = (points - mean - (points - mean) @ first @ first.mT for points in (other, moved))
    longest = 1.5 * variances[kept:].sum().sqrt()
    length = residual.norm(dim=1, keepdim=True)
    shorter = residual * (longest / length).clamp(max=1.0) if kept < SIZE else residual
    torch.testing.assert_close(left, shorter, rtol=1e-9, atol=1e-9)
    assert bool((before.abs() > most).any()), "some states are outside"


def test_the_projection_moves_to_the_limit_around_the_nearest_states():
    states, other = data(), elsewhere()
    distance = NearestStates(states, neighbours=4)
    own = distance(other)
    limit = float(own.median())
    moved = distance.project(other, limit)
    assert torch.equal(moved[own < limit], other[own < limit])
    nearest = (other[:, None] - states).square().sum(2).topk(4, largest=False).indices
    squares = (moved[:, None] - states[nearest]).square().sum(2).mean(1)
    unit = own.square() / (other[:, None] - states[nearest]).square().sum(2).mean(1)
    far = own > limit
    torch.testing.assert_close((squares * unit).sqrt()[far], torch.full_like(own[far], limit), rtol=1e-6, atol=0)
    mean = states[nearest].mean(1)
    torch.testing.assert_close(distance.project(other, 0.0), mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrincipalComponents([1.0, 2.0]), r"PrincipalComponents needs states as a tensor \(n, s\).*got list"),
        (lambda: NearestStates(torch.ones(3, 2).long()), r"NearestStates needs states.*got torch.int64 \(3, 2\)"),
        (lambda: PrincipalComponents(torch.ones(3, 2)), "two different states, got 3 times the same state"),
        (lambda: PrincipalComponents(torch.ones(0, 2)), "two different states, got 0 times the same state"),
        (lambda: NearestStates(torch.full((9, 2), torch.inf)), "states of finite numbers"),
        (lambda: PrincipalComponents(data(), components=0), "PrincipalComponents.components must be an integer >= 1"),
        (lambda: NearestStates(data(), neighbours=0), "NearestStates.neighbours must be an integer >= 1"),
        (lambda: NearestStates(data(), keep=8), "with 8 other states, and stores only 8"),
        (lambda: NearestStates(data()[:2].repeat(150, 1)), "have no unit"),
        (lambda: PrincipalComponents(data(), torch.ones(4)), r"scale must be \(5,\) finite numbers > 0, got \(4,\)"),
        (lambda: NearestStates(data(), torch.zeros(5)), r"scale must be \(5,\) finite numbers > 0, .* the least 0.0"),
        (lambda: near_data(lambda states: states[..., 0], -1.0), "near_data: limit must be a number >= 0, got -1.0"),
        (lambda: PrincipalComponents(data()).project(data(), True), "project: limit must be a number >= 0, got True"),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(GraspPlannerError, match=message):
        make()


@BOTH
def test_states_of_another_size(make):
    distance = make(data())
    for method in (distance, lambda states: distance.project(states, 1.0)):
        with pytest.raises(GraspPlannerError, match=r"was fitted to states of 5 numbers, got states \(3, 6\)"):
            method(torch.zeros(3, 6).double())


def test_float32_states_and_half_precision_data():
    states, other = data(), elsewhere()
    for make in (PrincipalComponents, NearestStates):
        found = make(states.float())(other.float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), make(states)(other), rtol=1e-3, atol=0)
        assert make(states.half())(other).dtype == torch.float64


# A model with a false shortcut: far from the data, at y = 0.6 and above, the model predicts that x moves four times as
# fast. In the world, x does not move there.


def learned(state, action):
    faster = 1.0 + 3.0 * torch.sigmoid(20.0 * (state[:, 1:] - 0.6))
    return state + 0.1 * action * torch.cat([faster, torch.ones_like(faster)], dim=1)


def world(state, action):
    slower = torch.sigmoid(-20.0 * (state[:, 1:] - 0.6))
    return state + 0.1 * action * torch.cat([slower, torch.ones_like(slower)], dim=1)


def walks():
    """Return states near the line y = 0, with x from 0 to 3."""
    uniform = torch.rand(400, 1, generator=torch.Generator().manual_seed(0)).double()
    return torch.cat([3.0 * uniform, 0.1 * toys.fixed(400, 1, seed=1)], dim=1)


def posed(objective=None, dynamics=None) -> Problem:
    """Return a problem whose goal is too far away without the shortcut: 20 steps reach x = 2, and the goal is at 3."""
    start, goal = torch.zeros(1, 2).double(), torch.tensor([[3.0, 0.0]]).double()
    model = Markov(learned) if dynamics is None else dynamics
    return Problem.between(
        model, start, goal, 20, -1.0, 1.0, objective=objective, scale=torch.ones(2).double(), action_size=2
    )


def from_goal(found) -> tuple[float, float]:
    """Return the distances from the goal at the end: in the model, and in the world."""
    state, goal = torch.zeros(1, 2).double(), torch.tensor([3.0, 0.0]).double()
    for t in range(20):
        state = world(state, found.actions[:, t])
    return float((found.states[0, -1] - goal).norm()), float((state[0] - goal).norm())


PLANNERS = {
    "gd": MultiStart(GD(lr=0.1), starts=16, start_std=2.0),
    "recommended": recommended(),
}


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("make", [PrincipalComponents, NearestStates])
def test_the_shortcut_is_taken_without_the_remedies_only(name, make):
    planner, budget = PLANNERS[name], Budget(steps=120)
    distance = make(walks())
    limit = float(distance(walks()).quantile(0.99))
    near = always(near_data(distance, limit), first=1)
    plain = plan(posed(), planner, budget)
    claimed, true = from_goal(plain)
    assert claimed < 0.1 and true > 1.4, "the model is exploited"
    margin = diagnose(posed(), plain, events={"near": near}).margins["near"]
    assert margin < -0.5, "and the distance of the plan says so"

    region = plan(posed(Constrained(GoalDistance(), near, weight=100.0, clearance=0.05)), planner, budget)
    assert region.status == Status.BUDGET and region.violation == 0

    stage = Constrained(
        GoalDistance(), always(near_data(distance, 0.0), first=1), weight=0.1, clearance=0.0, violation_cost=0.0
    )
    as_cost = plan(posed(stage), planner, budget)

    for found in (region, as_cost):
        claimed, true = from_goal(found)
        assert true < 1.1 and true - claimed < 0.1, "the gap between model and world is small"


def test_a_projected_model_does_not_predict_the_shortcut():
    project = PrincipalComponents(walks()).project
    found = plan(posed(dynamics=Projected(Markov(learned), project)), PLANNERS["recommended"], Budget(steps=120))
    assert from_goal(found)[0] > 0.8


@pytest.mark.parametrize("make", [PrincipalComponents, NearestStates])
def test_the_penalty_is_a_sum_of_squares_of_distances(make):
    distance, weight = make(walks()), 3.0
    event = always(near_data(distance, 0.0), first=1)
    objective = Constrained(GoalDistance(), event, weight=weight, clearance=0.0, violation_cost=0.0)
    problem = posed(objective).normalised()
    actions = 0.5 * toys.fixed(1, 20, 2, seed=5)
    states = problem.rollout(actions)
    expected = (states[:, -1] - problem.goal).square().sum(1) + weight * distance(states).square().sum(1)
    torch.testing.assert_close(problem.cost(states, actions), expected)
    rows = all_residuals(problem, GoalDistance(), states, actions)
    torch.testing.assert_close(rows.square().sum(1), expected)
    found = plan(posed(objective), GaussNewton(), Budget(steps=60))
    assert found.cost < 0.7 * found.trace.cost[0]
