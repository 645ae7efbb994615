"""Learned policies: their inputs, their rollouts in a model, as initial actions of planners, files and errors."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

import toys
from grasp_planner import GD, Budget, DiscountedReturn, GraspPlannerError, Markov, MultiStart, Problem, plan
from grasp_planner.core.plans import score
from grasp_planner.models import LearnedPolicy, LearnedPolicyConfig
from grasp_planner.planners import PLANNERS

MODELS = {"linear": toys.linear(), "nonlinear": toys.Nonlinear(), "history": toys.Remembering(context=3)}


def policy_of(latent: int = 3, action: int = 2, horizon: int = 6, seed: int = 0) -> LearnedPolicy:
    """Return a policy with random weights and statistics, whose actions are well above zero."""
    made = LearnedPolicy(LearnedPolicyConfig(latent, action, horizon, width=16, depth=2))
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(0.5 * toys.fixed(*parameter.shape, seed=100 * seed + number))
        made.scale.copy_(torch.arange(1, latent + 1) / 2)
        made.mean.copy_(torch.full((action,), 0.1))
        made.std.copy_(torch.full((action,), 0.7))
    return made.eval().requires_grad_(False)


def test_the_network_reads_the_way_to_the_goal_and_the_steps_that_are_left():
    policy = policy_of()
    policy.counted[2] = 0.0
    states, goals = (toys.fixed(5, 3, seed=seed, dtype=torch.float32) for seed in (1, 2))
    steps = torch.tensor([1, 2, 4, 6, 9])  # 9 is above the horizon of 6
    k = steps.clamp(max=6)[:, None]
    away = torch.tensor([1.0, 1.0, 0.0]) * (goals - states) / policy.scale
    inputs = torch.cat([states / policy.scale, away, away / k, k / 6], dim=1)
    expected = 0.1 + 0.7 * policy.network(inputs)
    torch.testing.assert_close(policy(states, goals, steps), expected)
    for row, number in enumerate(steps.tolist()):
        torch.testing.assert_close(policy(states[row], goals[row], number), expected[row])
    assert torch.equal(policy(states, goals, 0), policy(states, goals, 1))


def test_coordinates_that_do_not_count_are_not_read_from_a_goal():
    policy, other = policy_of(), torch.tensor([0.0, 0.0, 5.0])
    states, goals = torch.zeros(1, 3), torch.ones(1, 3)
    assert not torch.allclose(policy(states, goals + other, 3), policy(states, goals, 3))
    policy.counted[2] = 0.0
    assert torch.equal(policy(states, goals + other, 3), policy(states, goals, 3))
    assert not torch.allclose(policy(states + other, goals, 3), policy(states, goals, 3))


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_is_the_policy_along_its_own_rollout(name):
    problem, policy = toys.problem(4, 8, MODELS[name], bound=0.6), policy_of()
    actions = policy.actions(problem)
    states = torch.cat([problem.start[:, None], toys.rollout_by_hand(problem, actions)], dim=1)
    expected = [policy(states[:, t], problem.goal, 8 - t).clamp(-0.6, 0.6) for t in range(8)]
    torch.testing.assert_close(actions, torch.stack(expected, dim=1), rtol=1e-5, atol=1e-5)
    assert actions.dtype == torch.float64 and not actions.requires_grad
    assert (actions.abs() == 0.6).any() and (actions.abs() < 0.6).any(), "the test needs both"


def test_a_planner_can_ask_for_the_actions_of_its_normalised_problem():
    problem, policy = toys.problem(4, 5, toys.linear(), scale=torch.tensor([3.0, 0.5, 10.0]).double()), policy_of()
    torch.testing.assert_close(policy.actions(problem.normalised()), policy.actions(problem), rtol=1e-5, atol=1e-5)


def test_a_plan_does_not_depend_on_its_batch_mates():
    problem, policy = toys.problem(5, 6), policy_of()
    together = policy.actions(problem)
    for row in range(5):
        alone = policy.actions(toys.rows(problem, [row]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(policy.actions(toys.rows(problem, [3, 0])), together[[3, 0]], rtol=1e-5, atol=1e-5)


def test_nothing_else_changes():
    problem, policy = toys.problem(2, 4), policy_of().train()
    assert isinstance(problem.dynamics, toys.Nonlinear)
    before, states = torch.get_rng_state(), problem.states.clone()
    first = policy.actions(problem)
    assert torch.equal(policy.actions(problem), first)
    assert torch.equal(before, torch.get_rng_state()) and torch.equal(problem.states, states)
    assert policy.training and problem.dynamics.training and all(p.requires_grad for p in problem.dynamics.parameters())


def test_a_problem_whose_model_fails_has_a_finite_plan_and_leaves_the_others_alone():
    def step(state: Tensor, action: Tensor) -> Tensor:
        return torch.where(state[:, :1] > 5, torch.nan, state + 0.1 * action)

    start, goal = torch.tensor([[0.0, 1.0], [6.0, 1.0], [1.0, 0.0]]), torch.ones(3, 2)
    problem = Problem.between(Markov(step), start, goal, 6, low=-torch.ones(2), high=1)
    policy = policy_of(latent=2)
    actions = policy.actions(problem)
    assert actions.isfinite().all() and (actions.abs() <= 1).all()
    assert (actions[1, 1:] == 0).all() and (actions[1, 0] != 0).any()
    torch.testing.assert_close(actions[[0, 2]], policy.actions(toys.rows(problem, [0, 2])), rtol=1e-5, atol=1e-5)
    found = plan(problem, GD(), Budget(steps=2), warm_start=actions)
    assert found.actions.isfinite().all() and found.cost[[0, 2]].isfinite().all() and not found.cost[1].isfinite()


def test_bounds_that_leave_out_zero_hold_for_a_faulty_policy():
    problem, policy = toys.problem(2, 3), policy_of()
    problem = Problem.between(toys.linear(), problem.start, problem.goal, 3, low=torch.full((2,), 0.2).double(), high=1)
    policy.std.fill_(torch.nan)
    assert (policy.actions(problem) == problem.low).all()


@pytest.mark.parametrize("name", ["gd", "grasp", "cem", "gauss_newton", "random_shooting"])
def test_planning_begins_with_the_actions_of_the_policy(name):
    problem, policy = toys.problem(3, 5, bound=2.0), policy_of()
    first = policy.actions(problem)
    found = plan(problem, PLANNERS[name](), Budget(steps=2), warm_start=first)
    torch.testing.assert_close(found.trace.cost[0], score(problem, first).cost)
    assert (found.cost <= found.trace.cost[0]).all()


@dataclass(frozen=True)
class Watched(GD):
    """GD that keeps the initial actions of every start."""

    seen: list[Tensor] = field(default_factory=list, compare=False)

    def init(self, problem, actions, noise):
        self.seen.append(actions)
        return super().init(problem, actions, noise)


def test_one_start_of_many_is_the_policy_and_the_others_are_around_it():
    problem, policy, inner = toys.problem(3, 5, bound=50.0), policy_of(), Watched()
    first = policy.actions(problem)
    plan(problem, MultiStart(inner, starts=64, start_std=0.5), Budget(steps=1), warm_start=first)
    starts = inner.seen[0].unflatten(0, (3, 64))
    torch.testing.assert_close(starts[:, 0], first)
    around = starts[:, 1:] - first[:, None]
    assert abs(float(around.std()) - 0.5) < 0.05 and abs(float(around.mean())) < 0.05


def test_a_policy_is_saved_and_loaded(tmp_path):
    policy = policy_of()
    policy.counted[1] = 0.0
    found = LearnedPolicy.from_pretrained(policy.save_pretrained(tmp_path))
    states, goals = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(found(states, goals, 3), policy(states, goals, 3)) and found.config == policy.config
    assert not found.training and not any(p.requires_grad for p in found.parameters())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(GraspPlannerError, match=r"model\.safetensors is not a whole safetensors file"):
        LearnedPolicy.from_pretrained(tmp_path)


def test_states_and_goals_of_another_size():
    """A state of one number would be broadcast to all coordinates."""
    for states, goals in ((torch.zeros(4, 1), torch.zeros(4, 3)), (torch.zeros(4, 3), torch.zeros(4, 1))):
        with pytest.raises(GraspPlannerError, match="needs latents of 3 and model actions of 2 numbers, got 1 and 2"):
            policy_of()(states, goals, 2)


def test_a_saved_scale_of_zero_is_refused(tmp_path):
    """All actions would be replaced with zeros, because they are not finite."""
    policy = policy_of()
    policy.scale[1] = 0.0
    policy.save_pretrained(tmp_path)
    with pytest.raises(GraspPlannerError, match=r"model\.safetensors: scale must be above 0 in every place, got 0\.0"):
        LearnedPolicy.from_pretrained(tmp_path)


def test_problems_that_do_not_fit():
    policy = policy_of()
    with pytest.raises(GraspPlannerError, match="needs latents of 3 and model actions of 2 numbers, got 4 and 2"):
        policy.actions(toys.problem(2, 3, latent=4))
    with pytest.raises(GraspPlannerError, match="got 3 and 1: train a policy for this model"):
        policy.actions(toys.problem(2, 3, action=1))
    rewards = toys.problem(2, 3).under(DiscountedReturn(lambda states, actions: -states[..., 0].square()))
    with pytest.raises(GraspPlannerError, match="needs an objective with a goal, got DiscountedReturn"):
        policy.actions(rewards)


@pytest.mark.parametrize("name", ["latent_size", "action_size", "horizon", "width", "depth"])
def test_wrong_configurations(name):
    with pytest.raises(GraspPlannerError, match=f"LearnedPolicyConfig.{name} must be an integer >= 1, got 0"):
        LearnedPolicyConfig(**{"latent_size": 3, "action_size": 1, "horizon": 4, name: 0})
