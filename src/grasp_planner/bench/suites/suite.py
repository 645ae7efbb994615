"""Suites: which planners are compared on which tasks, how the planners are tuned, and what is measured."""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from grasp_planner.bench.tasks import TASKS, Task, task
from grasp_planner.core.errors import GraspPlannerError, known_name, unknown_name
from grasp_planner.io.typed_json import to_json

MOST = {"episodes": 10**6, "chunk": 10**5, "rollouts": 10**7, "execute": 10**4, "duration": 10**4, "shown": 10**5}
"""Largest whole numbers in a suite; larger ones are mistakes."""
LONGEST_HORIZON, LARGEST_PICTURE, MOST_SECONDS, MOST_ROWS = 10**4, 4096, 10**6, 1000

Mode = Literal["open-loop", "closed-loop"]


@dataclass(frozen=True)
class Cell:
    """One column of a table: a task at a horizon, and the model that plans are made in.

    Args:
        task: name of a task of ``bench.tasks.TASKS``.
        horizon: horizon in environment steps.
        model: name or path of the model, as ``load_world_model`` takes it.
        pixels: side of the pictures that the model reads; ``None`` if it reads no pictures.
    """

    task: str
    horizon: int
    model: str
    pixels: int | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        if not 1 <= self.horizon <= LONGEST_HORIZON:
            raise GraspPlannerError(f"a horizon is 1 to {LONGEST_HORIZON} environment steps, got {self.horizon}")
        if self.pixels is not None and not 1 <= self.pixels <= LARGEST_PICTURE:
            raise GraspPlannerError(f"pixels of a picture's side are 1 to {LARGEST_PICTURE}, got {self.pixels}")
        if not self.model:
            raise GraspPlannerError("a cell needs the name or the folder of a model, got an empty text")

    @property
    def problem(self) -> Task:
        """The task at this horizon."""
        return task(self.task, self.horizon)

    def __str__(self) -> str:
        return f"{self.task}, H = {self.horizon}, {self.model}"


@dataclass(frozen=True)
class Arm:
    """One row of a table: a planner and the source of its settings.

    Exactly one of ``space``, ``planner`` and ``like`` is the source of the settings.

    Args:
        name: name of the row.
        space: the space of ``bench.suites.spaces`` in which the planner is tuned.
        change: settings with fixed values, which replace the values of the source.
        like: name of another arm. This arm is not tuned, and has the settings of that arm.
        around: settings of an outer planner around the planner of ``like``, whose place the value ``"tuned"`` marks.
            See ``bench.suites.settings.wrapped``.
        planner: fixed settings of a planner. This arm is not tuned, and has the same settings in every cell.
    """

    name: str
    space: str = ""
    change: Mapping[str, Any] | None = None
    like: str = ""
    around: Mapping[str, Any] | None = None
    planner: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        sources = {"space": self.space, "planner": self.planner, "like": self.like}
        given = [name for name, value in sources.items() if value]
        if len(given) != 1:
            raise GraspPlannerError(
                f"the arm {self.name!r} needs a space to be tuned in, or a planner with fixed settings, or another arm "
                f"that it is like; it must have exactly one of space, planner and like, got "
                f"{' and '.join(given) or 'none of them'}"
            )
        if self.around is not None and not self.like:
            raise GraspPlannerError(
                f"the arm {self.name!r} has a planner around another arm's planner, so it needs `like`, the name of "
                "that arm"
            )


@dataclass(frozen=True)
class Tuning:
    """The tuning of settings, which is the same for every planner, task and horizon.

    Round i tries ``trials[i]`` settings on the first ``episodes[i]`` validation episodes. The settings of the first
    round are drawn from the planner's space. The settings of a later round are the best settings of the last round.
    Results of earlier rounds count in later rounds. A suite in which no arm is tuned has no rounds.

    Args:
        trials: number of settings in each round, decreasing; empty: no arm is tuned.
        episodes: number of validation episodes of each cell after each round, increasing.
        together: whether a planner has one sweep over all cells, which chooses one setting for all cells. Otherwise,
            each cell has a sweep, which chooses a setting for this cell.
        seconds: budget of each plan in seconds. Validation episodes are then planned as the timed test episodes are,
            and the score of a setting is the mean of the seconds to the first plan that succeeds, where a failure
            counts as the limit. 0: the suite's budget is used, and the score is the success.
    """

    trials: tuple[int, ...] = ()
    episodes: tuple[int, ...] = ()
    together: bool = False
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not (self.trials or self.episodes or self.together or self.seconds):
            return
        rounds = len(self.trials)
        fair = rounds == len(self.episodes) > 0 and min(*self.trials, *self.episodes) >= 1
        falling = all(self.trials[i] > self.trials[i + 1] for i in range(rounds - 1))
        rising = fair and all(self.episodes[i] < self.episodes[i + 1] for i in range(rounds - 1))
        small = max((*self.trials, *self.episodes), default=0) <= MOST["episodes"] and rounds <= MOST_ROWS
        if not (fair and falling and rising and small):
            raise GraspPlannerError(
                f"tuning needs as many numbers of trials (falling) as of episodes (rising), all from 1 to "
                f"{MOST['episodes']:,}; got {reprlib.repr(self.trials)} and {reprlib.repr(self.episodes)}"
            )
        if not 0 <= self.seconds <= MOST_SECONDS:
            raise GraspPlannerError(f"seconds of a tuning are 0 to {MOST_SECONDS:,}, got {self.seconds}")


@dataclass(frozen=True)
class Timed:
    """The episodes that are planned one at a time, or few at a time, to measure seconds.

    Args:
        episodes: number of episodes. The first episodes of the test split are used.
        seconds: budgets of a plan in seconds, increasing. Every episode is planned once with each budget. Empty: the
            suite's budget is used.
        batch: number of episodes that are planned together, with one budget for all of them.
        side_by_side: whether the workers of a run plan timed episodes at the same time, each on a core of its own.
            ``False``: they are planned one after the other, while no worker runs.
    """

    episodes: int = 0
    seconds: tuple[float, ...] = ()
    batch: int = 1
    side_by_side: bool = False

    def __post_init__(self) -> None:
        rising = len(self.seconds) <= MOST_ROWS and sorted(set(self.seconds)) == list(self.seconds)
        if not rising or not all(0 < seconds <= MOST_SECONDS for seconds in self.seconds):
            raise GraspPlannerError(
                f"seconds of timed episodes must be rising numbers above 0 and up to {MOST_SECONDS:,}, got "
                f"{reprlib.repr(self.seconds)}"
            )
        if not 0 <= self.episodes <= MOST["episodes"] or not 1 <= self.batch <= MOST["chunk"]:
            raise GraspPlannerError(
                f"timed needs episodes from 0 to {MOST['episodes']:,} and a batch from 1 to {MOST['chunk']:,}, got "
                f"{self.episodes} and {self.batch}"
            )


@dataclass(frozen=True)
class Loop:
    """How an agent plans and acts in closed loop.

    Args:
        execute: model steps of a plan that are executed before the next plan is made.
        duration: length of an episode, as a multiple of the horizon.
        stage_weight: weight of the distance to the goal at every step, see ``GoalDistance``.
    """

    execute: int
    duration: int
    stage_weight: float = 0.0


@dataclass(frozen=True)
class Suite:
    """The definition of a suite, which ``grasp bench`` runs.

    Args:
        name: name of the suite's file.
        title: heading of the report.
        about: one sentence that says what is compared, without a full stop.
        mode: open loop executes plans to their end; closed loop replans from new observations.
        episodes: number of test episodes, planned in batches; 0: only timed episodes are planned.
        chunk: episodes per batch. A kill loses at most one batch.
        arms: the planners.
        cells: the tasks.
        tuning: how settings are chosen, in a suite with arms that are tuned.
        rollouts: budget of every plan, in rollouts of the model per episode; 0: the budget is in seconds.
        seconds_per_problem: budget of every plan, in seconds of one thread per episode. A batch of n episodes gets n
            times as many seconds. 0: the budget is in rollouts, or all plans are timed.
        stage_weight: weight of the distance to the goal at every step, see ``GoalDistance``; closed loop only.
        timed: the episodes that are planned one at a time, or few at a time.
        shown: number of solved and of failed episodes per cell that are recorded for the viewer of the report.
        execute: model steps of a plan that are executed before the next plan is made; closed loop only.
        duration: length of an episode, as a multiple of the horizon; closed loop only.
        published: name of the table of ``published_results`` that is shown next to the results; empty: no table.
    """

    name: str
    title: str
    about: str
    mode: Mode
    episodes: int
    chunk: int
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    tuning: Tuning = Tuning()
    rollouts: int = 0
    seconds_per_problem: float = 0.0
    stage_weight: float = 0.0
    timed: Timed = Timed()
    shown: int = 0
    execute: int = 1
    duration: int = 2
    published: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise unknown_name("mode", self.mode, get_args(Mode))
        for name, most in MOST.items():
            least, value = int(name not in ("shown", "episodes", "rollouts")), getattr(self, name)
            if not least <= value <= most:
                raise GraspPlannerError(f"{name} of a suite must be at least {least} and at most {most:,}, got {value}")
        tuned = [arm.name for arm in self.arms if arm.space]
        if tuned and not self.tuning.trials:
            raise GraspPlannerError(
                f"a suite with arms that are tuned needs [tuning] with trials and episodes; tuned are {tuned}"
            )
        timed_tuning = bool(self.tuning.seconds) or not self.tuning.trials
        seconds, all_timed = self.seconds_per_problem, not self.episodes and timed_tuning and self.timed.seconds
        budgets = int(bool(self.rollouts)) + int(bool(seconds))
        if budgets != int(not all_timed) or not 0 <= seconds <= MOST_SECONDS:
            raise GraspPlannerError(
                "the budget of a suite's plans is either rollouts of at least 1 or seconds_per_problem above 0 and at "
                f"most {MOST_SECONDS:,}, got rollouts {self.rollouts} and seconds_per_problem {seconds}; only a suite "
                "without episodes, with seconds in its timed part and in its tuning, if it has one, has neither"
            )
        if self.tuning.seconds and self.mode != "open-loop":
            raise GraspPlannerError(f"a tuning with seconds is for suites in open loop, got {self.mode}")
        if not 0 <= self.stage_weight < math.inf or (self.stage_weight and self.mode != "closed-loop"):
            raise GraspPlannerError(
                "stage_weight is 0 or, for suites in closed loop, a finite number above 0, got "
                f"{self.stage_weight} in {self.mode}"
            )
        if self.shown and not self.episodes:
            raise GraspPlannerError(f"recordings are chosen among episodes, got shown {self.shown} without episodes")
        names = [arm.name for arm in self.arms]
        if max(len(self.arms), len(self.cells)) > MOST_ROWS:
            raise GraspPlannerError(f"a suite has at most {MOST_ROWS} arms and cells")
        if not names or len(set(names)) != len(names) or not self.cells:
            raise GraspPlannerError(f"a suite needs cells, and arms of different names; got {names}")
        sources = {arm.name for arm in self.arms if not arm.like}
        for arm in self.arms:
            if arm.like and arm.like not in sources:
                raise unknown_name(
                    f"arm with a space or a planner, which {arm.name!r} could be like,", arm.like, sources
                )

    @property
    def main_arm(self) -> str:
        """Name of the arm that the suite is about."""
        return main_arm([arm.name for arm in self.arms])

    @property
    def loop(self) -> Loop:
        """How an agent plans and acts in closed loop."""
        return Loop(self.execute, self.duration, self.stage_weight)

    def source_of(self, arm: Arm) -> Arm:
        """Return the arm that an arm is like, or the arm itself. The returned arm has a space or fixed settings."""
        return next(one for one in self.arms if one.name == (arm.like or arm.name))

    def digest(self) -> str:
        """Return sixteen hexadecimal digits that identify the content of the suite."""
        return hashlib.sha256(json.dumps(to_json(self), sort_keys=True).encode()).hexdigest()[:16]

    def only(self, models: tuple[str, ...]) -> Suite:
        """Return the suite with only the cells of the given models; with all cells if no model is given.

        Raises:
            GraspPlannerError: the suite has no cell of one of the models.
        """
        known = {cell.model for cell in self.cells}
        chosen = {known_name(f"model in the suite {self.name}", name, known) for name in models} or known
        return replace(self, cells=tuple(cell for cell in self.cells if cell.model in chosen))


def main_arm(names: Sequence[str]) -> str:
    """Return the arm that a suite is about: recommended, otherwise GRASP, otherwise the first arm."""
    return compared_arms(names)[0]


def compared_arms(names: Sequence[str]) -> list[str]:
    """Return the arms that all other arms are compared with: recommended and GRASP, otherwise the first arm.

    >>> compared_arms(["GD", "GRASP", "recommended"]), compared_arms(["GD", "CEM"])
    (['recommended', 'GRASP'], ['GD'])
    """
    return [name for name in ("recommended", "GRASP") if name in names] or [names[0]]
