"""Charts as SVG: lines with bands, in colours that follow a light or a dark page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from grasp_planner.bench.analysing.success_curves import Chart, Curve, nice_ticks

WIDTH, HEIGHT = 480.0, 350.0  # small, so that its text can still be read when a phone makes it smaller
LEFT, RIGHT, TOP, BOTTOM = 54.0, 20.0, 36.0, 74.0
# The page sets the variables, once for light and once for dark; a chart by itself brings both along.
STYLE = """
svg.chart { --ink: #1f2933; --faint: #5f6c7b; --grid: #e1e5ea; --paper: #ffffff;
  --c0: #e8590c; --c1: #7a4fd0; --c2: #0b8a6f; --c3: #2458c5; --c4: #b8860b; --c5: #c2255c;
  --c6: #4d5966; --c7: #0c8599;
  font: 14px system-ui, sans-serif; background: var(--paper); max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { svg.chart { --ink: #e6e9ed; --faint: #9aa5b1; --grid: #313a44; --paper: #14181d;
  --c0: #ff922b; --c1: #b197fc; --c2: #38d9a9; --c3: #74a9ff; --c4: #ffd43b; --c5: #f783ac;
  --c6: #adb5bd; --c7: #3bc9db; } }
"""
DASHES = ("", "7 3", "2 3", "9 3 2 3")


def chart_svg(chart: Chart, standalone: bool = False) -> str:
    """A chart of shares against x: a line, a band and a mark a planner, and what they are called below.

    Args:
        chart: of ``bench.curves``.
        standalone: with its own colours, for a file; otherwise the page's.
    """
    low, high = _range(chart)
    parts = [f'<text x="4" y="20" fill="var(--ink)" font-weight="600">{escape(chart.title)}</text>']
    parts += _axes(chart, low, high)
    colours = [_colour(curve.name, i) for i, curve in enumerate(chart.curves)]
    for i, (curve, colour) in enumerate(zip(chart.curves, colours, strict=True)):
        parts += _line(curve, colour, DASHES[i % len(DASHES)], chart, low, high)
    legend, height = _legend(chart.curves, colours)
    style = f"<style>{STYLE}</style>" if standalone else ""
    label = escape(f"{chart.title}; {chart.x_title}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{label}" '
        f'viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" height="{height:g}">{style}'
        f"{''.join(parts + legend)}</svg>"
    )


def _range(chart: Chart) -> tuple[float, float]:
    values = [x for curve in chart.curves for x in curve.x]
    low, high = min(values), max(values)
    if high <= low:
        return (low / 2, high * 2) if chart.logarithmic else (low - 1, high + 1)
    if chart.logarithmic:
        return low, high
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _x(value: float, chart: Chart, low: float, high: float) -> float:
    share = math.log(value / low) / math.log(high / low) if chart.logarithmic else (value - low) / (high - low)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _axes(chart: Chart, low: float, high: float) -> list[str]:
    parts = []
    for tick in nice_ticks(0, 1, False):
        y = _y(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--grid)"/>')
        parts.append(
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end" fill="var(--faint)">{100 * tick:.0f} %</text>'
        )
    known = sorted({x for curve in chart.curves for x in curve.x})
    ticks = known if not chart.logarithmic and len(known) <= 8 else nice_ticks(low, high, chart.logarithmic)
    for tick in ticks:
        x = _x(tick, chart, low, high)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="var(--faint)">{tick:.3g}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 40}" text-anchor="middle" '
        f'fill="var(--ink)">{escape(chart.x_title)}</text>'
    )
    return parts


def _line(curve: Curve, colour: str, dash: str, chart: Chart, low: float, high: float) -> list[str]:
    x = [_x(value, chart, low, high) for value in curve.x]
    upper = [f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, curve.high, strict=True)]
    lower = [f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, curve.low, strict=True)]
    middle = [f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, curve.y, strict=True)]
    parts = [f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{colour}" opacity="0.13"/>']
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    parts.append(f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2.2"{dashed}/>')
    if len(x) <= 12:
        parts += [f'<circle cx="{a:.1f}" cy="{_y(b):.1f}" r="3.5" fill="{colour}"/>' for a, b in zip(x, curve.y)]
    return parts


def _legend(curves: Sequence[Curve], colours: Sequence[str]) -> tuple[list[str], float]:
    parts, x, y = [], 8.0, HEIGHT - 10
    for i, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        wide = 48 + 8 * len(curve.name)
        if x + wide > WIDTH - RIGHT and x > LEFT:
            x, y = 8.0, y + 20
        dash = DASHES[i % len(DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(
            f'<line x1="{x}" x2="{x + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2.6"{dashed}/>'
        )
        parts.append(f'<text x="{x + 29}" y="{y}" fill="var(--ink)">{escape(curve.name)}</text>')
        x += wide
    return parts, y + 10


def _colour(name: str, i: int) -> str:
    """GRASP is always the same blue; the others take theirs in turn."""
    known = {"CEM": 0, "GD": 1, "LatCo": 2, "GRASP": 3}
    return f"var(--c{known[name] if name in known else (4 + i) % 8})"
