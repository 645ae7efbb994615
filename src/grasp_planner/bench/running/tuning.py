"""Choose the settings of a planner from the records of its sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from grasp_planner.bench.record_files import RecordFile
from grasp_planner.bench.records import ChoiceRecord, SweepRecord, Winner, Work, key
from grasp_planner.bench.suites.arm_settings import arm_settings
from grasp_planner.bench.suites.suite import Arm, Tuning

Score = tuple[int, float, int]
"""Failures on all validation episodes so far, mean cost, and number of the trial. The smallest score is the best."""


def scores(sweep: RecordFile, works: Sequence[Work], tuning: Tuning, number: int) -> list[Score]:
    """Return the scores of the settings that took part in a round, with the best score first.

    Args:
        sweep: the records so far.
        works: suite, cell and arm of the sweep, for each cell of the sweep.
        tuning: rounds, trials and episodes.
        number: number of the round, from 0.
    """
    latest = survivors(sweep, works, tuning, number)
    return sorted(_score(sweep, works, number, trial) for trial in latest)


def _score(sweep: RecordFile, works: Sequence[Work], number: int, trial: int) -> Score:
    """Return the score of a setting after a round. The setting took part in all rounds until this round."""
    records = [sweep.get(SweepRecord, key("sweep", work, one, trial)) for one in range(number + 1) for work in works]
    costs = [math.inf if cost is None else cost for record in records for cost in record.cost]
    return sum(record.success.count(False) for record in records), sum(costs) / len(costs), trial


def survivors(sweep: RecordFile, works: Sequence[Work], tuning: Tuning, number: int) -> list[int]:
    """Return the settings that take part in a round: all settings in round 0, then the best of the round before."""
    count = tuning.trials[number]
    if number == 0:
        return list(range(count))
    return sorted(trial for _, _, trial in scores(sweep, works, tuning, number - 1)[:count])


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
    failures, cost, trial = scores(sweep, swept, tuning, len(tuning.trials) - 1)[0]
    winner = Winner(
        space=source.space,
        trial=trial,
        trials=tuning.trials,
        episodes=tuning.episodes,
        together=tuning.together,
        success=1 - failures / (tuning.episodes[-1] * len(works)),
        cost=cost,
    )
    return ChoiceRecord(replace(work, planner=arm_settings(arm, source, trial)), source.name, winner)
