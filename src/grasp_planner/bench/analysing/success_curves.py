"""Curves: success against the horizon and against time, as pure functions of records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grasp_planner.bench.analysing.result_tables import Place, arms, of_kind, place, places
from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.records import CLOCK, Record

MOMENTS = 60  # at which a curve over time is drawn


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Args:
        name: of the planner.
        x: where it is known.
        y: the share, from 0 to 1.
        low: the lower end of its 95% interval.
        high: the upper end.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, Share]]) -> Curve:
        """The curve through some shares."""
        x = tuple(float(at) for at, _ in points)
        shares = [share for _, share in points]
        return cls(name, x, tuple(s.value for s in shares), tuple(s.low for s in shares), tuple(s.high for s in shares))


@dataclass(frozen=True)
class Chart:
    """Curves that are drawn together.

    Args:
        name: for files.
        title: what it shows.
        x_title: with the unit.
        curves: one a planner.
        logarithmic: whether x is.
    """

    name: str
    title: str
    x_title: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False


def charts(records: Sequence[Record]) -> list[Chart]:
    """Every chart that there are records for."""
    return horizon_charts(records) + time_charts(records, "seconds") + time_charts(records, "transitions")


def horizon_charts(records: Sequence[Record]) -> list[Chart]:
    """Success in the simulator against the horizon, for every task and model with more than one."""
    tested = of_kind(records, "episode")
    made = []
    for task, model in sorted({(record["task"], record["model"]) for record in tested}):
        here = [record for record in tested if (record["task"], record["model"]) == (task, model)]
        if len(places(here)) < 2:
            continue
        wins = "reached" if here[0]["mode"] == "closed-loop" else "success"
        curves = []
        for arm in arms(here):
            points = []
            for where in places(here):
                found = [record[wins] for record in here if record["arm"] == arm and place(record) == where]
                points += [(where[1], Share(sum(found), len(found)))] if found else []
            curves.append(Curve.of(arm, points))
        title = f"Success against the horizon: {task.partition('/')[0]}, {model}"
        made.append(Chart(f"horizon-{_slug(task, model)}", title, "horizon, environment steps", tuple(curves)))
    return made


def time_charts(records: Sequence[Record], unit: str) -> list[Chart]:
    """Success of the plan in hand against the seconds, or the model transitions, that were spent on it."""
    name = "time" if unit == "seconds" else "transitions"
    timed = [record for record in of_kind(records, "timed") if record[CLOCK]["moments"]]
    made = []
    for where in places(timed):
        here = [record for record in timed if place(record) == where]
        grid = _grid([m[unit] for record in here for m in record[CLOCK]["moments"]])
        curves = []
        for arm in arms(here):
            plans = [record[CLOCK]["moments"] for record in here if record["arm"] == arm]
            curves.append(Curve.of(arm, [(at, _in_hand(plans, unit, at)) for at in grid]))
        title = f"Success against {name}: {_title(where)}"
        x_title = "seconds of planning, one problem at a time" if unit == "seconds" else "model transitions spent"
        made.append(Chart(f"{unit}-{_slug(where[0], where[2])}-{where[1]}", title, x_title, tuple(curves), True))
    return made


def _in_hand(plans: Sequence[Sequence[Record]], unit: str, at: float) -> Share:
    """Of some problems, those whose best plan at a moment succeeds in the simulator."""
    won = 0
    for moments in plans:
        had = [moment["success"] for moment in moments if moment[unit] <= at]
        won += bool(had and had[-1])
    return Share(won, len(plans))


def _grid(values: Sequence[float]) -> list[float]:
    low, high = max(min(values), 1e-3), max(values)
    return [low * (high / low) ** (i / (MOMENTS - 1)) for i in range(MOMENTS)] if high > low else [high]


def _title(where: Place) -> str:
    return f"{where[0].partition('/')[0]}, H = {where[1]}, {where[2]}"


def _slug(*names: str) -> str:
    return "-".join("".join(c if c.isalnum() else "-" for c in name).strip("-") for name in names)


def nice_ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round numbers to write on an axis.

    >>> nice_ticks(0, 1, False), nice_ticks(0.2, 30, True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.3, 1.0, 3.0, 10.0, 30.0])
    """
    if logarithmic:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5)):
            ticks = [float(f"{k * 10.0**n:.3g}") for n in decades for k in factors]
            ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
            if len(ticks) > 3:
                break
        return ticks or [low, high]
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * step) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
