"""The workloads that step_cost.py times, and the timing itself, which alternates between workloads in rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from step_models import Case
from torch import Tensor, nn

from grasp_planner import GRASP, Budget, Planner, Problem, plan
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.frozen import frozen
from grasp_planner.core.noise import Noise
from grasp_planner.wrappers.live_bytes import LiveBytes

# Only the steps between two syncs are timed, so the lifted phase never ends.
LIFTED = GRASP(sync=None, sync_every=10**9)
GOAL_WEIGHT, STATE_NOISE = LIFTED.goal_weight, LIFTED.state_noise

Work = Callable[[], object]


def clock(device: str) -> float:
    """Return the time in s after all work of the device is done; for ``"processor"`` the CPU time of this process."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.process_time() if device == "processor" else time.perf_counter()


def problem(model: nn.Module, case: Case, batch: int, horizon: int, device: str) -> Problem:
    """Sample problems with random starts and goals."""
    generator = torch.Generator().manual_seed(batch * 1000 + horizon)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    context, latent, action = model.context, model.latent, model.action
    bound = torch.ones(action, device=device)
    return Problem(
        model,
        normal(batch, context, latent),
        0.3 * normal(batch, context - 1, action),
        normal(batch, latent),
        horizon,
        -bound,
        bound,
    )


def bare(task: Problem, model: Dynamics) -> Work:
    """Return a workload: a forward pass of the model on b * t rows, and its gradient with respect to the actions."""
    rows = task.batch * task.horizon
    states = torch.randn(rows, task.context, task.latent_size).to(task.states)
    actions = torch.randn(rows, task.context, task.action_size).to(task.states)

    def work() -> None:
        with torch.enable_grad():
            variable = actions.requires_grad_()
            predicted = model(states, variable)
            torch.autograd.grad(predicted, variable, torch.ones_like(predicted))

    return work


def loop_over_time(task: Problem, model: Dynamics) -> Work:
    """Return the lifted step of public implementations: T model calls on b rows, and two torch optimisers."""
    share = torch.arange(1, task.horizon, device=task.goal.device)[:, None] / task.horizon
    states = torch.lerp(task.start[:, None], task.goal[:, None], share).requires_grad_()
    actions = torch.zeros(task.batch, task.horizon, task.action_size).to(task.goal).requires_grad_()
    optimiser = torch.optim.Adam(
        [{"params": [states], "lr": LIFTED.state_lr}, {"params": [actions], "lr": LIFTED.action_lr}]
    )
    context = task.context

    def work() -> None:
        with torch.enable_grad():
            loss = torch.zeros((), device=task.goal.device)
            past = torch.cat([task.states, states], dim=1)
            taken = torch.cat([task.past_actions, actions], dim=1)
            for t in range(task.horizon):
                predicted = model(past[:, t : t + context].detach(), taken[:, t : t + context])
                target = states[:, t] if t < task.horizon - 1 else task.goal
                loss = loss + ((predicted - target) ** 2).sum() + GOAL_WEIGHT * ((predicted - task.goal) ** 2).sum()
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        with torch.no_grad():
            states.add_(STATE_NOISE * torch.randn_like(states))
            actions.clamp_(task.low, task.high)

    return work


def one_step(task: Problem, planner: Planner) -> Work:
    """Return a workload: one step of a planner, always from the same state."""
    task = task.normalised()  # ``plan`` gives this form to the planner
    with torch.no_grad():
        actions = torch.zeros(task.batch, task.horizon, task.action_size).to(task.goal)
        noise = Noise.of(0, task.batch, task.goal.device)
        state = planner.init(task, actions, noise)

    def work() -> None:
        with torch.no_grad():
            planner.step(task, state, noise)

    return work


def bare_rollout(task: Problem, model: Dynamics, samples: int) -> Work:
    """Return a workload: a rollout of the model on b * n rows, without gradients."""
    rows = task.batch * samples
    first = task.states.repeat_interleave(samples, dim=0)
    actions = torch.randn(rows, task.horizon + task.context - 1, task.action_size).to(task.states)

    def work() -> None:
        with torch.no_grad():
            window = first
            for t in range(task.horizon):
                following = model(window, actions[:, t : t + task.context])
                window = (
                    torch.cat([window[:, 1:], following[:, None]], dim=1) if task.context > 1 else following[:, None]
                )

    return work


class Times(dict[str, dict[int, float]]):
    """The seconds of each workload in each of its rounds."""

    def milliseconds(self, name: str) -> float:
        """Return the median of a workload in ms."""
        return 1e3 * median(self[name].values())

    def ratio(self, above: str, below: str) -> float:
        """Return the median over rounds of the ratio of two workloads, which is robust to a slow machine."""
        shared = self[above].keys() & self[below].keys()
        return median(self[above][i] / self[below][i] for i in shared)


class Rounds:
    """The schedule of the rounds: which workloads take part in a round, and when to stop.

    Workloads that take many times as long as the first workload skip rounds, so that the first ratio has most rounds.

    Args:
        works: the workloads by name, in order of importance.
        device: the device whose work is waited for.
        seconds: time in s after which no round is begun.
        least: least number of rounds.
        most: largest number of rounds.
    """

    def __init__(self, works: dict[str, Work], device: str, seconds: float, least: int = 5, most: int = 60) -> None:
        self.works, self.device, self.seconds, self.least, self.most = works, device, seconds, least, most
        self.times = Times({name: {} for name in works})
        self.started = 0.0
        self.done = -1

    def run(self) -> bool:
        """Run one round, and return whether to stop. The first round is a warm-up and is not counted."""
        if self.done == 0:
            self.started = clock(self.device)
        spent = {name: sum(taken.values()) for name, taken in self.times.items()}
        for name, work in self.works.items():
            if self.done >= 3 and spent[name] > 0.5 * sum(spent.values()) and len(self.works) > 2 and self.done % 4:
                continue
            before = clock(self.device)
            work()
            if self.done >= 0:
                self.times[name][self.done] = clock(self.device) - before
        self.done += 1
        enough = self.done >= self.least and clock(self.device) - self.started > self.seconds
        return enough or self.done >= self.most


def in_turn(works: dict[str, Work], device: str, seconds: float) -> Times:
    """Time every workload once per round until ``seconds`` have passed."""
    rounds = Rounds(works, device, seconds)
    while not rounds.run():
        pass
    return rounds.times


def beside_plan(task: Problem, planner: Planner, works: dict[str, Work], device: str, seconds: float) -> Times:
    """Time the steps of ``plan``, loop included, as ``step``, with a round of the workloads between two steps."""
    rounds = Rounds(works, device, seconds)
    steps: dict[int, float] = {}
    left = 0.0

    def between(progress: object) -> bool:
        nonlocal left
        now = clock(device)
        if rounds.done > 0:  # a step before this round, of the same number as the round that ended when it began
            steps[rounds.done - 1] = now - left
        enough = rounds.run()
        left = clock(device)
        return enough

    plan(task, planner, Budget(steps=10**6), callback=between)
    return Times({"step": steps} | rounds.times)


def peak_mib(work: Work, model: nn.Module) -> float:
    """Return the peak memory of a workload in MiB, without the weights."""
    with frozen(model), LiveBytes() as memory:
        work()
    return memory.peak / 2**20


def kernel_share(work: Work) -> float | None:
    """Return the time in kernels divided by wall-clock time on a GPU; ``None`` without a GPU."""
    if not torch.cuda.is_available():
        return None
    from torch.profiler import ProfilerActivity, profile

    work()
    before = clock("cuda")
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        wall = clock("cuda") - before
    return sum(event.device_time_total for event in seen.key_averages()) * 1e-6 / wall
