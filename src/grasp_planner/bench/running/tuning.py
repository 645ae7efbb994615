"""Choose the settings of a planner from the records of its sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import NamedTuple

from grasp_planner.bench.record_files import RecordFile
from grasp_planner.bench.records import ChoiceRecord, SweepRecord, Winner, key
from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.suite import Arm, Tuning
from grasp_planner.bench.timed_records import TimedSweepRecord
from grasp_planner.bench.work import Work


class Score(NamedTuple):
    """The score of a setting on all validation episodes so far. The smallest score is the best.

    Attributes:
        loss: failures; in a timed tuning, the mean of the seconds to the first success.
        cost: mean cost.
        trial: number of the setting.
        failures: failures.
    """

    loss: float
    cost: float
    trial: int
    failures: int


def scores(sweep: RecordFile, works: Sequence[Work], tuning: Tuning, number: int) -> list[Score]:
    """Return the scores of the settings that took part in a round, with the best score first.

    Args:
        sweep: the records so far.
        works: suite, cell and arm of the sweep, for each cell of the sweep.
        tuning: rounds, trials and episodes.
        number: number of the round, from 0.
    """
    latest = survivors(sweep, works, tuning, number)
    return sorted(_score(sweep, works, tuning, number, trial) for trial in latest)


def _score(sweep: RecordFile, works: Sequence[Work], tuning: Tuning, number: int, trial: int) -> Score:
    """Return the score of a setting after a round. The setting took part in all rounds until this round."""
    costs: list[float | None] = []
    losses: list[float] = []
    failures = 0
    for work, one in product(works, range(number + 1)):
        if tuning.seconds:
            clock = sweep.get(TimedSweepRecord, key("timed_sweep", work, one, trial)).clock
            costs += clock.cost
            losses += [tuning.seconds if first is None else first for first in clock.seconds_to_success]
            failures += clock.seconds_to_success.count(None)
        else:
            record = sweep.get(SweepRecord, key("sweep", work, one, trial))
            costs += record.cost
            failures += record.success.count(False)
    cost = fmean(math.inf if one is None else one for one in costs)
    return Score(fmean(losses) if tuning.seconds else failures, cost, trial, failures)


def survivors(sweep: RecordFile, works: Sequence[Work], tuning: Tuning, number: int) -> list[int]:
    """Return the settings that take part in a round: all settings in round 0, then the best of the round before."""
    count = tuning.trials[number]
    if number == 0:
        return list(range(count))
    return sorted(score.trial for score in scores(sweep, works, tuning, number - 1)[:count])


def choice(sweep: RecordFile, work: Work, works: Sequence[Work], tuning: Tuning, arm: Arm, source: Arm) -> ChoiceRecord:
    """Return the settings of an arm in a cell after the last round, or its fixed settings.

    Args:
        sweep: the records of all rounds.
        work: suite and cell of the settings.
        works: suite and cell of the sweep, for each cell of the sweep.
        tuning: rounds, trials and episodes.
        arm: the arm whose settings are returned.
        source: the arm with the space or the fixed settings: ``arm`` itself, or the arm that ``arm`` is like.
    """
    if not source.space:
        return ChoiceRecord(replace(work, planner=arm_settings(arm, source, 0)), source.name)
    swept = [replace(one, arm=source.name) for one in works]
    best = scores(sweep, swept, tuning, len(tuning.trials) - 1)[0]
    winner = Winner(
        space=source.space,
        trial=best.trial,
        trials=tuning.trials,
        episodes=tuning.episodes,
        together=tuning.together,
        success=1 - best.failures / (tuning.episodes[-1] * len(works)),
        cost=best.cost,
        seconds=best.loss if tuning.seconds else None,
    )
    return ChoiceRecord(replace(work, planner=arm_settings(arm, source, best.trial)), source.name, winner)
