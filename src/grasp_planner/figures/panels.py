"""Panels of a figure, which are drawn once and then updated for each moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grasp_planner.domains.domain import with_unit
from grasp_planner.domains.registry import scene
from grasp_planner.domains.scenes import Scene, zoomed
from grasp_planner.figures.style import EXECUTED, FAINT, FONT, GOAL, INK, PANEL, PAPER, PLANNED, START, WALL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    from grasp_planner.bench.running.planning_frames import Recording

GOAL_DASHES = (0, (4, 1.5))
FEW, EARLIER = 4, 4  # states that are drawn of a plan; earlier moments of planning that are drawn


def time_colours(count: int) -> np.ndarray:
    """Return colours (count, 4) for states along time, from early (light blue) to late (dark blue)."""
    import matplotlib

    return matplotlib.colormaps["Blues"](np.linspace(0.4, 0.95, count))


def few(count: int) -> np.ndarray:
    """Return the indices of at most four of ``count`` states: the last one, and others at equal distances before it.

    >>> few(10).tolist(), few(3).tolist()
    ([2, 4, 6, 9], [0, 1, 2])
    """
    return np.unique((np.linspace(0, count, min(count, FEW) + 1)[1:] - 1).round().astype(int))


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
    """The plan at one moment of planning: a few states, coloured by time, and the last states at earlier moments.

    The states are the virtual states of a planner that has some, and the rollout of the actions in the model otherwise.
    """

    def __init__(self, axes: Axes, scene: Scene, recording: Recording) -> None:
        from matplotlib.collections import PolyCollection

        on_top = draw_world(axes, scene, recording.start, recording.goal)
        self.scene = scene
        self.states = recording.rollouts if recording.virtual is None else recording.virtual
        self.shown = few(self.states.shape[1])
        self.earlier = PolyCollection([], facecolors="none", edgecolors=FAINT, linewidths=0.8, alpha=0.4, zorder=3)
        axes.add_collection(self.earlier)
        self.bodies = [coloured_bodies(axes, len(self.shown)) for _ in scene.bodies]
        self.moving = [self.earlier, *self.bodies, *on_top]

    def show(self, moment: int) -> None:
        """Show one of the recorded moments."""
        before = np.unique(np.linspace(0, moment, EARLIER + 1).astype(int)[:-1])
        self.earlier.set_verts(list(self.scene.bodies[0].at(self.states[before[before < moment], -1])))
        for body, drawn in zip(self.scene.bodies, self.bodies, strict=True):
            drawn.set_verts(list(body.at(self.states[moment, self.shown])))


class ExecutionPanel:
    """The execution of the plan in the simulator up to some step: a few states, coloured by time, and the paths."""

    def __init__(self, axes: Axes, scene: Scene, recording: Recording) -> None:
        on_top = draw_world(axes, scene, recording.start, recording.goal)
        self.scene, self.states = scene, recording.executed
        self.shown = few(len(self.states) - 1) + 1  # the start is drawn in grey
        self.paths = [axes.plot([], [], color=EXECUTED, linewidth=1.1, alpha=0.8, zorder=5)[0] for _ in scene.bodies]
        self.bodies = [coloured_bodies(axes, len(self.shown)) for _ in scene.bodies]
        self.now = [
            axes.fill([0, 0], [0, 0], facecolor=EXECUTED, alpha=0.55, edgecolor=EXECUTED, linewidth=1.4, zorder=6)[0]
            for _ in scene.bodies
        ]
        self.moving = [*self.bodies, *self.paths, *self.now, *on_top]

    def show(self, step: int) -> None:
        """Show the execution up to an environment step."""
        until = self.states[: step + 1]
        passed = self.states[self.shown[self.shown < step]]
        for body, path, drawn, now in zip(self.scene.bodies, self.paths, self.bodies, self.now, strict=True):
            path.set_data(*body.path(until).T)
            drawn.set_verts(list(body.at(passed)))
            now.set_xy(body.at(until[-1]))


def coloured_bodies(axes: Axes, count: int) -> PolyCollection:
    """Add outlines of one body at ``count`` states, coloured by time; ``set_verts`` places them."""
    from matplotlib.collections import PolyCollection

    colours = time_colours(count)
    bodies = PolyCollection([], facecolors=colours * [1, 1, 1, 0.28], edgecolors=colours, linewidths=1.3, zorder=4)
    axes.add_collection(bodies)
    return bodies


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


def add_legend(figure: Figure, lifted: Sequence[bool], **where: Any) -> None:
    """Add a legend of the colours.

    Args:
        figure: the figure.
        lifted: for each recording of the figure, whether its states are virtual states.
        where: the arguments of matplotlib's ``legend`` that place the legend.
    """
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = [kind for kind, seen in (("imagined", False), ("virtual", True)) if seen in lifted]
    along = tuple(Patch(facecolor=(*colour[:3], 0.28), edgecolor=colour) for colour in time_colours(FEW))
    entries = {
        "start": Patch(facecolor=START, alpha=0.5, edgecolor=START),
        "goal": Line2D([], [], color=GOAL, linestyle=(0, (3, 1.2)), linewidth=1.8),
        f"{' or '.join(kinds)} states, early to late": along,
        "last state at earlier steps": Patch(facecolor="none", edgecolor=FAINT, alpha=0.5),
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
    told = [_distance_text(name, value) for name, value in recording.distances.items() if name.startswith(named)]
    return f"{'success' if recording.success else 'missed'}, {', '.join(told)} off"


def _distance_text(name: str, value: float) -> str:
    """Return a distance with its unit. Pixels and degrees are rounded to whole numbers.

    >>> _distance_text("position_px", 11.8), _distance_text("angle_deg", 4.2), _distance_text("position", 0.1234)
    ('12 px', '4°', '0.123')
    """
    digits = ".0f" if name.endswith(("_px", "_deg")) else ".3g"
    return with_unit(name, f"{value:{digits}}")


def _closed(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, points[:1]])


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
