"""Planning leaves the model and the inputs unchanged, for every kind of model and every way in which planning ends."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import gc
import os
import random
import sys
import types
import weakref

import numpy
import pytest
import torch
from contract_rows import Row, every_row, some_rows
from torch import Tensor, nn

import toys
from grasp_planner import Budget, GoalDistance, GraspPlannerError, LowPrecision, Markov, Problem, plan

STEPS = Budget(steps=4)


class Living(nn.Module):
    """A model with everything that a forward pass or a planner could change: batch norm, dropout, parameters, .grad."""

    context = 1

    def __init__(self, latent: int = 3, action: int = 2) -> None:
        super().__init__()
        self.inner = nn.Linear(latent + action, 6).double()
        self.norm = nn.BatchNorm1d(6).double()
        self.drop = nn.Dropout(0.5)
        self.outer = nn.Linear(6, latent).double()
        self.frozen_part = nn.Linear(latent, latent).double().requires_grad_(False)
        self.register_buffer("offset", torch.full((latent,), 0.01, dtype=torch.float64))
        with torch.no_grad():
            for seed, parameter in enumerate(self.parameters()):
                parameter.copy_(0.5 * toys.fixed(*parameter.shape, seed=seed))
        for parameter in self.outer.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.move(states[:, -1], actions[:, -1])

    def move(self, state: Tensor, action: Tensor) -> Tensor:
        hidden = self.drop(torch.tanh(self.norm(self.inner(torch.cat([state, action], dim=-1)))))
        return state + 0.2 * self.outer(hidden) + 0.01 * self.frozen_part(state) + self.offset


class Slotted:
    """A model that keeps its module in a slot, where no instance dictionary shows it."""

    __slots__ = ("context", "net")

    def __init__(self, net: Living) -> None:
        self.net, self.context = net, 1

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.net(states, actions)


@dataclasses.dataclass(frozen=True, slots=True)
class SlottedData:
    net: Living
    context: int = 1

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.net(states, actions)


def named_only_in_its_call(net: Living) -> object:
    """Return a model without attributes, whose method closes over the module."""

    class Bare:
        context = 1

        def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
            return net(states, actions)

    return Bare()


def in_a_class_attribute(net: Living) -> object:
    class Kept:
        context = 1
        model = net

        def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
            return self.model(states, actions)

    return Kept()


def through(net: Living, state: Tensor, action: Tensor) -> Tensor:
    return net.move(state, action)


def with_a_forward_reference(net: Living) -> Markov:
    """Return a model with a closure over a name that is not bound yet."""

    def step(state, action):
        return net.move(state, action) if state is not None else later(state)

    wrapped = Markov(step)
    if net is None:
        later = 1
    return wrapped


KEPT = types.ModuleType("kept")
"""An imported module that holds a model."""


def in_an_imported_module(net: Living) -> Markov:
    KEPT.inner = types.ModuleType("kept.inner")
    KEPT.inner.net = net
    return Markov(lambda s, a: KEPT.inner.net.move(s, a))


def imported_when_called(net: Living) -> Markov:
    sys.modules["kept"] = KEPT
    KEPT.net = net

    def step(state, action):
        import kept

        return kept.net.move(state, action)

    return Markov(step)


def in_the_attribute_of_a_named_class(net: Living) -> Markov:
    class Kept:
        model = net

    return Markov(lambda s, a: Kept.model.move(s, a))


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


def in_nested_namespaces(net: Living, depth: int = 12) -> Markov:
    space = types.SimpleNamespace(net=net)
    for _ in range(depth):
        space = types.SimpleNamespace(inner=space)

    def step(state, action):
        inner = space
        while not hasattr(inner, "net"):
            inner = inner.inner
        return inner.net.move(state, action)

    return Markov(step)


def inside_another_module(net: Living, kept: object) -> nn.Module:
    """A module that does not register the net as its part."""

    class Outer(nn.Module):
        context = 1

        def __init__(self) -> None:
            super().__init__()
            self.parts = kept

        def forward(self, states: Tensor, actions: Tensor) -> Tensor:
            return net_of(self.parts)(states, actions)

    def net_of(parts: object) -> nn.Module:
        while not isinstance(parts, nn.Module):
            parts = parts() if isinstance(parts, weakref.ref) else parts[0]
        return parts

    return Outer()


def through_a_property(net: Living) -> object:
    class Lazy:
        context = 1
        model = property(lambda self: net)

        def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
            return self.model(states, actions)

    return Lazy()


def of_an_attribute_of_a_function(net: Living) -> Markov:
    def step(state, action):
        return step.net.move(state, action)

    step.net = net
    return Markov(step)


def in_a_hook(net: Living) -> nn.Module:
    outer = nn.Identity()
    outer.context = 1
    outer.forward = lambda states, actions: states[:, -1]
    outer.register_forward_hook(lambda module, inputs, output: net(*inputs))
    return outer


MODELS = {
    "deque": lambda net: (lambda parts: Markov(lambda s, a: parts[0].move(s, a)))(collections.deque([net])),
    "weak reference": lambda net: (lambda ref: Markov(lambda s, a: ref().move(s, a)))(weakref.ref(net)),
    "weak proxy": lambda net: (lambda proxy: Markov(lambda s, a: proxy.move(s, a)))(weakref.proxy(net)),
    "weak dictionary": lambda net: (lambda kept: Markov(lambda s, a: kept["net"].move(s, a)))(
        weakref.WeakValueDictionary({"net": net})
    ),
    "read-only dictionary": lambda net: (lambda kept: Markov(lambda s, a: kept["net"].move(s, a)))(
        types.MappingProxyType({"net": net})
    ),
    "imported module": in_an_imported_module,
    "module imported when called": imported_when_called,
    "attribute of a named class": in_the_attribute_of_a_named_class,
    "decorated": lambda net: Markov(decorated(decorated(functools.lru_cache(decorated(lambda s, a: net.move(s, a)))))),
    "nested namespaces": in_nested_namespaces,
    "list in a module": lambda net: inside_another_module(net, [net]),
    "tuple in a deque in a module": lambda net: inside_another_module(net, collections.deque([(net,)])),
    "weak reference in a module": lambda net: inside_another_module(net, [weakref.ref(net)]),
    "property": through_a_property,
    "attribute of a function": of_an_attribute_of_a_function,
    "hook": in_a_hook,
    "module": lambda net: net,
    "lambda": lambda net: Markov(lambda s, a: net.move(s, a)),
    "partial": lambda net: Markov(functools.partial(through, net)),
    "keyword partial": lambda net: Markov(functools.partial(lambda s, a, net: net.move(s, a), net=net)),
    "bound method": lambda net: Markov(net.move),
    "list in a lambda": lambda net: (lambda ensemble: Markov(lambda s, a: ensemble[0].move(s, a)))([net]),
    "dict in a lambda": lambda net: (lambda parts: Markov(lambda s, a: parts["net"].move(s, a)))({"net": net}),
    "function in a function": lambda net: (lambda inner: Markov(lambda s, a: inner(s, a)))(lambda s, a: net.move(s, a)),
    "comprehension": lambda net: Markov(lambda s, a: torch.stack([net.move(s, a) for _ in range(2)]).mean(0)),
    "slots": Slotted,
    "dataclass with slots": SlottedData,
    "closed over in __call__": named_only_in_its_call,
    "class attribute": in_a_class_attribute,
    "unbound name": with_a_forward_reference,
    "wrapped module": lambda net: nn.Sequential(net)[0],
    "default argument": lambda net: Markov(lambda s, a, net=net: net.move(s, a)),
}


def photograph(net: nn.Module) -> dict:
    return {
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "modes": [m.training for m in net.modules()],
        "required": [p.requires_grad for p in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "identities": [id(p) for p in net.parameters()],
        "versions": [t._version for t in (*net.parameters(), *net.buffers())],
    }


def unchanged(before: dict, after: dict) -> None:
    for name, value in before["values"].items():
        assert torch.equal(value, after["values"][name]), f"{name} was changed"
    for old, new in zip(before["grads"], after["grads"]):
        assert (old is None) == (new is None) and (old is None or torch.equal(old, new)), ".grad was changed"
    for key in ("modes", "required", "identities", "versions"):
        assert before[key] == after[key], key


def mixed(net: Living) -> Living:
    """Put a model in training mode except for one part, and freeze one parameter."""
    net.train()
    net.norm.eval()
    net.inner.weight.requires_grad_(False)
    return net


SETTINGS = {"train": lambda net: net.train(), "mixed": mixed}


@every_row
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_module_is_left_as_it_was(row: Row, setting):
    net = SETTINGS[setting](Living())
    before = photograph(net)
    found = plan(toys.problem(3, 4, net), row.planner, STEPS, seeds=1)
    unchanged(before, photograph(net))
    # Planning uses eval mode: the cost is that of the model in eval mode, without dropout and batch statistics.
    problem = toys.problem(3, 4, Living().eval())
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))


@some_rows
@pytest.mark.parametrize("kind", MODELS)
def test_a_module_is_found_wherever_it_is(row: Row, kind):
    net = Living().train()
    before = photograph(net)
    found = plan(toys.problem(2, 3, MODELS[kind](net)), row.planner, Budget(steps=2), seeds=1)
    unchanged(before, photograph(net))
    problem = toys.problem(2, 3, Living().eval())
    torch.testing.assert_close(found.cost, toys.cost_by_hand(problem, found.actions))


def hidden(net: nn.Module) -> Markov:
    place = id(net)

    def step(state, action):
        return next(thing for thing in gc.get_objects() if id(thing) == place).move(state, action)

    return Markov(step)


class Mover(nn.Module):
    """A net whose method ``move`` is a step of a model."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def move(self, state: Tensor, action: Tensor) -> Tensor:
        return state + 0.1 * self.part(action).sum(-1, keepdim=True)


class Drawing(nn.Module):
    """A model that draws from one of the global random states in every mode."""

    def __init__(self, draw) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, action: Tensor) -> Tensor:
        return action * self.draw()


RESTLESS = {
    "dropout": (lambda: nn.Dropout(0.5).train(), "a Dropout in training mode ran.*Pass the module"),
    "batch norm": (lambda: nn.BatchNorm1d(2).double().train(), "a BatchNorm1d in training mode ran"),
    "functional dropout": (lambda: Drawing(lambda: nn.functional.dropout(torch.ones(()))), "equal calls .* differ"),
    "torch": (lambda: Drawing(lambda: torch.rand(()).double()), "equal calls of the model differ"),
    "numpy": (lambda: Drawing(numpy.random.rand), "equal calls of the model differ"),
    "Python": (lambda: Drawing(random.random), "equal calls of the model differ"),
}


@some_rows
@pytest.mark.parametrize("kind", RESTLESS)
def test_a_module_that_is_not_found_and_not_at_rest_is_noticed(row: Row, kind):
    make, message = RESTLESS[kind]
    net = Mover(make())
    net.part.train()
    before = photograph(net)
    state = torch.get_rng_state(), numpy.random.get_state()[1].tolist(), random.getstate()
    with pytest.raises(GraspPlannerError, match=message):
        plan(toys.problem(3, 3, hidden(net)), row.planner, STEPS, seeds=1)
    unchanged(before, photograph(net))
    assert torch.equal(torch.get_rng_state(), state[0]), "the global random state was moved"
    assert numpy.random.get_state()[1].tolist() == state[1]
    if "GRASP_PLANNER_TYPECHECK" not in os.environ:  # the checks of annotations draw from this state
        assert random.getstate() == state[2]


@some_rows
def test_a_module_that_is_not_found_but_at_rest_is_planned_with(row: Row):
    net = Mover(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2).double())).eval().requires_grad_(False)
    before = photograph(net)
    found = plan(toys.problem(2, 3, hidden(net)), row.planner, STEPS, seeds=1)
    assert toys.same(found, plan(toys.problem(2, 3, Markov(net.move)), row.planner, STEPS, seeds=1))
    unchanged(before, photograph(net))


@some_rows
def test_a_model_that_writes_to_its_buffer_in_eval_mode_is_noticed(row: Row):
    class Remembering(Living):
        def move(self, state: Tensor, action: Tensor) -> Tensor:
            self.offset += 0.1
            return super().move(state, action)

    with pytest.raises(GraspPlannerError, match="writes to its buffer 'offset', of a Remembering, in eval mode"):
        plan(toys.problem(2, 3, Remembering()), row.planner, STEPS, seeds=1)


@some_rows
def test_another_thread_that_draws_at_random_is_no_fault_of_the_model(row: Row):
    class Neighboured(Living):
        """A model that moves the global random state, as another thread could."""

        def forward(self, states: Tensor, actions: Tensor) -> Tensor:
            torch.rand(1)
            return super().forward(states, actions)

    alone = plan(toys.problem(2, 3, Living()), row.planner, STEPS, seeds=1)
    found = plan(toys.problem(2, 3, Neighboured()), row.planner, STEPS, seeds=1)
    assert toys.same(alone, found) and alone.calls == found.calls


@some_rows
def test_autocast_of_the_caller_does_not_change_plans(row: Row):
    net = Living().float()
    problem = toys.problem(2, 3, net, dtype=torch.float32)
    alone = plan(problem, row.planner, STEPS, seeds=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = plan(problem, row.planner, STEPS, seeds=1)
        assert torch.is_autocast_enabled("cpu")
    assert toys.same(alone, found)
    low = LowPrecision(net)
    assert not toys.same(alone, plan(problem.through(low), row.planner, STEPS, seeds=1)), "its own autocast is kept"


@every_row
def test_a_module_in_the_objective_is_left_as_it_was(row: Row):
    if not row.any_objective:
        return

    @dataclasses.dataclass(frozen=True)
    class Learned:
        net: nn.Module

        def terminal(self, states: Tensor, goal: Tensor) -> Tensor:
            flat = self.net((states - goal).reshape(-1, 3))
            return flat.square().sum(-1).reshape(states.shape[:-1])

        def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
            return 0.0 * actions.sum(-1)

    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).double().train()
    before = photograph(net)
    plan(toys.problem(2, 3, objective=Learned(net)), row.planner, STEPS, seeds=1)
    unchanged(before, photograph(net))


@some_rows
@pytest.mark.parametrize("ending", ["exception", "interrupt", "callback", "deadline"])
def test_a_module_is_left_as_it_was_however_planning_ends(row: Row, ending):
    net = Living().train()
    before = photograph(net)
    calls = []

    def step(state, action):
        calls.append(1)
        if len(calls) > 10 and ending == "exception":
            raise RuntimeError("broken")
        if len(calls) > 10 and ending == "interrupt":
            raise KeyboardInterrupt
        return net.move(state, action)

    def stop(progress):
        assert not any(module.training for module in net.modules())
        return ending == "callback"

    budget = Budget(steps=50, seconds=0.0 if ending == "deadline" else None)
    try:
        plan(toys.problem(2, 3, Markov(step)), row.planner, budget, callback=stop)
    except RuntimeError as error:
        assert ending == "exception" and "broken" in str(error)
    unchanged(before, photograph(net))


@every_row
def test_planning_within_a_plan_leaves_the_model_as_it_was(row: Row):
    """A callback plans with the same model. The end of the inner call must not restore the model of the outer call."""
    net = Living().train()
    before = photograph(net)
    problem = toys.problem(2, 3, net)
    alone = plan(problem, row.planner, STEPS, seeds=1)

    def inner(progress):
        plan(problem, row.planner, Budget(steps=1), seeds=2)

    assert toys.same(alone, plan(problem, row.planner, STEPS, seeds=1, callback=inner))
    unchanged(before, photograph(net))


@some_rows
def test_several_threads_plan_in_one_model(row: Row):
    """Each thread gets the same plan as alone, and the model is unchanged after the last thread has ended."""
    net = Living().train()
    before = photograph(net)
    problem = toys.problem(2, 3, net)
    budgets = [Budget(steps=steps) for steps in (1, 4, 2, 6)]
    alone = [plan(problem, row.planner, budget, seeds=1) for budget in budgets]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            running = [pool.submit(plan, problem, row.planner, budget, seeds=1) for budget in budgets]
            for expected, found in zip(alone, running):
                assert toys.same(expected, found.result())
            unchanged(before, photograph(net))


@every_row
def test_a_model_that_writes_to_its_input_writes_to_no_tensor_of_the_caller(row: Row):
    if row.differentiates:
        return  # autograd refuses this model

    def in_place(state: Tensor, action: Tensor) -> Tensor:
        state += 0.1 * action.sum(-1, keepdim=True)
        return state

    problem = toys.problem(2, 3, Markov(in_place))
    start = problem.states.clone()
    found = plan(problem, row.planner, STEPS, seeds=1)
    assert torch.equal(problem.states, start)
    sound = toys.problem(2, 3, Markov(lambda s, a: s + 0.1 * a.sum(-1, keepdim=True)))
    torch.testing.assert_close(found.cost, toys.cost_by_hand(sound, found.actions))


def tensors(problem: Problem) -> dict[str, Tensor]:
    return {name: getattr(problem, name) for name in ("states", "past_actions", "goal", "low", "high", "scale", "unit")}


def scrambled(tensor: Tensor) -> Tensor:
    """Return a tensor with the same numbers that is not contiguous in memory."""
    if tensor.ndim == 1:
        return torch.stack([tensor, tensor], dim=1)[:, 0]
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


def expanded(problem: Problem) -> Problem:
    """Return a batch of equal problems, as views of one row."""
    return dataclasses.replace(
        problem,
        states=problem.states[:1].expand_as(problem.states),
        past_actions=problem.past_actions[:1].expand_as(problem.past_actions),
        goal=problem.goal[:1].expand_as(problem.goal),
        low=problem.low[:1].expand_as(problem.low),
        high=problem.high[:1].expand_as(problem.high),
    )


MEMORY = toys.Remembering(3)


def base() -> Problem:
    objective = GoalDistance(weights=torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), stage_weight=0.1)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    return toys.problem(3, 4, MEMORY, objective=objective, scale=scale)


@every_row
def test_inputs_are_not_written_to(row: Row):
    problem, start = base(), 0.1 * toys.fixed(3, 4, 2, seed=5)
    held = {**tensors(problem), "start": start}
    before = {name: (tensor.clone(), tensor._version) for name, tensor in held.items()}
    found = plan(problem, row.planner, STEPS, seeds=1, warm_start=start)
    for name, tensor in held.items():
        assert torch.equal(tensor, before[name][0]) and tensor._version == before[name][1], name
    kept = found.actions.clone()
    plan(problem, row.planner, STEPS, seeds=1, warm_start=found.warm_start)
    assert torch.equal(found.actions, kept), "a plan was written to by the call that continued it"


@every_row
def test_a_plan_shares_no_memory_with_what_it_came_from(row: Row):
    problem, start = base(), 0.1 * toys.fixed(3, 4, 2, seed=5)
    found = plan(problem, row.planner, Budget(steps=0), seeds=1, warm_start=start)
    for tensor in (*tensors(problem).values(), start):
        for mine in (found.actions, found.states):
            assert mine.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


@every_row
def test_inputs_of_any_memory_layout_give_the_same_plan(row: Row):
    problem = base()
    parts = {name: scrambled(tensor) for name, tensor in tensors(problem).items() if name != "unit"}
    assert not parts["states"].is_contiguous()
    layouts = dataclasses.replace(problem, **parts)
    first, other = (plan(p, row.planner, STEPS, seeds=1) for p in (problem, layouts))
    torch.testing.assert_close(other.actions, first.actions, rtol=1e-7, atol=1e-7)
    views = expanded(problem)
    copies = dataclasses.replace(
        views, **{name: getattr(views, name).clone() for name in ("states", "past_actions", "goal", "low", "high")}
    )
    first, other = (plan(p, row.planner, STEPS, seeds=1) for p in (copies, views))
    torch.testing.assert_close(other.actions, first.actions, rtol=1e-7, atol=1e-7)


@every_row
def test_inputs_that_require_gradients_get_none(row: Row):
    problem, start = base(), (0.1 * toys.fixed(3, 4, 2, seed=5)).requires_grad_()
    first = plan(problem, row.planner, STEPS, seeds=1, warm_start=start.detach())
    parts = {name: getattr(problem, name).clone().requires_grad_() for name in ("states", "past_actions", "goal")}
    parts["low"], parts["high"] = problem.low.clone().requires_grad_(), problem.high.clone().requires_grad_()
    parts["scale"] = problem.scale.clone().requires_grad_()
    found = plan(dataclasses.replace(problem, **parts), row.planner, STEPS, seeds=1, warm_start=start)
    assert toys.same(first, found)
    assert not (found.actions.requires_grad or found.states.requires_grad or found.cost.requires_grad)
    assert all(tensor.grad is None and tensor.requires_grad for tensor in (*parts.values(), start))


@every_row
def test_parameters_that_are_plain_tensors_get_no_gradient(row: Row):
    weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    found = plan(toys.problem(2, 3, Markov(lambda s, a: s + weight * a.sum(-1, keepdim=True))), row.planner, STEPS)
    assert weight.grad is None and weight.requires_grad
    assert not (found.actions.requires_grad or found.states.requires_grad or found.cost.requires_grad)


@every_row
@pytest.mark.parametrize("where", ["made", "both"])
def test_in_and_out_of_inference_mode(row: Row, where):
    """Encoders run under inference_mode, and callers may leave it on. The plan is the same, and autograd can use it."""
    first = plan(base(), row.planner, STEPS, seeds=1, warm_start=torch.zeros(3, 4, 2))
    with torch.inference_mode(where in ("made", "both")):
        problem, start = base(), torch.zeros(3, 4, 2)
    mode = torch.enable_grad if where == "made" else torch.inference_mode
    with mode():
        found = plan(problem, row.planner, STEPS, seeds=1, warm_start=start)
        again = plan(problem, row.planner, STEPS, seeds=1)
    assert toys.same(first, found) and toys.same(first, again)
    for tensor in (found.actions, found.states, found.cost, found.status, found.trace.cost):
        assert not tensor.is_inference()
    plan(base(), row.planner, STEPS, seeds=1, warm_start=found.warm_start)


@every_row
def test_a_plan_has_no_graph_and_no_tensor_of_it_does(row: Row):
    found = plan(base(), row.planner, STEPS, seeds=1)

    def walk(thing):
        if isinstance(thing, Tensor):
            assert thing.grad_fn is None and not thing.requires_grad
        elif isinstance(thing, (tuple, list)):
            for part in thing:
                walk(part)

    walk((found.actions, found.states, found.cost, found.trace.cost, found.trace.snapshots, found.warm_start))
