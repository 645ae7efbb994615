"""Jobs: pieces of a suite's work that any process on any machine can do, given the same package and models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grasp_planner.bench.records import Key, Work, key


@dataclass(frozen=True)
class Job:
    """Plan some episodes of a task with some settings, and measure.

    Args:
        kind: of the records that the job makes.
        work: planner and task. Its settings are those that were drawn or chosen; defaults are not listed.
        numbers: of the episodes.
        pixels: side of the pictures that the model reads; ``None`` if it reads no pictures.
        seconds: budget of a plan in seconds; 0: the budget is ``work.rollouts``.
        execute: model steps of a plan that are executed before the next plan; closed loop only.
        duration: environment steps of an episode, in units of the horizon; closed loop only.
        round: of the tuning; sweeps only.
        trial: of the tuning; sweeps only.
    """

    kind: Literal["sweep", "episode", "timed", "shown"]
    work: Work
    numbers: tuple[int, ...]
    pixels: int | None
    seconds: float
    execute: int
    duration: int
    round: int = 0
    trial: int = 0

    def keys(self) -> list[Key]:
        """Keys of the records that the job makes."""
        if self.kind == "sweep":
            return [key("sweep", self.work, self.round, self.trial)]
        return [key(self.kind, self.work, number) for number in self.numbers]
