"""Figures of the studies of a world model that ``grasp diagnose`` runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grasp_planner.figures.style import FAINT, FONT, GOAL, INK, PLANNED, START, WALL, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from grasp_planner.bench.studies.adversarial_states import Adversarial
    from grasp_planner.bench.studies.goal_paths import GoalPaths
    from grasp_planner.bench.studies.loss_growth import Growth
    from grasp_planner.bench.studies.loss_landscape import Landscape
    from grasp_planner.bench.studies.wall_crossing import WallCrossing

SHOOTING, LIFTED = "#e8590c", PLANNED
GRID = "#e4e7eb"


def growth_figure(growths: Sequence[Growth]) -> Figure:
    """Draw gradient and curvature of both losses against the horizon, with a row for each model."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = new_figure(7.0, 2.9 * len(growths) + 0.3)
    for i, found in enumerate(growths):
        for k, (what, shooting, lifted) in enumerate(
            (
                ("norm of the gradient", found.shooting_gradient, found.lifted_gradient),
                ("largest curvature", found.shooting_curvature, found.lifted_curvature),
            )
        ):
            axes = figure.add_subplot(len(growths), 2, 2 * i + k + 1)
            axes.plot(found.horizons, shooting, "o-", color=SHOOTING, label="rollout (shooting)", markersize=4)
            axes.plot(found.horizons, lifted, "s-", color=LIFTED, label="lifted", markersize=4)
            if k == 1 and found.shooting_theory:
                axes.plot(found.horizons, found.shooting_theory, "--", color=SHOOTING, label="rollout, closed form")
                axes.plot(found.horizons, found.lifted_bound, "--", color=LIFTED, label="lifted, upper bound")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            _finish(axes, f"{found.name}: {what}", "horizon T, model steps", "")
            axes.legend(fontsize=FONT - 2, frameon=False, labelcolor=INK)
    figure.tight_layout()
    return figure


def landscape_figure(found: Landscape) -> Figure:
    """Draw both losses around a plan, in logarithmic colours."""
    figure = new_figure(7.0, 3.5)
    for k, (name, values) in enumerate((("rollout (shooting)", found.shooting), ("lifted", found.lifted))):
        axes = figure.add_subplot(1, 2, k + 1)
        logs = np.log10(np.maximum(np.array(values), 1e-6))
        levels = np.linspace(float(logs.min()), max(float(logs.max()), float(logs.min()) + 1e-3), 16)
        drawn = axes.contourf(found.at, found.at, logs.T, levels=levels, cmap="viridis")
        axes.contour(found.at, found.at, logs.T, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
        axes.plot([0], [0], "+", color="white", markersize=9)
        bar = figure.colorbar(drawn, ax=axes, fraction=0.046)
        bar.ax.tick_params(labelsize=FONT - 2, colors=FAINT)
        _finish(axes, f"{name}, log10, T = {found.horizon}", "first direction", "second direction" if k == 0 else "")
        axes.set_aspect("equal")
        axes.grid(False)
    figure.tight_layout()
    return figure


def paths_figure(found: GoalPaths) -> Figure:
    """Draw the distance to the goal along paths that reach the goal."""
    figure = new_figure(7.0, 3.4)
    axes = figure.add_subplot()
    for row in found.cost:
        axes.plot(found.steps, row, color=PLANNED, alpha=0.45, linewidth=1.2)
    axes.plot(found.steps, np.median(np.array(found.cost), axis=0), color=SHOOTING, linewidth=2.4, label="median")
    axes.axhline(1.0, color=FAINT, linestyle="--", linewidth=1)
    title = f"On paths that reach the goal, {100 * found.away:.0f} % of the steps increase the distance"
    _finish(axes, title, "environment steps", "distance, start = 1")
    axes.legend(fontsize=FONT - 1, frameon=False, labelcolor=INK)
    figure.tight_layout()
    return figure


def adversarial_figure(found: Adversarial) -> Figure:
    """Draw the effect of a small change of the state on the prediction, and on the simulator."""
    figure = new_figure(7.0, 3.4)
    axes = figure.add_subplot()
    axes.plot(found.sizes, found.gradient, "o-", color=SHOOTING, label="predicted, change along the state gradient")
    axes.plot(found.sizes, found.chance, "s-", color=START, label="predicted, change in a random direction")
    if found.truth:
        real = [float("nan") if one is None else one for one in found.truth]
        axes.plot(found.sizes, real, "^--", color=GOAL, label="simulator, from the decoded state")
    axes.axhline(1.0, color=FAINT, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    # Large changes can give very large values. Only values below 1 matter, so the axis is cut.
    axes.set_ylim(0, min(2.0, 1.1 * max(1.0, *found.gradient, *found.chance)))
    _finish(
        axes,
        "Distance to the goal after the idle action",
        "change of the state, in units of the scale",
        "relative to no change",
    )
    axes.legend(fontsize=FONT - 1, frameon=False, labelcolor=INK)
    figure.tight_layout()
    return figure


def wall_crossing_figure(found: WallCrossing) -> Figure:
    """Draw virtual states and rollouts across a wall, with and without gradients to the states."""
    figure = new_figure(7.0, 4.0)
    for k, name in enumerate(found.virtual):
        axes = figure.add_subplot(1, 2, k + 1)
        for wall in found.walls:
            axes.plot(*zip(*wall, strict=True), color=WALL, linewidth=5, solid_capstyle="butt")
        axes.plot(
            *zip(*found.rollout[name], strict=True), ".-", color=SHOOTING, label="rollout of the plan", linewidth=1.4
        )
        axes.plot(*zip(*found.virtual[name], strict=True), "o-", color=PLANNED, label="virtual states", markersize=4)
        axes.plot(*found.start, "o", color=START, markersize=11, label="start")
        axes.plot(*found.goal, "*", color=GOAL, markersize=15, label="goal")
        axes.set(xlim=(0, 10), ylim=(0, 10), aspect="equal")
        crossed, reached = 100 * found.crossed[name], 100 * found.reached[name]
        told = f"{name}: {crossed:.0f} % go through the wall,\n{reached:.0f} % of plans reach the goal"
        _finish(axes, told, "x, m", "y, m" if k == 0 else "")
        if k == 0:
            axes.legend(fontsize=FONT - 2, frameon=False, labelcolor=INK, loc="upper left")
    figure.tight_layout()
    return figure


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, fontsize=FONT, color=INK, loc="left")
    axes.set_xlabel(x_label, fontsize=FONT - 1, color=INK)
    axes.set_ylabel(y_label, fontsize=FONT - 1, color=INK)
    axes.tick_params(labelsize=FONT - 2, colors=FAINT)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_edgecolor(WALL)
