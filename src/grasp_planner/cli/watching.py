"""Evaluation of a planner with a progress bar and a recorder; its budget and its threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from grasp_planner.bench.evaluate import Evaluation, evaluate
from grasp_planner.bench.recording import Recorder
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.cli.planner_choices import label
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
    """Evaluate a planner, showing a progress bar and recording the planning."""
    with planning_bar(bars, f"{label(planner)}: planning") as bar:

        def callback(progress: Progress) -> None:
            recorder(progress)
            bar(progress)

        return evaluate(task, model, planner, budget, episodes, seed=seed, callback=callback, dynamics=dynamics)


def budget_of(steps: int | None, seconds: float | None, transitions: int | None, default: Budget) -> Budget:
    """Return the budget with the given limits, or the default if no limit is given."""
    if steps is None and seconds is None and transitions is None:
        return default
    return Budget(steps=steps, seconds=seconds, transitions=transitions)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Set the number of threads of torch within the block; ``None`` keeps torch's number.

    One thread is best for small models. Each call takes little time, so on a busy machine the threads spend most of
    their time waiting for each other.

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
