"""Jobs: parts of a suite's work that any process on any machine can run, given the same package and models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grasp_planner.bench.records import Key, key
from grasp_planner.bench.suites.suite import Loop
from grasp_planner.bench.work import Work


@dataclass(frozen=True)
class Job:
    """A job: plan some episodes of a task with given settings, and measure the results.

    Args:
        kind: kind of the records that the job makes.
        work: planner and task. The settings are the drawn or chosen settings, without defaults.
        numbers: numbers of the episodes.
        pixels: side of the pictures that the model reads; ``None`` if it reads no pictures.
        seconds: budget of a plan in seconds; 0: the budget is that of ``work``.
        batch: number of episodes that are planned together; timed sweeps only.
        loop: how an agent plans and acts; closed loop only.
        round: round of the tuning; sweeps only.
        trial: trial of the tuning; sweeps only.
    """

    kind: Literal["sweep", "episode", "timed", "shown", "timed_sweep"]
    work: Work
    numbers: tuple[int, ...]
    pixels: int | None
    seconds: float
    loop: Loop
    round: int = 0
    trial: int = 0
    batch: int = 1

    def keys(self) -> list[Key]:
        """Return the keys of the records that the job makes."""
        if self.kind in ("sweep", "timed_sweep"):
            return [key(self.kind, self.work, self.round, self.trial)]
        if self.kind == "timed":
            return [key("timed", self.work, number, self.seconds) for number in self.numbers]
        return [key(self.kind, self.work, number) for number in self.numbers]
