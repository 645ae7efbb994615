"""Charts of success as SVG, drawn by matplotlib, in colours that adapt to a light or a dark page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from io import StringIO
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING

from grasp_planner.figures.style import new_figure
from grasp_planner.figures.theme import CURVE_COLOURS, PLANNER_COLOURS, light, variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from grasp_planner.bench.analysing.success_curves import Chart

WIDTH, HEIGHT = 5.0, 3.1  # inches, without the legend; small, so that text stays readable on a phone
FONT = 10.0  # points
TITLE, NAME = 44, 46  # letters in a line of the title, and of a name in the legend
COLUMNS = 4  # of the legend, at most
ROOM = 0.92  # share of the width that the legend may take, since browsers have other fonts
DODGE = 0.5  # share of the distance between two points in which the error bars of all curves lie side by side
TICK_PAD = 8.0  # points; the first tick of the x axis is clear of the lowest tick of the y axis
FEW = 12  # a curve of at most this many points gets a marker at each point
THICK, THIN = 2.6, 1.4  # points; the highlighted line is thick and solid
DASHES = ((0, (4, 2)), (0, (1, 1.6)), (0, (5, 2, 1, 2)))
DRAWN_COLOURS = {light(name): f"var(--{name})" for name in ("ink", "faint", "grid", *CURVE_COLOURS)}


def chart_svg(chart: Chart, standalone: bool = False) -> str:
    """Draw a chart: for each planner a line, a name, and the 95 % intervals as bars (few points) or as a band.

    Args:
        chart: a chart of ``success_curves``.
        standalone: whether the SVG is a separate file that defines its colours; otherwise the page defines the colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_facecolor("none")
    axes = figure.add_subplot()
    known = sorted({x for curve in chart.curves for x in curve.x})
    few = len(known) <= FEW and not chart.logarithmic
    apart = DODGE * min((b - a for a, b in pairwise(known)), default=0.0) / len(chart.curves)
    for i, curve in enumerate(chart.curves):
        colour = light(PLANNER_COLOURS.get(curve.name, CURVE_COLOURS[(4 + i) % len(CURVE_COLOURS)]))
        marker = "o" if len(curve.x) <= FEW else ""
        first = curve.name == chart.highlighted
        x = [at + apart * (i - (len(chart.curves) - 1) / 2) for at in curve.x] if few else curve.x
        if few:
            axes.vlines(x, curve.low, curve.high, color=colour, linewidth=2 * THIN if first else THIN, alpha=0.7)
        else:
            axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.2 if first else 0.08, linewidth=0)
        (line,) = axes.plot(
            x, curve.y, color=colour, marker=marker, markersize=4, label=fill(curve.name, NAME, break_on_hyphens=False)
        )
        line.set(linestyle="-" if first else DASHES[i % len(DASHES)], linewidth=THICK if first else THIN)
        line.set_zorder(3 if first else 2)
    _finish(axes, chart, known)
    legend = _legend_height(figure)
    figure.set_size_inches(WIDTH, HEIGHT + legend)
    figure.tight_layout(rect=(0, legend / (HEIGHT + legend), 1, 1))
    return _themed(_svg_of(figure, chart.name), chart, standalone)


def _legend_height(figure: Figure) -> float:
    """Add a legend below the axes, in as many columns as fit into the width, and return its height in inches."""
    for columns in range(COLUMNS, 0, -1):
        legend = figure.legend(loc="lower left", ncols=columns, fontsize=FONT, frameon=False, labelcolor=light("ink"))
        box = legend.get_window_extent()
        if box.width <= ROOM * WIDTH * figure.dpi:
            break
        if columns > 1:
            legend.remove()
    return box.height / figure.dpi


def _finish(axes: Axes, chart: Chart, known: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    ink, faint = light("ink"), light("faint")
    if chart.logarithmic:
        axes.set_xscale("log")
        axes.set_xlim((known[0], known[-1]) if known[-1] > known[0] else (known[0] / 2, known[0] * 2))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if known[-1] <= 1000 * known[0] else (1.0,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif len(known) <= FEW:
        axes.set_xticks(known)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))  # never 1e+06 or 10^6
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.grid(axis="y", color=light("grid"))
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.tick_params(which="both", labelsize=FONT, labelcolor=faint, length=0)
    axes.tick_params(axis="x", which="both", pad=TICK_PAD)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(
        fill(chart.title, TITLE, break_on_hyphens=False), fontsize=FONT, fontweight="bold", color=ink, loc="left"
    )
    axes.set_xlabel(chart.x_title, fontsize=FONT, color=ink)


def _svg_of(figure: object, salt: str) -> str:
    import matplotlib

    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata=nothing)  # type: ignore[attr-defined]
    return text.getvalue()


def _themed(svg: str, chart: Chart, standalone: bool) -> str:
    """Return the SVG with CSS variables for colours, the system font, a label for screen readers, and no prolog."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # ids would repeat on a page with several charts
    svg = re.sub(r'font-family: [^;"]*', "font-family: system-ui, sans-serif", svg)
    svg = re.sub(r' clip-path="[^"]*"', "", svg)  # not needed, since curves lie within the axes
    svg = re.sub("|".join(DRAWN_COLOURS), lambda colour: DRAWN_COLOURS[colour[0]], svg)
    label = escape(f"{chart.title}; {chart.x_title}", quote=True)
    svg = svg.replace("<svg ", f'<svg class="chart" role="img" aria-label="{label}" ', 1)
    if not standalone:
        svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)  # would style the page
        return svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    light_theme, dark_theme = variables(dark=False), variables(dark=True)
    style = (
        f"svg.chart {{ {light_theme} background: var(--paper); }} "
        f"@media (prefers-color-scheme: dark) {{ svg.chart {{ {dark_theme} }} }}"
    )
    return re.sub(r"(<svg [^>]*>)", lambda start: f"{start[1]}<style>{style}</style>", svg, count=1)
