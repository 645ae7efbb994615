"""Ensembles with disagreement as a latent coordinate, and plans on a fixed set of sampled futures."""

import pytest
import torch
from torch import nn

from grasp_planner import (
    CEM,
    GD,
    GRASP,
    Budget,
    Constrained,
    GoalDistance,
    GraspPlannerError,
    Margin,
    Problem,
    always,
    load_world_model,
    plan,
)
from grasp_planner.models import (
    Cautious,
    Ensemble,
    Sampled,
    Stochastic,
    check_world_model,
)


class Member(nn.Module):
    """The model z' = z + gain * a + slope * z_0^2. Members agree only near z_0 = 0."""

    def __init__(self, slope=0.0, gain=0.5, context=1):
        super().__init__()
        self.slope, self.gain = nn.Parameter(torch.tensor(slope)), gain
        self.context, self.frameskip = context, 1
        self.low, self.high, self.scale = -torch.ones(2), torch.ones(2), torch.tensor([2.0, 0.5])

    def forward(self, states, actions):
        now = states.mean(1) if self.context > 1 else states[:, -1]
        return now + self.gain * actions[:, -1] + self.slope * now[:, :1].square() * torch.ones(2)

    def encode(self, observations):
        return torch.as_tensor(observations["state"], dtype=torch.float32)


def ensemble(context=1):
    return Ensemble([Member(slope, context=context) for slope in (-0.3, 0.0, 0.3)])


def posed(model, start, goal, horizon, objective=None):
    states = model.encode({"state": torch.tensor(start).expand(1, model.context, 2)})
    goal = model.encode({"state": torch.tensor(goal).expand(1, 1, 2)})[:, -1]
    past = torch.zeros(1, model.context - 1, 2)
    objective = GoalDistance(model.goal_weights) if objective is None else objective
    return Problem(model, states, past, goal, horizon, model.low, model.high, objective, model.scale)


@pytest.mark.parametrize("context", [1, 3])
def test_an_ensemble_is_a_world_model(context):
    model = ensemble(context)
    report = check_world_model(model, {"state": torch.randn(4, context, 2)}, tolerance=1e-5)
    assert report.ok, str(report)
    report = check_world_model(Sampled(model, samples=3), {"state": torch.randn(4, context, 2)}, tolerance=1e-5)
    assert report.ok, str(report)


def test_trained_models_as_members():
    first, second = load_world_model("pusht-state"), load_world_model("pusht-state")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.1)
    model = Ensemble([first, second])
    report = check_world_model(model)
    assert report.ok, str(report)
    actions = torch.randn(3, 10)
    torch.testing.assert_close(model.model_actions(model.environment_actions(actions)), actions)
    same = Ensemble([load_world_model("pusht-state")] * 2)
    states = torch.randn(3, 1, len(same.scale))
    assert same.disagreement(states, torch.randn(3, 1, 10)).tolist() == [0.0] * 3
    torch.testing.assert_close(same.goal_weights[:-1], load_world_model("pusht-state").goal_weights)
    assert same.goal_weights[-1] == 0


def test_mean_and_disagreement_by_hand():
    model, states, actions = ensemble(), torch.randn(5, 1, 3), torch.randn(5, 1, 2)
    after = torch.stack([member(states[..., :2], actions) for member in model.members])
    spread = after.var(0, correction=0)
    torch.testing.assert_close(model(states, actions)[:, :2], after.mean(0))
    by_hand = (spread / torch.tensor([2.0, 0.5]).square()).mean(-1).sqrt()
    torch.testing.assert_close(model.disagreement(states, actions), by_hand)
    assert model(states, actions)[:, 2].tolist() == model.disagreement(states, actions).tolist()


def test_its_gradient_is_finite_where_members_agree():
    model = Ensemble([Member(0.1), Member(0.1)])
    actions = torch.randn(3, 1, 2, requires_grad=True)
    model(torch.randn(3, 1, 3), actions).sum().backward()
    assert bool(actions.grad.isfinite().all())


@pytest.mark.parametrize("planner", [GD(), GRASP(sync_every=10, sync_steps=5), CEM(samples=64, elites=8)])
def test_caution_keeps_plans_where_members_agree(planner):
    """Planning starts from a detour through states where members disagree. Caution makes the detour shorter."""
    model = ensemble()
    apart = []
    for weight in (0.0, 30.0):
        problem = posed(model, [1.0, 0.0], [1.0, 0.0], 8, Cautious(model.goal_objective(), weight))
        start = 0.5 * torch.ones(1, 8, 2)
        start[:, :, 0] = 0.2  # a detour through states where members disagree
        found = plan(problem, planner, Budget(steps=60), warm_start=start)
        apart.append(float(found.states[0, :, -1].sum()))
    assert apart[1] < 0.6 * apart[0]


def test_caution_by_hand():
    model = ensemble()
    objective = Cautious(model.goal_objective(), 3.0)
    problem = posed(model, [1.0, 0.0], [0.0, 1.0], 4, objective)
    actions = torch.randn(1, 4, 2)
    states = problem.rollout(actions)
    plain = posed(model, [1.0, 0.0], [0.0, 1.0], 4).cost(states, actions)
    torch.testing.assert_close(problem.cost(states, actions), plain + 3.0 * states[..., -1].sum(1))
    with pytest.raises(GraspPlannerError, match=r"Cautious.weight must be a number >= 0"):
        Cautious(model.goal_objective(), -1.0)
    calm = always(Margin(lambda states, actions: 0.5 - states[..., -1]))
    with pytest.raises(GraspPlannerError, match=r"use Constrained\(Cautious\(objective\), event\)"):
        Cautious(Constrained(model.goal_objective(), calm))
    bound = Constrained(objective, calm, weight=2.0, clearance=0.0, violation_cost=5.0)
    squares = torch.relu(states[..., -1] - 0.5).square().sum(1)
    expected = plain + 3.0 * states[..., -1].sum(1) + 2.0 * squares + 5.0 * (squares > 0)
    torch.testing.assert_close(problem.under(bound).cost(states, actions), expected)


def test_members_that_do_not_fit():
    with pytest.raises(GraspPlannerError, match="two models or more, got 1"):
        Ensemble([Member()])
    with pytest.raises(GraspPlannerError, match="member 1 differs"):
        Ensemble([Member(), Member(context=2)])
    wide = Member()
    wide.high = torch.full((2,), 2.0)
    with pytest.raises(GraspPlannerError, match="member 2 differs"):
        Ensemble([Member(), Member(), wide])


class Windy(Member):
    """A stochastic model, whose noise (wind) is larger on the right."""

    def distribution(self, states, actions):
        mean = self(states, actions)
        return mean, 0.1 + 0.2 * torch.relu(states[:, -1])


def test_sampled_futures_are_fixed_and_stepped_apart():
    model = Sampled(Windy(), samples=4, seed=5)
    assert isinstance(Windy(), Stochastic) and not isinstance(Member(), Stochastic)
    start = model.encode({"state": torch.randn(3, 1, 2)})
    assert start.shape == (3, 1, 9) and bool((start[..., -1] == 0).all())
    problem = posed(model, [0.5, -0.5], [1.0, 1.0], 6)
    actions = torch.randn(1, 6, 2)
    states = problem.rollout(actions)
    torch.testing.assert_close(problem.rollout(actions), states, rtol=0, atol=0)
    assert states[0, :, -1].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    wind = Windy()
    for i in range(4):
        z = torch.tensor([[0.5, -0.5]])
        for t in range(6):
            mean, std = wind.distribution(z[:, None], actions[:, t : t + 1])
            z = mean + std * model.noise[t, i]
            torch.testing.assert_close(states[:, t, 2 * i : 2 * i + 2], z)
    ends = states[0, -1, :-1].reshape(4, 2)
    expected = ((ends - 1.0) / torch.tensor([2.0, 0.5])).square().sum(-1).mean()
    torch.testing.assert_close(problem.cost(states, actions)[0], expected)
    other = Sampled(Windy(), samples=4, seed=6)
    assert not torch.allclose(posed(other, [0.5, -0.5], [1.0, 1.0], 6).rollout(actions), states)


def test_sampled_noise_is_standard_normal_and_independent_over_time():
    noise = Sampled(Windy(), samples=64, steps=64).noise
    assert abs(float(noise.mean())) < 0.05 and abs(float(noise.std()) - 1) < 0.05
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.05


@pytest.mark.parametrize("planner", [GD(), GRASP(sync_every=10, sync_steps=5), CEM(samples=64, elites=8)])
def test_plans_against_samples_hedge(planner):
    """There is noise where z_i > 0 at the start of a step. Waiting there has a cost that only samples show."""
    goal = [0.0, 0.0]

    class Gusts(Member):
        def distribution(self, states, actions):
            return self(states, actions), torch.relu(states[:, -1]) + 0.0 * actions[:, -1]

    fresh = Sampled(Gusts(), samples=256, seed=99)
    costs = []
    for model in (Gusts(), Sampled(Gusts(), samples=16)):
        objective = GoalDistance() if isinstance(model, Gusts) else None
        problem = posed(model, [1.0, 1.0], goal, 6, objective)
        found = plan(problem, planner, Budget(steps=60), warm_start=torch.zeros(1, 6, 2))
        judged = posed(fresh, [1.0, 1.0], goal, 6)
        costs.append(float(judged.cost(judged.rollout(found.actions), found.actions).detach()))
    assert costs[1] < costs[0]


def test_members_as_a_distribution():
    model = ensemble()
    mean, std = model.distribution(torch.randn(4, 1, 3), torch.randn(4, 1, 2))
    assert mean.shape == std.shape == (4, 3) and bool((std[:, -1] == 0).all())
    futures = Sampled(model, samples=3)
    assert futures.scale.shape == (10,) and futures.goal_weights.sum() == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampled(Member()), "distribution"),
        (lambda: Sampled(Windy(), samples=0), "samples must be an integer >= 1"),
        (lambda: Sampled(Windy(), steps=True), "steps must be an integer >= 1"),
    ],
)
def test_settings_that_do_not_fit(make, message):
    with pytest.raises(GraspPlannerError, match=message):
        make()


def test_members_are_left_in_their_mode():
    members = [Member(0.1).train(), Member(0.2).train()]
    plan(posed(Ensemble(members), [0.0, 0.0], [1.0, 1.0], 3), GD(), Budget(steps=2))
    assert all(m.training and m.slope.requires_grad and m.slope.grad is None for m in members)
