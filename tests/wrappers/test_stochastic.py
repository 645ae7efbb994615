"""Action noise in sampled futures, and the mean cost of the worst samples (CVaR)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import toys
from grasp_planner import (
    CEM,
    GD,
    Budget,
    Constrained,
    DiscountedReturn,
    GaussNewton,
    GoalDistance,
    GraspPlannerError,
    Margin,
    Problem,
    always,
    load_world_model,
    plan,
)
from grasp_planner.domains.ball_nav.environment import BallNav as Environment
from grasp_planner.models import CVaR, Sampled, check_world_model
from grasp_planner.models.ball_nav import BallNav

GAIN = 0.5


class Line:
    """The model s' = s + GAIN * (sum of the actions in a block), in float64; actions are in the environment's units."""

    context = 1

    def __init__(self, frameskip: int = 1, bound: float = 1.0) -> None:
        self.frameskip = frameskip
        self.low = torch.full((frameskip,), -bound, dtype=torch.float64)
        self.high, self.scale = -self.low, torch.ones(1, dtype=torch.float64)

    def __call__(self, states, actions):
        return states[:, -1] + GAIN * actions[:, -1].sum(-1, keepdim=True)

    def encode(self, observations):
        return torch.as_tensor(observations["state"], dtype=torch.float64)


class Averaging:
    """A model of context 3, whose next state is the newest state plus weighted actions of the whole window.

    A model action is an environment action divided by 2.
    """

    context, frameskip = 3, 1
    low, high, scale = -torch.ones(2).double(), torch.ones(2).double(), torch.ones(2).double()

    def __call__(self, states, actions):
        return states[:, -1] + (torch.tensor([0.1, 0.2, 0.4]).double()[:, None] * actions).sum(1)

    def encode(self, observations):
        return torch.as_tensor(observations["state"], dtype=torch.float64)

    def environment_actions(self, actions):
        return 2.0 * actions[..., None, :]

    def model_actions(self, actions):
        return actions[..., 0, :] / 2.0


def posed(model, goal, horizon, objective=None):
    """Return the problem from 0 to a goal; ``None``: an objective of rewards, without a goal."""
    start = {"state": torch.zeros(1, 1, 1)}
    goals = None if goal is None else {"state": torch.full((1, 1, 1), float(goal))}
    return Problem.observed(model, start, goals, horizon, objective=objective)


def noises(futures, horizon):
    """Return the sum of the action noise over the horizon, in units of the state: one number for each sample."""
    return GAIN * futures.action_errors[:horizon].sum((0, 2))


@pytest.mark.parametrize("planner", [GaussNewton(), GD(lr=0.02)])
def test_a_linear_model_and_a_quadratic_cost_have_the_certainty_equivalent_plan(planner):
    """The plan on samples is the plan without noise to the goal minus the mean effect of the noise."""
    horizon, goal = 4, 1.2
    futures = Sampled(Line(), samples=8, action_noise=0.4)
    shift = noises(futures, horizon)
    sampled = plan(posed(futures, goal, horizon), planner, Budget(steps=300))
    certain = plan(posed(Line(), goal - shift.mean(), horizon), planner, Budget(steps=300))
    torch.testing.assert_close(sampled.actions.sum(), certain.actions.sum(), rtol=0, atol=5e-3)
    torch.testing.assert_close(sampled.cost[0], shift.var(correction=0), rtol=1e-3, atol=0)
    many = Sampled(Line(), samples=4096, steps=horizon, action_noise=0.4)
    assert abs(float(noises(many, horizon).mean())) < 4 * 0.4 * GAIN * horizon**0.5 / 64, "it vanishes with the samples"


def test_the_noise_is_added_in_the_units_of_the_environment_and_clipped_by_it():
    """A block of five pushes of pusht-state, by hand."""
    model = load_world_model("pusht-state")
    futures = Sampled(model, samples=3, action_noise=0.2, action_bounds=(-0.3, 0.3), seed=4)
    states = futures.encode({"state": 200 + 50 * torch.rand(2, 1, 7)})
    actions = 0.5 * torch.randn(2, 1, 10)
    after = futures(states, actions)
    assert after[:, -1].tolist() == [1.0, 1.0]
    for i in range(3):
        pushes = model.environment_actions(actions[:, 0]) + futures.action_errors[0, i].reshape(5, 2)
        assert (pushes.abs() > 0.3).any()
        expected = model(states[:, :, 8 * i : 8 * i + 8], model.model_actions(pushes.clamp(-0.3, 0.3))[:, None])
        torch.testing.assert_close(after[:, 8 * i : 8 * i + 8], expected)
    assert not torch.allclose(after[:, :8], after[:, 8:16]), "samples differ"


def test_every_action_of_a_window_has_the_noise_of_its_own_time():
    futures = Sampled(Averaging(), samples=2, action_noise=0.3)
    states = torch.cat([torch.randn(1, 3, 2).double().repeat(1, 1, 2), torch.zeros(1, 3, 1).double()], dim=-1)
    past, actions = torch.randn(1, 2, 2).double(), torch.randn(1, 5, 2).double()
    problem = Problem(futures, states, past, states[:, -1], 5, futures.low, futures.high, scale=futures.scale)
    rolled_out = problem.rollout(actions)
    before = torch.cat([problem.start[:, None], rolled_out[:, :-1]], dim=1)
    torch.testing.assert_close(problem.predict(before, actions), rolled_out)
    for i in range(2):
        executed = torch.cat([past, actions + futures.action_errors[:5, i] / 2.0], dim=1)  # no noise before the plan
        here = states[:, -1, 2 * i : 2 * i + 2]
        for t in range(5):
            here = here + (torch.tensor([0.1, 0.2, 0.4]).double()[:, None] * executed[:, t : t + 3]).sum(1)
            torch.testing.assert_close(rolled_out[:, t, 2 * i : 2 * i + 2], here)


def test_samples_of_ball_nav_are_what_the_environment_does_with_the_same_noise():
    futures = Sampled(BallNav("cup"), samples=3, action_noise=0.4, action_bounds=(-1.0, 1.0), seed=2)
    env, start = Environment(map="cup"), np.array([2.0, 4.5])
    blocks = torch.rand(1, 6, 10).double() * 2 - 1
    blocks[..., 0::2] = 0.9  # against the wall of the cup
    states = futures.encode({"state": start[None, None]})
    past = torch.zeros(1, 0, 10).double()
    problem = Problem(futures, states, past, states[:, -1], 6, futures.low, futures.high, scale=futures.scale)
    rolled_out = problem.rollout(blocks)
    for i in range(3):
        env.reset(seed=0, options={"state": start})
        for t in range(6):
            for push in (blocks[0, t] + futures.action_errors[t, i]).reshape(5, 2).numpy():
                env.step(push)
            np.testing.assert_allclose(rolled_out[0, t, 2 * i : 2 * i + 2].numpy(), env.get_state(), atol=1e-9)


MODELS = {
    "context-3": Averaging,
    "frameskip-2": lambda: Line(frameskip=2),
    "pusht-state": lambda: load_world_model("pusht-state"),
    "ball-nav": BallNav,
}


@pytest.mark.parametrize("name", MODELS)
def test_sampled_futures_with_action_noise_are_a_world_model(name):
    report = check_world_model(Sampled(MODELS[name](), samples=3, action_noise=0.2, action_bounds=(-2.0, 2.0)))
    assert report.ok, str(report)


def test_the_cvar_of_known_costs():
    """Costs 1, 9, 4, 0, 25: each latent is a sample, and the cost is its square."""
    states, goal = torch.tensor([[1.0, -3.0, 2.0, 0.0, 5.0, 7.0]]).double(), torch.zeros(1, 6).double()
    expected = {1.0: 39 / 5, 0.8: 39 / 4, 0.6: 38 / 3, 0.5: (25 + 9 + 0.5 * 4) / 2.5, 0.4: 17.0, 0.2: 25.0, 0.01: 25.0}
    for alpha, value in expected.items():
        torch.testing.assert_close(
            CVaR(GoalDistance(), 5, alpha).terminal(states, goal), torch.tensor([value]).double()
        )
    objective = CVaR(GoalDistance(stage_weight=0.5, effort=2.0), 5, 0.4)
    actions = torch.tensor([[3.0]]).double()
    torch.testing.assert_close(objective.stage(states, actions, goal), torch.tensor([0.5 * 17.0 + 18.0]).double())
    states.requires_grad_()
    CVaR(GoalDistance(), 5, 0.5).terminal(states, goal).sum().backward()
    gradient = torch.tensor([[0.0, -6.0, 0.5 * 4.0, 0.0, 10.0, 0.0]]).double() / 2.5
    torch.testing.assert_close(states.grad, gradient)


def test_the_cvar_of_a_normal_distribution():
    """CVaR_alpha of a standard normal cost is density(quantile) / alpha."""
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    costs = normal.icdf((torch.arange(4000).double() + 0.5) / 4000)
    objective = CVaR(DiscountedReturn(lambda s, a: 0 * a[..., 0], lambda s: -s[..., 0], 1.0), 4000, 0.1)
    expected = normal.log_prob(normal.icdf(torch.tensor(0.9).double())).exp() / 0.1
    found = objective.terminal(torch.cat([costs, torch.zeros(1).double()]), torch.zeros(4001).double())
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_faulty_samples_are_the_worst():
    states, goal = torch.tensor([[1.0, float("nan"), 2.0, float("inf"), 0.0]]), torch.zeros(1, 5)
    assert CVaR(GoalDistance(), 4, 0.25).terminal(states, goal).isnan().all()
    states[0, 1] = float("inf")  # two of four samples are infinite, of which one counts
    assert CVaR(GoalDistance(), 4, 0.25).terminal(states, goal).tolist() == [float("inf")]


def test_alpha_one_is_the_mean_over_samples():
    futures = Sampled(Line(), samples=8, action_noise=0.3)
    actions = torch.rand(1, 3, 1).double()
    by_weights = posed(futures, 1.0, 3, GoalDistance(futures.goal_weights, stage_weight=0.2, effort=0.1))
    by_samples = posed(futures, 1.0, 3, CVaR(GoalDistance(stage_weight=0.2, effort=0.1), 8, 1.0))
    states = by_weights.rollout(actions)
    torch.testing.assert_close(by_samples.cost(states, actions), by_weights.cost(states, actions))


def cliff(edge: float, slope: float) -> DiscountedReturn:
    """Return rewards for driving far, except beyond an edge."""
    return DiscountedReturn(
        lambda states, actions: 0 * actions[..., 0],
        lambda states: states[..., 0] - slope * torch.relu(states[..., 0] - edge),
        discount=1.0,
    )


def best_end(shift, edge, slope, alpha):
    """Return the best end without noise, by brute force: the end of sample k is this end plus the noise of sample k."""
    ends = torch.linspace(edge - 2.0, edge + 0.5, 5001).double()
    costs = -cliff(edge, slope).value((ends[:, None] + shift)[..., None])
    worst = costs.sort(dim=1, descending=True).values[:, : round(alpha * len(shift))].mean(1)
    return float(ends[worst.argmin()]), float(worst.min())


@pytest.mark.parametrize("planner", [GD(lr=0.01), CEM(samples=64, elites=8)])
def test_a_risk_averse_plan_keeps_away_from_a_cliff(planner):
    horizon, edge, slope, samples = 6, 1.5, 10.0, 64
    futures = Sampled(Line(), samples, action_noise=0.3)
    shift, ends = noises(futures, horizon), []
    certain = plan(posed(Line(), None, horizon, cliff(edge, slope)), planner, Budget(steps=300))
    assert abs(float(certain.states[0, -1, 0]) - edge) < 0.02, "without noise, the plan ends at the edge"
    for alpha in (1.0, 0.25):
        objective = CVaR(cliff(edge, slope), samples, alpha)
        found = plan(posed(futures, None, horizon, objective), planner, Budget(steps=300))
        end, cost = best_end(shift, edge, slope, alpha)
        assert float(found.cost) < cost + 0.01
        ends.append(float(GAIN * found.actions.sum()))
        assert abs(ends[-1] - end) < 0.1
    assert edge - ends[0] > 0.2 and ends[0] - ends[1] > 0.05, "risk aversion doubles as distance"


def test_the_same_seed_has_the_same_futures_and_another_seed_other_futures():
    objective = CVaR(GoalDistance(), 4)
    problems = [posed(Sampled(Line(), 4, action_noise=0.3, seed=seed), 1.0, 3, objective) for seed in (0, 0, 1)]
    first, again, other = (plan(one, CEM(samples=16, elites=4), Budget(steps=5), seeds=3) for one in problems)
    assert toys.same(first, again) and not torch.equal(first.cost, other.cost)


class Windy(Line):
    """The line with noise on its state, of standard deviation 0.1."""

    def distribution(self, states, actions):
        return self(states, actions), torch.full_like(states[:, -1], 0.1)


def test_noise_of_states_is_the_same_with_and_without_noise_of_actions():
    plain, both = Sampled(Windy(), 4, seed=5), Sampled(Windy(), 4, seed=5, action_noise=0.2)
    assert torch.equal(plain.noise, both.noise)
    states, actions = plain.encode({"state": torch.zeros(1, 1, 1)}), torch.zeros(1, 1, 1).double()
    torch.testing.assert_close(both(states, actions), plain(states, actions) + add_time(GAIN * both.action_errors[0]))
    together = torch.corrcoef(torch.stack([both.noise.flatten(), both.action_errors.flatten()]))[0, 1]
    assert abs(float(together)) < 4 / both.noise.numel() ** 0.5


def add_time(samples):
    """Return numbers of samples (k, 1) as a latent (1, k + 1), whose time is 0."""
    return torch.cat([samples[:, 0], torch.zeros(1).double()])[None]


ALONE = GoalDistance()
CALM = Constrained(ALONE, always(Margin(lambda states, actions: states[..., 0])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampled(Line()), "or action_noise > 0, got Line without action noise"),
        (lambda: Sampled(Line(), action_noise=-0.1), r"Sampled\.action_noise must be a number >= 0, got -0\.1"),
        (lambda: Sampled(Line(), action_noise=float("nan")), r"Sampled\.action_noise must be a number >= 0"),
        (lambda: Sampled(Line(), action_noise=0.1, action_bounds=(1.0, -1.0)), r"action_bounds must be \(low, high\)"),
        (lambda: Sampled(Line(), action_noise=0.1, action_bounds=(1.0,)), r"action_bounds must be \(low, high\)"),
        (lambda: Sampled(Windy(), action_bounds=(-1.0, 1.0)), r"got \(-1\.0, 1\.0\) without action_noise"),
        (lambda: CVaR(ALONE, samples=0), r"CVaR\.samples must be an integer >= 1"),
        (lambda: CVaR(ALONE, samples=4, alpha=1.5), r"CVaR\.alpha must be a number from 0 to 1"),
        (lambda: CVaR(ALONE, samples=4, alpha=0.0), r"CVaR\.alpha must be above 0"),
        (lambda: CVaR(CALM, samples=4), r"use Constrained\(CVaR\(objective, samples\), event\)"),
    ],
)
def test_settings_that_do_not_fit(make, message):
    with pytest.raises(GraspPlannerError, match=message):
        make()


@pytest.mark.parametrize("size", [4, 8, 10])
def test_latents_of_another_number_of_samples(size):
    latents = torch.zeros(1, size)
    with pytest.raises(GraspPlannerError, match=f"needs latents of 4 samples .* got latents of {size} numbers"):
        CVaR(ALONE, 4).terminal(latents, latents)


def test_a_planner_for_sums_of_squares_says_what_to_use_instead():
    problem = posed(Sampled(Line(), 4, action_noise=0.3), 1.0, 3, CVaR(GoalDistance(), 4))
    with pytest.raises(GraspPlannerError, match="sum of squares, such as GoalDistance, got CVaR: use "):
        plan(problem, GaussNewton(), Budget(steps=2))
    assert plan(problem, budget=Budget(steps=20)).cost.isfinite().all(), "plan() has a planner for it"
