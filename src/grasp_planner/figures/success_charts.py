"""Charts of success as SVG, drawn by matplotlib, in colours that adapt to a light or a dark page."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING

from grasp_planner.figures.style import new_figure
from grasp_planner.figures.theme import CURVE_COLOURS, PLANNER_COLOURS, light, variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from grasp_planner.bench.analysing.success_curves import Chart

WIDTH, HEIGHT, LEGEND_ROW = 5.0, 3.1, 0.25  # inches; small, so that text stays readable on a phone
FONT = 10.0  # points
TITLE = 54  # letters in a line of the title
FEW = 12  # a curve of at most this many points gets a marker at each point
THICK, THIN = 2.6, 1.4  # points; the highlighted line is thick and solid
DASHES = ((0, (4, 2)), (0, (1, 1.6)), (0, (5, 2, 1, 2)))
DRAWN_COLOURS = {light(name): f"var(--{name})" for name in ("ink", "faint", "grid", *CURVE_COLOURS)}


def chart_svg(chart: Chart, standalone: bool = False) -> str:
    """Draw a chart: a line, a band and a name for each planner.

    Args:
        chart: a chart of ``success_curves``.
        standalone: whether the SVG is a separate file that defines its colours; otherwise the page defines the colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    columns = 2 if max(len(curve.name) for curve in chart.curves) > 14 else 4
    rows = -(-len(chart.curves) // columns)
    figure = new_figure(WIDTH, HEIGHT + LEGEND_ROW * rows)
    figure.set_facecolor("none")
    axes = figure.add_subplot()
    for i, curve in enumerate(chart.curves):
        colour = light(PLANNER_COLOURS.get(curve.name, CURVE_COLOURS[(4 + i) % len(CURVE_COLOURS)]))
        marker = "o" if len(curve.x) <= FEW else ""
        first = curve.name == chart.highlighted
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2 if first else 0.08, linewidth=0)
        (line,) = axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=4, label=curve.name)
        line.set(linestyle="-" if first else DASHES[i % len(DASHES)], linewidth=THICK if first else THIN)
        line.set_zorder(3 if first else 2)
    _finish(axes, chart)
    figure.legend(loc="lower left", ncols=columns, fontsize=FONT, frameon=False, labelcolor=light("ink"))
    figure.tight_layout(rect=(0, LEGEND_ROW * (rows + 0.3) / (HEIGHT + LEGEND_ROW * rows), 1, 1))
    return _themed(_svg_of(figure, chart.name), chart, standalone)


def _finish(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    ink, faint = light("ink"), light("faint")
    known = sorted({x for curve in chart.curves for x in curve.x})
    if chart.logarithmic:
        axes.set_xscale("log")
        axes.set_xlim((known[0], known[-1]) if known[-1] > known[0] else (known[0] / 2, known[0] * 2))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif len(known) <= FEW:
        axes.set_xticks(known)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.grid(axis="y", color=light("grid"))
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.tick_params(which="both", labelsize=FONT, labelcolor=faint, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(fill(chart.title, TITLE), fontsize=FONT, fontweight="bold", color=ink, loc="left")
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
