"""Evaluate a planner with a progress bar and recordings."""

from __future__ import annotations

from collections.abc import Sequence

from grasp_planner.bench.running.open_loop import Evaluation, evaluate
from grasp_planner.bench.running.planning_frames import Recorder
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.cli.planner_choices import label
from grasp_planner.cli.planning_bar import planning_bar
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
from grasp_planner.io.progress import Bars
from grasp_planner.planning.protocol import Planner, Progress


def evaluate_with_bar(
    task: Task,
    model: WorldModel,
    planner: Planner,
    budget: Budget,
    episodes: Sequence[Episode],
    seed: int,
    recorders: Sequence[Recorder],
    bars: Bars,
    dynamics: Dynamics | None = None,
) -> Evaluation:
    """Evaluate a planner with a progress bar, and record the plans of some problems."""
    with planning_bar(bars, f"{label(planner)}: planning") as bar:

        def callback(progress: Progress) -> None:
            for recorder in recorders:
                recorder(progress)
            bar(progress)

        return evaluate(task, model, planner, budget, episodes, seed=seed, callback=callback, dynamics=dynamics)
