"""Results that other authors published, with their source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One cell of a published table.

    Args:
        success: successful trials in percent.
        seconds: median seconds over successful trials; ``None`` if no trial was successful.
    """

    success: float
    seconds: float | None


@dataclass(frozen=True)
class PublishedTable:
    """A published table.

    Args:
        source: paper and number of the table.
        about: what was measured, and how our measurement differs.
        cells: cells by planner and by horizon in environment steps.
    """

    source: str
    about: str
    cells: dict[tuple[str, int], Published]


def _row(planner: str, *cells: tuple[float, float | None]) -> dict[tuple[str, int], Published]:
    return {(planner, 40 + 10 * i): Published(*cell) for i, cell in enumerate(cells)}


PUBLISHED: dict[str, PublishedTable] = {
    "push-t-long": PublishedTable(
        source="arXiv 2602.00475, Table 1",
        about=(
            "The published numbers are of open-loop Push-T with 500 trials per cell, planned in DINO-WM, which reads "
            "pictures. The paper does not name the hardware. It counts success under the learned model; its seconds "
            "are the median over successful trials. Our numbers are of another model, count success in the simulator, "
            "and give seconds on one core. Compare the order of the planners and how it changes with the horizon, not "
            "the numbers."
        ),
        cells={
            **_row("CEM", (61.4, 35.3), (30.2, 96.2), (7.2, 83.1), (7.8, 156.1), (2.8, 132.2)),
            **_row("GD", (51.0, 18.0), (37.6, 76.3), (16.4, 146.5), (12.0, 103.1), (6.4, 161.3)),
            **_row("LatCo", (15.0, 598.0), (4.2, 1114.7), (2.0, 231.5), (0.0, None), (0.0, None)),
            **_row("GRASP", (59.0, 8.5), (43.4, 15.2), (26.2, 49.1), (16.0, 79.9), (10.4, 58.9)),
        },
    ),
}
"""Published tables, by the name that a suite gives as ``published``."""
