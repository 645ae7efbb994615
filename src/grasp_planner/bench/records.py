"""Records: the measurements of a suite, with one dataclass for each kind of line in a file of records."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args

from grasp_planner.bench.timed_records import TimedRecord, TimedSweepRecord
from grasp_planner.bench.work import Work

Key = tuple[Any, ...]
"""The key of a record, which is unique in a run. Keys can be sorted."""


@dataclass(frozen=True)
class Clock:
    """The time and the machine of a measurement.

    Args:
        seconds: wall-clock seconds of planning.
        batch: number of episodes that were planned together.
        machine: type of the processor.
        at: time of the measurement, in seconds since 1970.
        reused_from: name of the suite whose record was reused; ``None`` if the measurement was made for this suite.
        processor_seconds: processor time of planning in seconds, for the whole batch; open loop only.
    """

    seconds: float
    batch: int
    machine: str
    at: int
    reused_from: str | None = None
    processor_seconds: float | None = None


@dataclass(frozen=True)
class SweepRecord:
    """The results of one setting of a planner on validation episodes.

    Args:
        round: round of the tuning, from 0.
        trial: number of the setting, from 0.
        episodes: numbers of the episodes.
        success: success of each episode.
        cost: cost of the plan of each episode; ``None`` if not finite.
        transitions: model transitions per episode.
    """

    kind: ClassVar[Literal["sweep"]] = "sweep"

    work: Work
    round: int
    trial: int
    episodes: tuple[int, ...]
    success: tuple[bool, ...]
    cost: tuple[float | None, ...]
    transitions: int
    clock: Clock


@dataclass(frozen=True)
class Winner:
    """The setting that won a sweep.

    Args:
        space: name of the space of settings.
        trial: number of the setting.
        trials: settings in each round.
        episodes: validation episodes of each cell after each round.
        together: whether the sweep was over all cells of the suite.
        success: share of the validation episodes that the setting solved, over all cells of the sweep.
        cost: mean cost of the plans; ``None`` if not finite.
        seconds: mean of the seconds to the first success, where a failure counts as the limit; timed tuning only. The
            choice then depends on the machine.
    """

    space: str
    trial: int
    trials: tuple[int, ...]
    episodes: tuple[int, ...]
    together: bool
    success: float
    cost: float | None
    seconds: float | None = None


@dataclass(frozen=True)
class ChoiceRecord:
    """The setting of a planner in a cell.

    Args:
        settings_of: the arm whose sweep decided, or whose fixed settings are used.
        winner: the setting that won the sweep; ``None``: the settings are fixed.
    """

    kind: ClassVar[Literal["choice"]] = "choice"

    work: Work
    settings_of: str
    winner: Winner | None = None


@dataclass(frozen=True)
class EpisodeRecord:
    """The result of one test episode.

    Args:
        episode: number of the episode.
        seed: seed of the episode.
        success: whether the simulator is at the goal after the last step.
        reached: whether the simulator is at the goal after any step.
        success_step: environment steps until the goal is first reached; ``None`` if it is never reached.
        start_distances: distances from start to goal; units are in the names.
        distances: distances from the last state to the goal; units are in the names.
        cost: cost of the last plan; ``None`` if not finite.
        status: status of the last plan.
        steps: planner steps of all plans.
        transitions: model transitions of all plans.
        calls: model calls of all plans, for the whole batch.
        versions: versions of the packages.
        plans: number of plans that were made; closed loop only.
        success_model: whether the model's rollout is at the goal after the last step; open loop only.
        distances_model: distances from the last state of the model's rollout to the goal; open loop only.
        gap_virtual_rollout: see ``model_gaps.virtual_gap``; open loop only.
        gap_rollout_simulator: see ``model_gaps.simulator_gap``; open loop only.
        gap_end: distances between the last states of the model's rollout and of the simulator; open loop only.
    """

    kind: ClassVar[Literal["episode"]] = "episode"

    work: Work
    episode: int
    seed: int
    success: bool
    reached: bool
    success_step: int | None
    start_distances: dict[str, float | None]
    distances: dict[str, float | None]
    cost: float | None
    status: str
    steps: int
    transitions: int
    calls: int
    versions: dict[str, str]
    clock: Clock
    plans: int | None = None
    success_model: bool | None = None
    distances_model: dict[str, float | None] | None = None
    gap_virtual_rollout: float | None = None
    gap_rollout_simulator: float | None = None
    gap_end: dict[str, float | None] | None = None

    @property
    def won(self) -> bool:
        """Success by the rule of the mode: after the last step in open loop, and after any step in closed loop."""
        return self.reached if self.work.mode == "closed-loop" else self.success


@dataclass(frozen=True)
class PlannedMoments:
    """Environment states of the plans at several moments of planning, for pictures.

    Args:
        steps: (k,) planner steps.
        rollouts: (k, T, s) rollouts of the plans at these steps.
        virtual: (k, T - 1, s) virtual states at these steps; ``None`` for planners without virtual states.
        best_cost: (k,) cost of the best plan at these steps; ``None`` if not finite.
    """

    steps: tuple[int, ...]
    rollouts: list[list[list[float]]]
    virtual: list[list[list[float]]] | None
    best_cost: tuple[float | None, ...]


@dataclass(frozen=True)
class ShownRecord:
    """One episode with its states, for the viewer of the report.

    Args:
        episode: number of the episode.
        success: whether the simulator is at the goal after the last step.
        distances: distances from the last state to the goal; units are in the names.
        env: name of the environment's outlines, see ``Task.scene``.
        frameskip: environment steps per model step.
        executed: (H + 1, s) states of the simulator.
        goal: (s,) goal state.
        recording: the plans at several moments of planning; ``None`` for models that do not decode states.
    """

    kind: ClassVar[Literal["shown"]] = "shown"

    work: Work
    episode: int
    success: bool
    distances: dict[str, float | None]
    env: str
    frameskip: int
    executed: list[list[float]]
    goal: list[float]
    recording: PlannedMoments | None


Record = SweepRecord | ChoiceRecord | EpisodeRecord | TimedRecord | ShownRecord | TimedSweepRecord
R = TypeVar("R", SweepRecord, ChoiceRecord, EpisodeRecord, TimedRecord, ShownRecord, TimedSweepRecord)

KINDS: tuple[type[Record], ...] = get_args(Record)
KindName = Literal["sweep", "choice", "episode", "timed", "shown", "timed_sweep"]


def key(kind: KindName, work: Work, *numbers: float) -> Key:
    """Return the key of a record.

    Args:
        kind: kind of the record.
        work: planner and task of the record.
        numbers: round and trial for a sweep; nothing for a choice; number of the episode and limit in seconds for a
            timed episode; the number of the episode for other kinds.
    """
    place = [one.kind for one in KINDS].index(kind)
    return (place, work.task, work.horizon, work.model, work.arm, *numbers)


def key_of(record: Record) -> Key:
    """Return the key of this record."""
    if isinstance(record, ChoiceRecord):
        return key("choice", record.work)
    if isinstance(record, (SweepRecord, TimedSweepRecord)):
        return key(record.kind, record.work, record.round, record.trial)
    if isinstance(record, TimedRecord):
        return key("timed", record.work, record.episode, record.seconds_limit)
    return key(record.kind, record.work, record.episode)


def of_kind(records: Iterable[Record], kind: type[R]) -> list[R]:
    """Return the records of one kind."""
    return [record for record in records if isinstance(record, kind)]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the measurements."""
    from importlib.metadata import version

    names = ("grasp-planner", "torch", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
