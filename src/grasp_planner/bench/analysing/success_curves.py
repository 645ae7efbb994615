"""Success against the horizon, against seconds and against model transitions, computed from records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from grasp_planner.bench.analysing.cells import arms_of, cells_of, environment_of
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.analysing.winners import highlighted
from grasp_planner.bench.records import EpisodeRecord, Record, of_kind
from grasp_planner.bench.timed_records import Moment, TimedRecord

MOMENTS = 60  # points of a curve over time
LEAST = 1e-3  # left end of a logarithmic axis, at least


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Args:
        name: name of the planner.
        x: positions of the points.
        y: success shares, from 0 to 1.
        low: lower ends of the 95 % confidence intervals.
        high: upper ends of the intervals.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, Share]]) -> Curve:
        """Return the curve through some success shares."""
        x = tuple(float(at) for at, _ in points)
        shares = [share for _, share in points]
        return cls(name, x, tuple(s.value for s in shares), tuple(s.low for s in shares), tuple(s.high for s in shares))


@dataclass(frozen=True)
class Chart:
    """Curves in one coordinate system.

    Args:
        name: name in files.
        title: heading.
        x_title: label of the x axis, with the unit.
        curves: one per planner.
        logarithmic: whether the x axis is logarithmic.
        highlighted: name of the curve that stands out; empty if none does.
    """

    name: str
    title: str
    x_title: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False
    highlighted: str = ""


def charts(records: Sequence[Record]) -> list[Chart]:
    """Return all charts for which there are records."""
    made = horizon_charts(records) + time_charts(records, "seconds") + time_charts(records, "transitions")
    first = highlighted(records)
    return [replace(chart, highlighted=first) for chart in made]


def horizon_charts(records: Sequence[Record]) -> list[Chart]:
    """Return success in the simulator against the horizon, for every task and model with several horizons."""
    tested = of_kind(records, EpisodeRecord)
    made = []
    for task, model in sorted({(record.work.task, record.work.model) for record in tested}):
        here = [record for record in tested if (record.work.task, record.work.model) == (task, model)]
        cells = cells_of(here)
        if len(cells) < 2:
            continue
        curves = []
        for arm in arms_of(here):
            points = []
            for cell in cells:
                won = [record.won for record in here if record.work.arm == arm and record.work.cell == cell]
                points += [(cell[1], Share(sum(won), len(won)))] if won else []
            curves.append(Curve.of(arm, points))
        title = f"Success against the horizon: {environment_of(task)}, {model}"
        made.append(Chart(f"horizon-{_slug(task, model)}", title, "horizon, environment steps", tuple(curves)))
    return made


def time_charts(records: Sequence[Record], unit: Literal["seconds", "transitions"]) -> list[Chart]:
    """Return success of the best plan so far against the seconds or the model transitions of planning.

    If episodes were planned with several limits in seconds, the curves show the plans with the largest limit.
    """
    name = "time" if unit == "seconds" else "transitions"
    timed = [record for record in of_kind(records, TimedRecord) if record.clock.moments]
    made = []
    for cell in cells_of(timed):
        here = [record for record in timed if record.work.cell == cell]
        longest = max(record.seconds_limit for record in here)
        here = [record for record in here if record.seconds_limit == longest]
        together = max(record.clock.batch for record in here)
        at_a_time = "one problem at a time" if together == 1 else f"{together} problems at a time"
        grid = _grid([_spent(moment, unit) for record in here for moment in record.clock.moments])
        curves = []
        for arm in arms_of(here):
            plans = [record.clock.moments for record in here if record.work.arm == arm]
            curves.append(Curve.of(arm, [(at, _share_at(plans, unit, at)) for at in grid]))
        task, horizon, model = cell
        title = f"Success against {name}: {environment_of(task)}, H = {horizon}, {model}"
        x_title = f"seconds of planning, {at_a_time}" if unit == "seconds" else "model transitions"
        made.append(Chart(f"{unit}-{_slug(task, model)}-{horizon}", title, x_title, tuple(curves), True))
    return made


def _spent(moment: Moment, unit: Literal["seconds", "transitions"]) -> float:
    return moment.seconds if unit == "seconds" else moment.transitions


def _share_at(plans: Sequence[Sequence[Moment]], unit: Literal["seconds", "transitions"], at: float) -> Share:
    """Return the share of the problems whose best plan succeeds in the simulator when ``at`` has been spent."""
    won = 0
    for moments in plans:
        so_far = [moment.success for moment in moments if _spent(moment, unit) <= at]
        won += bool(so_far and so_far[-1])
    return Share(won, len(plans))


def _grid(values: Sequence[float]) -> list[float]:
    low, high = max(min(values), LEAST), max(values)
    return np.geomspace(low, high, MOMENTS).tolist() if high > low else [high]


def _slug(*names: str) -> str:
    return "-".join("".join(c if c.isalnum() else "-" for c in name).strip("-") for name in names)
