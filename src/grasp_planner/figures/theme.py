"""Colours of the report, for light and for dark pages, as CSS variables."""

from __future__ import annotations

COLOURS = {
    "ink": ("#1f2933", "#e6e9ed"),
    "faint": ("#5f6c7b", "#9aa5b1"),
    "grid": ("#e1e5ea", "#313a44"),
    "paper": ("#ffffff", "#14181d"),
    "panel": ("#f6f7f9", "#1d232a"),
    "wall": ("#b9c1cb", "#4b5763"),
    "start": ("#7b8794", "#9aa5b1"),
    "goal": ("#12803a", "#51cf66"),
    "plan": ("#2458c5", "#74a9ff"),
    "run": ("#d9480f", "#ff922b"),
    "missed": ("#c92a2a", "#ff8787"),
    "accent": ("#2458c5", "#74a9ff"),
    "c0": ("#e8590c", "#ff922b"),
    "c1": ("#7a4fd0", "#b197fc"),
    "c2": ("#0b8a6f", "#38d9a9"),
    "c3": ("#2458c5", "#74a9ff"),
    "c4": ("#b8860b", "#ffd43b"),
    "c5": ("#c2255c", "#f783ac"),
    "c6": ("#4d5966", "#adb5bd"),
    "c7": ("#0c8599", "#3bc9db"),
}
"""Name -> colour on a light page, colour on a dark page."""

CURVE_COLOURS = tuple(name for name in COLOURS if name.startswith("c") and name[1:].isdigit())
PLANNER_COLOURS = {
    **{"CEM": "c0", "GD": "c1", "LatCo": "c2", "GRASP": "c3"},
    **{"iCEM": "c4", "recommended": "c5", "MPPI": "c7"},
}
"""Colours that are the same in every chart."""


def light(name: str) -> str:
    """Return the colour called ``name`` on a light page."""
    return COLOURS[name][0]


def variables(dark: bool) -> str:
    """Return all colours as declarations of CSS variables.

    >>> variables(dark=False)[:14]
    '--ink: #1f2933'
    """
    return "; ".join(f"--{name}: {pair[dark]}" for name, pair in COLOURS.items()) + ";"
