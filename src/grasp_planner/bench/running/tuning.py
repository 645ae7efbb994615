"""Choose the settings of a planner from the records of its sweep."""

from __future__ import annotations

import math
from dataclasses import replace

from grasp_planner.bench.record_files import RecordFile
from grasp_planner.bench.records import ChoiceRecord, SweepRecord, Work, key
from grasp_planner.bench.suites.settings import Settings, changed, wrapped
from grasp_planner.bench.suites.spaces import drawn
from grasp_planner.bench.suites.suite import Arm, Tuning

Score = tuple[int, float, int]
"""Failures on all validation episodes so far, mean cost, and number of the trial. The smallest score is the best."""


def scores(sweep: RecordFile, work: Work, tuning: Tuning, number: int) -> list[Score]:
    """Return the scores of the settings that took part in a round, with the best score first.

    Args:
        sweep: the records so far.
        work: suite, cell and arm of the sweep.
        tuning: rounds, trials and episodes.
        number: number of the round, from 0.
    """
    solved: dict[int, list[bool]] = {}
    costs: dict[int, list[float]] = {}
    for one in range(number + 1):
        for trial in survivors(sweep, work, tuning, one):
            record = sweep.get(SweepRecord, key("sweep", work, one, trial))
            solved.setdefault(trial, []).extend(record.success)
            costs.setdefault(trial, []).extend(math.inf if cost is None else cost for cost in record.cost)
    latest = survivors(sweep, work, tuning, number)
    return sorted((solved[trial].count(False), sum(costs[trial]) / len(costs[trial]), trial) for trial in latest)


def survivors(sweep: RecordFile, work: Work, tuning: Tuning, number: int) -> list[int]:
    """Return the settings that take part in a round: all settings in round 0, then the best of the round before."""
    count = tuning.trials[number]
    if number == 0:
        return list(range(count))
    return sorted(trial for _, _, trial in scores(sweep, work, tuning, number - 1)[:count])


def choice(sweep: RecordFile, work: Work, tuning: Tuning, arm: Arm, tuned: Arm) -> ChoiceRecord:
    """Return the settings of an arm after the last round.

    Args:
        sweep: the records of all rounds.
        work: suite and cell of the sweep.
        tuning: rounds, trials and episodes.
        arm: the arm whose settings are returned.
        tuned: the arm whose sweep decides: ``arm`` itself, or the arm that ``arm`` is like.
    """
    failures, cost, trial = scores(sweep, replace(work, arm=tuned.name), tuning, len(tuning.trials) - 1)[0]
    return ChoiceRecord(
        work=replace(work, planner=arm_settings(arm, tuned, trial)),
        tuned_as=tuned.name,
        space=tuned.space,
        trial=trial,
        trials=tuning.trials,
        episodes=tuning.episodes,
        success=1 - failures / tuning.episodes[-1],
        cost=cost,
    )


def arm_settings(arm: Arm, tuned: Arm, trial: int) -> Settings:
    """Return the settings of an arm if a trial of the tuned arm wins."""
    return wrapped(changed(drawn(tuned.space, trial, tuned.change), arm.change), arm.around)
