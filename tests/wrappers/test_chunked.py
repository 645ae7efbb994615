"""Chunked: the model's own predictions and gradients, in bounded memory."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toys
from grasp_planner import GD, GRASP, Agent, Budget, Chunked, GraspPlannerError, Markov, plan
from grasp_planner.wrappers.chunked import peak_bytes
from grasp_planner.wrappers.live_bytes import LiveBytes


def gradients(model, states, actions):
    states, actions = states.clone().requires_grad_(), actions.clone().requires_grad_()
    out = model(states, actions)
    return out.detach(), *torch.autograd.grad(
        (out * torch.arange(1.0, out.numel() + 1).view_as(out)).sum(), [states, actions]
    )


@given(count=st.integers(1, 40), rows=st.integers(1, 50), context=st.integers(1, 3))
def test_answers_and_gradients_are_the_models(count, rows, context):
    model = toys.Nonlinear() if context == 1 else toys.Remembering(context)
    states, actions = toys.fixed(count, context, 3, seed=1), toys.fixed(count, context, 2, seed=2)
    for mine, theirs in zip(
        gradients(Chunked(model, rows=rows), states, actions), gradients(model, states, actions), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_no_call_has_more_rows_and_none_is_wasted():
    inner = toys.Counted(toys.Nonlinear())
    states, actions = toys.fixed(23, 1, 3, seed=1), toys.fixed(23, 1, 2, seed=2)
    Chunked(inner, rows=10)(states, actions)
    assert inner.rows == [8, 8, 7]
    inner.rows.clear()
    Chunked(inner, rows=23)(states, actions)
    assert inner.rows == [23]
    inner.rows.clear()
    gradients(Chunked(inner, rows=23), states, actions)
    assert inner.rows == [23], "what fits is not evaluated twice"
    inner.rows.clear()
    gradients(Chunked(inner, rows=10), states, actions)
    assert sorted(inner.rows) == [7, 7, 8, 8, 8, 8], "what does not fit is evaluated once more for its gradient"


def test_a_long_rollout_keeps_no_more_than_the_limit():
    inner = toys.Counted(toys.Nonlinear())
    problem = toys.problem(4, 10, Chunked(inner, rows=12))
    actions = torch.zeros(4, 10, 2, dtype=torch.float64, requires_grad=True)
    (mine,) = torch.autograd.grad(problem.rollout(actions)[:, -1].sum(), actions)
    assert len(inner.rows) == 10 + 7, "three steps of four rows are kept, seven are made again"
    (theirs,) = torch.autograd.grad(toys.problem(4, 10).rollout(actions)[:, -1].sum(), actions)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_what_was_kept_is_let_go():
    chunked = Chunked(toys.Nonlinear(), rows=100)
    plan(toys.problem(4, 10, chunked), GD(), Budget(steps=5))
    gc.collect()
    assert chunked._kept == 0
    states, actions = toys.fixed(4, 1, 3, seed=1), toys.fixed(4, 1, 2, seed=2).requires_grad_()
    out = chunked(states, actions)
    assert chunked._kept == 4
    del out
    assert chunked._kept == 0


class Wide(torch.nn.Module):
    context = 1

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(10, 512), torch.nn.SiLU(), torch.nn.Linear(512, 8))

    def forward(self, states, actions):
        return self.net(torch.cat([states, actions], dim=2))[:, 0]


@pytest.mark.parametrize("memory", [100_000, 1_000_000])
@pytest.mark.parametrize("graph", [False, True])
def test_memory_is_bounded_and_used(memory, graph):
    model = Wide().requires_grad_(False)
    states, actions = torch.randn(2000, 1, 8), torch.randn(2000, 1, 2, requires_grad=graph)

    def peak(dynamics) -> int:
        dynamics(states[:1], actions[:1])  # rows are measured before the count starts
        with LiveBytes() as live:
            out = dynamics(states, actions)
            if graph:
                torch.autograd.grad(out.sum(), actions)
        return live.peak

    with torch.set_grad_enabled(graph):
        mine, whole = peak(Chunked(model, memory=memory)), peak(model)
    around = 3 * 2000 * 10 * 4  # the concatenated predictions and gradients of the pieces
    assert mine < memory + around < whole
    assert mine > 0.3 * memory


def test_a_rollout_of_gradient_descent_stays_within_the_limit():
    problem = toys.problem(2, 60, Wide().requires_grad_(False), latent=8, dtype=torch.float32)
    chunked = problem.through(Chunked(problem.dynamics, memory=100_000))
    plan(chunked, GD(), Budget(steps=1))
    peaks = []
    for whole in (problem, chunked):
        with LiveBytes() as live:
            plan(whole, GD(), Budget(steps=2))
        peaks.append(live.peak)
    assert peaks[1] < 0.5 * peaks[0]


def test_memory_grows_with_rows_as_measured():
    model = Wide().requires_grad_(False)
    state, action = torch.zeros(1, 1, 8), torch.zeros(1, 1, 2)
    one, two, ten = (peak_bytes(model, state, action, rows, True) for rows in (1, 2, 10))
    assert one > 512 * 4 and ten - one == pytest.approx(9 * (two - one), rel=0.05)


@pytest.mark.parametrize(
    "limits", [{}, {"rows": 3, "memory": 5}, {"rows": 0}, {"memory": 0}, {"rows": 2.0}, {"memory": True}, {"rows": -1}]
)
def test_limits_that_make_no_sense(limits):
    with pytest.raises(GraspPlannerError, match="Chunked"):
        Chunked(toys.Nonlinear(), **limits)


def test_memory_for_less_than_one_row():
    with pytest.raises(GraspPlannerError, match="one row of this model, which takes"):
        Chunked(toys.Nonlinear(), memory=10)(torch.zeros(5, 1, 3).double(), torch.zeros(5, 1, 2).double())


def test_a_model_that_writes_to_its_input_sees_it_as_it_was():
    def rude(state, action):
        state.mul_(2.0)
        return state + action

    states, actions = toys.fixed(6, 1, 2, seed=1), toys.fixed(6, 1, 2, seed=2).requires_grad_()
    (mine,) = torch.autograd.grad(Chunked(Markov(rude), rows=2)(states.clone(), actions).square().sum(), actions)
    (theirs,) = torch.autograd.grad(Markov(rude)(states.clone(), actions).square().sum(), actions)
    torch.testing.assert_close(mine, theirs)


def test_random_numbers_are_left_alone():
    problem = toys.problem(3, 4, Chunked(toys.Nonlinear(), rows=2))
    before = torch.get_rng_state()
    plan(problem, GRASP(sync_every=2, sync_steps=2), Budget(steps=3))
    assert torch.equal(before, torch.get_rng_state())


def test_an_agent_plans_in_the_dynamics_it_is_given():
    class World:
        context, frameskip = 1, 1
        low, high, scale = -torch.ones(2), torch.ones(2), torch.ones(2)

        def __call__(self, states, actions):
            return states[:, -1] + 0.3 * actions[:, -1]

        def encode(self, observations):
            return observations["x"]

    counting = toys.Counted(World())
    acted = []
    for dynamics in (None, Chunked(counting, rows=3)):
        agent = Agent(World(), GRASP(sync_every=2, sync_steps=2), Budget(steps=4), horizon=5, dynamics=dynamics)
        acted.append(agent.act({"x": torch.zeros(2)}, {"x": torch.ones(2)}))
    assert max(counting.rows) == 3
    torch.testing.assert_close(*map(torch.as_tensor, acted))
