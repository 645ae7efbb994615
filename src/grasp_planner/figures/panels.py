"""Panels of a figure, which are drawn once and then updated for each moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.domains.registry import scene
from grasp_planner.domains.scenes import Scene, zoomed
from grasp_planner.figures.style import EXECUTED, FAINT, FONT, GOAL, INK, PANEL, PAPER, PLANNED, START, WALL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from grasp_planner.bench.running.planning_frames import Recording

GOAL_DASHES = (0, (4, 1.5))


def time_colours(count: int) -> np.ndarray:
    """Return colours (count, 4) for states along time, from early (violet) to late (amber)."""
    import matplotlib

    return matplotlib.colormaps["plasma"](np.linspace(0.12, 0.82, count))


def draw_world(axes: Axes, scene: Scene, start: np.ndarray, goal: np.ndarray) -> list[Artist]:
    """Draw walls, the start in grey, and the outline of the goal in green. Return the artists to draw on top."""
    from matplotlib.patches import Rectangle

    left, right, bottom, top = scene.view
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal", facecolor=PANEL)
    for spine in axes.spines.values():
        spine.set_edgecolor(WALL)
    for x, y, width, height in scene.walls:
        axes.add_patch(Rectangle((x, y), width, height, facecolor=WALL, edgecolor="none", zorder=1))
    on_top: list[Artist] = []
    for body in scene.bodies:
        axes.fill(*body.at(start).T, facecolor=START, alpha=0.35, edgecolor=START, linewidth=1, zorder=2)
        axes.fill(*body.at(goal).T, facecolor=GOAL, alpha=0.14, edgecolor="none", zorder=2)
        on_top += axes.plot(*_closed(body.at(goal)).T, color=GOAL, linewidth=1.6, linestyle=GOAL_DASHES, zorder=8)
    return on_top


def stage_of(recordings: Sequence[Recording]) -> Scene:
    """Return the scene of some recordings of one episode, cropped to their plans and executions."""
    first = recordings[0]
    seen = [first.start[None], first.goal[None]]
    seen += [states for recording in recordings for states in (recording.executed, recording.imagined)]
    return zoomed(scene(first.env), np.concatenate(seen))


class PlanPanel:
    """The plan at one moment of planning: virtual states, and the rollout of the current actions in the model."""

    def __init__(self, axes: Axes, scene: Scene, recording: Recording) -> None:
        from matplotlib.collections import PolyCollection

        on_top = draw_world(axes, scene, recording.start, recording.goal)
        self.scene, self.recording = scene, recording
        lifted = recording.virtual is not None
        count = recording.rollouts.shape[1] - (1 if lifted else 0)
        colours = time_colours(count)
        self.ghosts: list[tuple[Any, Any]] = []
        tinted = colours * [1, 1, 1, 0.06]
        for _ in scene.bodies:
            ghost = PolyCollection([], facecolors=tinted, edgecolors=colours, linewidths=1.1, zorder=4)
            axes.add_collection(ghost)
            (path,) = axes.plot([], [], color=PLANNED, linewidth=1.6, alpha=0.9, zorder=5, solid_capstyle="round")
            self.ghosts.append((ghost, path))
        self.ends = [
            axes.fill([0, 0], [0, 0], facecolor=PLANNED, alpha=0.28, edgecolor=PLANNED, linewidth=1.4, zorder=6)[0]
            for _ in scene.bodies
        ]
        self.moving = [artist for pair in self.ghosts for artist in pair] + self.ends + on_top

    def show(self, moment: int) -> None:
        """Show one of the recorded moments."""
        rollout = self.recording.rollouts[moment]
        shown = rollout if self.recording.virtual is None else self.recording.virtual[moment]
        path = np.concatenate([self.recording.start[None], rollout])
        for body, (ghost, line), end in zip(self.scene.bodies, self.ghosts, self.ends, strict=True):
            ghost.set_verts(body.at(shown))
            line.set_data(*body.path(path).T)
            end.set_xy(body.at(rollout[-1]))


class ExecutionPanel:
    """The execution of the plan in the simulator, up to some step."""

    def __init__(self, axes: Axes, scene: Scene, recording: Recording, every: int | None = None) -> None:
        on_top = draw_world(axes, scene, recording.start, recording.goal)
        self.scene, self.recording = scene, recording
        self.every = recording.frameskip if every is None else every
        self.paths = [axes.plot([], [], color=EXECUTED, linewidth=1.6, alpha=0.9, zorder=5)[0] for _ in scene.bodies]
        self.ghosts = [
            axes.plot([], [], color=EXECUTED, linewidth=0.7, alpha=0.4, zorder=4)[0] for _ in scene.bodies[:1]
        ]
        self.now = [
            axes.fill([0, 0], [0, 0], facecolor=EXECUTED, alpha=0.55, edgecolor=EXECUTED, linewidth=1.4, zorder=6)[0]
            for _ in scene.bodies
        ]
        self.moving = [*self.ghosts, *self.paths, *self.now, *on_top]

    def show(self, step: int) -> None:
        """Show the execution up to an environment step."""
        states = self.recording.executed[: step + 1]
        for body, path, now in zip(self.scene.bodies, self.paths, self.now, strict=True):
            path.set_data(*body.path(states).T)
            now.set_xy(body.at(states[-1]))
        for body, ghost in zip(self.scene.bodies, self.ghosts, strict=False):
            outlines = [np.vstack([_closed(one), [[np.nan, np.nan]]]) for one in body.at(states[:: self.every])]
            ghost.set_data(*np.concatenate(outlines).T)


class CostPanel:
    """The cost of the best plan so far against planner steps, with a mark at the current step."""

    def __init__(self, axes: Axes, recording: Recording) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        cost = np.where(np.isfinite(recording.best_cost), recording.best_cost, np.nan)
        # A logarithmic axis shows positive numbers only, so a cost of zero is drawn at the bottom.
        lowest = np.nanmin(np.where(cost > 0, cost, np.nan), initial=1.0)
        self.cost = np.maximum(cost, lowest)
        axes.set_yscale("log")
        axes.plot(self.cost, color=PLANNED, linewidth=1.8, drawstyle="steps-post")
        (self.mark,) = axes.plot(
            [], [], "o", color=PLANNED, markeredgecolor=PAPER, markersize=8, zorder=5, clip_on=False
        )
        self.moving = [self.mark]
        axes.set_xlim(0, max(1, len(cost) - 1))
        axes.set_xlabel(f"{recording.planner} steps", fontsize=FONT, color=INK)
        axes.set_ylabel("cost of the best", fontsize=FONT, color=INK)
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="both", labelsize=FONT - 1, colors=FAINT, length=3)
        axes.grid(True, which="major", color="#e4e7eb", linewidth=0.8)
        axes.set_facecolor(PAPER)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_edgecolor(WALL)

    def show(self, step: int) -> None:
        """Move the mark to a planner step."""
        step = min(step, len(self.cost) - 1)
        self.mark.set_data([step], [self.cost[step]])


def add_legend(figure: Figure, lifted: bool, **where: Any) -> None:
    """Add a legend of the colours. ``where`` holds the arguments of matplotlib's ``legend`` that place the legend."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    line = Line2D([], [], color=GOAL, linestyle=(0, (3, 1.2)), linewidth=1.8)
    along = tuple(Patch(facecolor=PANEL, edgecolor=colour, linewidth=1.6) for colour in time_colours(3))
    entries = {
        "start": Patch(facecolor=START, alpha=0.5, edgecolor=START),
        "goal": line,
        f"{'virtual' if lifted else 'imagined'} states, early to late": along,
        "rollout in the model": Patch(facecolor=(*_rgb(PLANNED), 0.3), edgecolor=PLANNED),
        "simulator": Patch(facecolor=(*_rgb(EXECUTED), 0.6), edgecolor=EXECUTED),
    }
    figure.legend(
        handles=list(entries.values()),
        labels=list(entries),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.0)},
        fontsize=FONT,
        frameon=False,
        labelcolor=INK,
        **where,
    )


def outcome(recording: Recording) -> str:
    """Return the result in the simulator: success, and the distances to the goal."""
    named = ("position", "angle")  # success depends on these distances; the others are their components
    told = [_with_unit(name, value) for name, value in recording.distances.items() if name.startswith(named)]
    return f"{'success' if recording.success else 'missed'}, {', '.join(told)} off"


def _with_unit(name: str, value: float) -> str:
    """Return the value with its unit: ``12 px`` for a name that ends on ``_px``, ``4°`` for ``_deg``.

    >>> _with_unit("position_px", 11.8), _with_unit("angle_deg", 4.2), _with_unit("position", 0.1234)
    ('12 px', '4°', '0.123')
    """
    unit = name.partition("_")[2]
    if unit in ("px", "deg"):
        return f"{value:.0f}°" if unit == "deg" else f"{value:.0f} px"
    return f"{value:.3g} {unit}".strip()


def _closed(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, points[:1]])


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
