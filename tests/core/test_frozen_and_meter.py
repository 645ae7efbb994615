"""The meter, the search for modules, and the freezing of modules."""

from __future__ import annotations

import functools
import time

import pytest
import torch
from torch import nn

import toys
from grasp_planner import GraspPlannerError, Markov, Status
from grasp_planner.core.frozen import frozen
from grasp_planner.core.reachable import modules_in
from grasp_planner.planning.meter import BudgetSpent, Meter

GLOBAL_NET = nn.Linear(2, 2)
GLOBAL_PARTS = {"net": GLOBAL_NET}


def uses_global(state, action):
    return GLOBAL_NET(state)


def calls_what_uses_global(state, action):
    return uses_global(state, action)


def test_the_meter_counts_calls_and_rows():
    meter = Meter(toys.Nonlinear())
    assert meter.context == 1
    for rows in (3, 1, 10):
        out = meter(torch.zeros(rows, 1, 3).double(), torch.zeros(rows, 1, 2).double())
        assert out.shape == (rows, 3)
    assert (meter.calls, meter.rows) == (3, 14)


def test_the_meter_refuses_the_call_that_would_overrun():
    meter = Meter(toys.Nonlinear())
    meter.most_rows = 5
    states, actions = torch.zeros(3, 1, 3).double(), torch.zeros(3, 1, 2).double()
    meter(states, actions)
    with pytest.raises(BudgetSpent) as spent:
        meter(states, actions)
    assert spent.value.status == Status.BUDGET and (meter.calls, meter.rows) == (1, 3)
    meter(states[:2], actions[:2])
    assert meter.rows == 5, "up to the limit, and not beyond"


def test_the_meter_starts_no_call_after_the_deadline():
    meter = Meter(toys.Nonlinear())
    meter.deadline = time.perf_counter() + 1000.0
    states, actions = torch.zeros(3, 1, 3).double(), torch.zeros(3, 1, 2).double()
    meter(states, actions)
    meter.deadline = time.perf_counter()
    with pytest.raises(BudgetSpent) as spent:
        meter(states, actions)
    assert spent.value.status == Status.DEADLINE and meter.calls == 1


def test_the_meter_asks_for_some_problems_alone_and_hands_back_the_states_of_the_others():
    asked = []

    def step(state, action):
        asked.append(len(state))
        return state + 1.0

    meter = Meter(Markov(step))
    meter.answer_only(torch.tensor([False, True, False, True]))
    states = torch.arange(24.0).reshape(8, 1, 3)
    out = meter(states, torch.zeros(8, 1, 2))
    moved = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])[:, None]
    assert torch.equal(out, states[:, 0] + moved) and asked == [4] and meter.rows == 8 and meter.largest == 4


@pytest.mark.parametrize("wrong", [lambda out: out, lambda out: out[:-1], lambda out: out.tolist()])
def test_a_wrong_answer_for_some_problems_is_refused_as_ever(wrong):
    problem = toys.problem(3, 2, Markov(lambda s, a: wrong((s + a.sum(-1, keepdim=True)).float())))
    meter = Meter(problem.dynamics)
    meter.answer_only(torch.tensor([True, False, True]))
    with pytest.raises(GraspPlannerError, match="must return"):
        problem.through(meter).rollout(torch.zeros(3, 2, 2).double())


def found(thing) -> list[nn.Module]:
    return modules_in(thing)


@pytest.mark.parametrize(
    "model",
    [
        GLOBAL_NET,
        uses_global,
        calls_what_uses_global,
        Markov(uses_global),
        Markov(functools.partial(uses_global)),
        Markov(functools.partial(lambda net, s, a: net(s), GLOBAL_NET)),
        Markov(lambda s, a: GLOBAL_PARTS["net"](s)),
        Markov(lambda s, a: [GLOBAL_NET(row) for row in s]),
        GLOBAL_NET.forward,
        {"deep": [({"down": GLOBAL_NET},)]},
        {GLOBAL_NET},
        Meter(Markov(uses_global)),
        functools.partial(calls_what_uses_global),
        functools.lru_cache(uses_global),
    ],
)
def test_modules_are_found(model):
    assert found(model) == [GLOBAL_NET]


@pytest.mark.parametrize(
    "thing", [None, 3, "text", torch.zeros(3), nn.Module, torch, toys.linear(), len, object(), [], {}]
)
def test_where_there_are_none(thing):
    assert found(thing) == []


def test_several_things_and_each_module_once():
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    assert modules_in(first, [second, first], {"again": second}) == [first, second]


def test_circles_end():
    ring: list = []
    ring.append(ring)
    ring.append(GLOBAL_NET)
    assert found(ring) == [GLOBAL_NET]

    class Node:
        def __init__(self) -> None:
            self.me, self.net = self, GLOBAL_NET

    assert found(Node()) == [GLOBAL_NET]


def test_looking_runs_no_code_of_the_model():
    class Touchy:
        context = 1

        @property
        def net(self):
            raise AssertionError("a property was run")

        def __getattr__(self, name):
            raise AttributeError(name)

        def __call__(self, states, actions):
            return states[:, -1]

    assert found(Touchy()) == []


def test_a_large_container_is_looked_through_quickly():
    class Holder:
        def __init__(self) -> None:
            self.data, self.net = list(range(100_000)), GLOBAL_NET

    started = time.process_time()
    assert found(Holder()) == [GLOBAL_NET]
    assert time.process_time() - started < 1.0


def test_frozen_and_thawed():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    net[1].eval()
    net[0].bias.requires_grad_(False)
    with frozen(net):
        assert not any(module.training for module in net.modules())
        assert not any(parameter.requires_grad for parameter in net.parameters())
    assert [module.training for module in net] == [True, False, True] and net.training
    assert not net[0].bias.requires_grad and net[0].weight.requires_grad


def test_thawed_after_an_exception():
    net = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="mine"), frozen(net):
        raise RuntimeError("mine")
    assert net.training and net.weight.requires_grad


def test_a_train_method_with_a_mind_of_its_own_is_not_called():
    class Stubborn(nn.Module):
        def train(self, mode: bool = True):
            raise AssertionError("train() or eval() was called")

        def eval(self):
            raise AssertionError("eval() was called")

    net = Stubborn()
    with frozen(net):
        assert not net.training
    assert net.training


def test_parameters_that_two_modules_share_and_modules_that_are_used_twice():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    twice = nn.Sequential(net, net)
    with frozen(twice, net):
        assert not net[0].weight.requires_grad
    assert net[0].weight.requires_grad and net.training


def test_overlapping_calls_wake_the_model_when_the_last_one_ends():
    net = nn.Linear(2, 2).train()
    first, second = frozen(net), frozen(net)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the first call to begin is the first to end, which can happen with threads
    assert not net.training and not net.weight.requires_grad
    second.__exit__(None, None, None)
    assert net.training and net.weight.requires_grad


def test_a_parameter_shared_with_a_model_that_is_frozen_longer():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.weight = one.weight
    first, second = frozen(one), frozen(other)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert one.training and not other.training and not one.weight.requires_grad and one.bias.requires_grad
    second.__exit__(None, None, None)
    assert other.training and one.weight.requires_grad


def test_nothing_is_remembered_of_a_model():
    from grasp_planner.core import frozen as frozen_module

    with frozen(nn.Linear(2, 2)):
        assert len(frozen_module._HELD) == 3
    assert not frozen_module._HELD
