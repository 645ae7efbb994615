"""Evaluating with a bar and a recorder looking on, under a budget and on so many threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from grasp_planner.bench.running.open_loop import Evaluation, evaluate
from grasp_planner.bench.running.planning_frames import Recorder
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.cli.planning_bar import planning_bar
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
from grasp_planner.io.progress import Bars
from grasp_planner.planning.protocol import Planner, Progress


def watched(
    task: Task,
    model: WorldModel,
    planner: Planner,
    budget: Budget,
    episodes: Sequence[Episode],
    seed: int,
    recorder: Recorder,
    bars: Bars,
    dynamics: Dynamics | None = None,
) -> Evaluation:
    """``evaluate``, shown by a bar and kept by a recorder."""
    with planning_bar(bars, f"{type(planner).__name__} plans") as bar:

        def callback(progress: Progress) -> None:
            recorder(progress)
            bar(progress)

        return evaluate(task, model, planner, budget, episodes, seed=seed, callback=callback, dynamics=dynamics)


def budget_of(steps: int | None, seconds: float | None, transitions: int | None, default: Budget) -> Budget:
    """The limits that were given, or the default where none was."""
    if steps is None and seconds is None and transitions is None:
        return default
    return Budget(steps=steps, seconds=seconds, transitions=transitions)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads within the block; ``None``: as many as it likes.

    One is best for small models: the work of one call is soon done, and threads that wait for each other on a machine
    that is busy with something else cost more than ten times what they save.

    Raises:
        GraspPlannerError: ``count`` is not positive.
    """
    if count is not None and count < 1:
        raise GraspPlannerError(f"--threads must be at least 1, got {count}")
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
