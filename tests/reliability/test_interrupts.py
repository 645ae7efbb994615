"""After Ctrl-C at any line, the model, the settings of torch and the library's locks are as before."""

from __future__ import annotations

import random
import sys

import pytest
import torch
from torch import nn

import toys
from grasp_planner import CEM, GD, GRASP, Budget, LatCo, MultiStart, Status, plan
from grasp_planner.core import frozen as frozen_module
from grasp_planner.core.frozen import frozen


class Interruption:
    """Raise ``KeyboardInterrupt`` at one line that Python runs in this thread, from 0; ``None``: at no line."""

    def __init__(self, at: int | None) -> None:
        self.at, self.lines = at, 0

    def __enter__(self) -> Interruption:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame, event, _):
        if frame.f_code is Interruption.__exit__.__code__:
            return None  # nothing catches an interrupt there
        if event == "line":
            self.lines += 1
            if self.lines - 1 == self.at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace


class Net(toys.Nonlinear):
    """A model of many modules in mixed modes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)) for _ in range(3))
        self.parts[1].eval().requires_grad_(False)


def flags(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()] + [p.requires_grad for p in net.parameters()]


def as_before(net: nn.Module, before: list[bool]) -> None:
    assert flags(net) == before, "the model was left frozen"
    assert not frozen_module._HELD, "something of the model is remembered"
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    assert not frozen_module._LOCK._is_owned(), "the lock was left locked"


@pytest.fixture(autouse=True)
def _nothing_else_traces():
    """Restore the trace function of a debugger or of a coverage measurement after the test."""
    before = sys.gettrace()
    yield
    sys.settrace(before)


def test_interrupted_at_every_line_of_freezing_and_thawing(figure):
    net = Net()
    before = flags(net)

    def enter_and_leave(at: int | None) -> tuple[int, bool]:
        """Return how many lines were run, and whether the interrupt arrived."""
        interruption = Interruption(at)
        try:
            with interruption, frozen(net):
                assert sys.gettrace() is None or not any(flags(net))
        except KeyboardInterrupt:
            return interruption.lines, True
        return interruption.lines, False

    lines, _ = enter_and_leave(None)
    assert lines > 500
    # Most lines search for modules and change nothing, so only every tenth of these lines is interrupted.
    arrived = 0
    for at in range(lines - 1):
        if at < 0.6 * lines and at % 10:
            continue
        arrived += enter_and_leave(at)[1]
        as_before(net, before)
    figure("interrupts at lines of freezing a model", arrived)


PLANNERS = {
    "grasp": GRASP(sync_every=2, sync_steps=1),
    "gd": GD(),
    "cem": CEM(samples=6, elites=2),
    "latco": LatCo(score_every=1),
    "multi_start": MultiStart(GD(), starts=2),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_interrupted_anywhere_in_a_plan(name, figure):
    net, draw = Net(), random.Random(name)
    before = flags(net)
    problem = toys.problem(2, 2, net)
    budget = Budget(steps=3)

    def attempt(at: int | None) -> tuple[int, str]:
        with Interruption(at) as interruption:
            try:
                found = plan(problem, PLANNERS[name], budget, seeds=1)
            except KeyboardInterrupt:
                return interruption.lines, "raised"
        if (found.status == Status.INTERRUPTED).all():
            assert torch.isfinite(found.actions).all() and (found.actions.abs() <= 1).all()
            return interruption.lines, "a plan"
        return interruption.lines, "ended"

    attempt(None)  # the first plan imports modules, whose lines run only once
    lines, ended = attempt(None)
    assert ended == "ended"
    endings = {"raised": 0, "a plan": 0, "ended": 0}
    for _ in range(200):
        _, ended = attempt(draw.randrange(lines))
        endings[ended] += 1
        as_before(net, before)
    assert endings["raised"] and endings["a plan"]
    assert toys.same(plan(problem, PLANNERS[name], budget, seeds=1), plan(problem, PLANNERS[name], budget, seeds=1))
    figure("interrupts in plans", sum(endings.values()))
