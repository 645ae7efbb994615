"""The objects that a job names, and how they plan its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grasp_planner.bench.running.closed_loop import Drive, drive
from grasp_planner.bench.running.jobs import Job
from grasp_planner.bench.running.open_loop import Evaluation, evaluate
from grasp_planner.bench.tasks import Episode, Task
from grasp_planner.bench.work import Work
from grasp_planner.control.planner_files import settings_of
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel, goal_objective
from grasp_planner.planning.protocol import Callback, Planner


@dataclass(frozen=True)
class Setup:
    """The objects that a job names: task, model, planner and episodes."""

    job: Job
    task: Task
    model: WorldModel
    planner: Planner
    episodes: Sequence[Episode]

    @property
    def work(self) -> Work:
        """The job's work, with all settings of the planner, defaults included."""
        return replace(self.job.work, planner=settings_of(self.planner))

    @property
    def budget(self) -> Budget:
        """The budget of a plan: the seconds of the job if it limits seconds; otherwise the budget of the suite."""
        job, work = self.job, self.job.work
        if job.seconds:
            return Budget(seconds=job.seconds)
        if work.seconds_per_problem:
            return Budget(seconds=work.seconds_per_problem * len(self.episodes))
        return Budget(transitions=work.rollouts * (work.horizon // self.model.frameskip))

    def plan(
        self, episodes: Sequence[Episode], callback: Callback | None = None, budget: Budget | None = None
    ) -> Evaluation:
        """Plan episodes in open loop."""
        return evaluate(
            self.task,
            self.model,
            self.planner,
            self.budget if budget is None else budget,
            episodes,
            pixels=self.job.pixels,
            callback=callback,
        )

    def drive(self, episodes: Sequence[Episode]) -> Drive:
        """Plan episodes in closed loop."""
        job = self.job
        return drive(
            self.task,
            self.model,
            self.planner,
            self.budget,
            episodes,
            execute=job.loop.execute,
            duration=job.loop.duration,
            pixels=job.pixels,
            objective=replace(goal_objective(self.model), stage_weight=job.loop.stage_weight),
        )
