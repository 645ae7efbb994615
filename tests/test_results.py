"""Tables of results in the README and in docs/ agree with the files that the benchmarks wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/summary.json"))
OVERVIEW = ROOT / "docs" / "results" / "README.md"

# Name of a planner on a page -> its name in reports, where they differ.
OTHER_NAMES = {"GRASP, then GD": "GRASP, polished", "LatCo, then GD": "LatCo, polished"}
SAME_NAMES = [
    "CEM",
    "iCEM",
    "MPPI",
    "LatCo",
    "GD",
    "GD, one start",
    "GD, 16 starts",
    "GRASP",
    "GRASP, paper",
    "GRASP, authors' code",
    "GRASP, second order",
    "recommended",
    *(f"{planner}, published" for planner in ("CEM", "GD", "LatCo", "GRASP")),
]
NAMES = {name: name for name in SAME_NAMES} | OTHER_NAMES


def section(page: Path, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of each table."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def successes(suite: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the columns, and for each planner of a report its success in the simulator, as written there."""
    report = (ROOT / "docs" / "results" / suite / "report.md").read_text().replace("**", "")
    table = report.split("### Success in the simulator")[1].split("###")[0]
    header, *body = [row for row in rows(table) if not row[0].startswith("---")]
    return header[1:], {name: cells for name, *cells in body}


@pytest.mark.parametrize(
    "page, title, suite, columns",
    [
        (ROOT / "README.md", "Results", "push-t-long", ["H = 40", "H = 50", "H = 60", "H = 70", "H = 80"]),
        (OVERVIEW, "Push-T over long horizons", "push-t-long", ["H = 40", "H = 50", "H = 60", "H = 70", "H = 80"]),
        (OVERVIEW, "Push-T with equal time", "push-t-equal-time", ["H = 40", "H = 50", "H = 60", "H = 70", "H = 80"]),
        (
            OVERVIEW,
            "Push-T over long horizons, in pictures",
            "push-t-long-pixels",
            ["H = 40", "H = 50", "H = 60", "H = 70", "H = 80"],
        ),
        (OVERVIEW, "Short horizons", "short", ["push_t H = 10", "push_t H = 20", "push_t H = 30"]),
        (
            OVERVIEW,
            "Short horizons, in pictures",
            "short-pixels",
            ["push_t H = 10", "push_t H = 20", "push_t H = 30"],
        ),
        (
            OVERVIEW,
            "Closed loop, in pictures",
            "closed-loop-pixels",
            ["push_t H = 25", "point_maze H = 25", "wall H = 25"],
        ),
        (OVERVIEW, "Closed loop", "closed-loop", ["push_t H = 25", "point_maze H = 25", "wall H = 25"]),
        (OVERVIEW, "Models on patch features", "patches", ["H = 25", "H = 50"]),
        (OVERVIEW, "A model that is trained end to end", "lewm", ["H = 25", "H = 50"]),
        (
            OVERVIEW,
            "Short horizons on patch features",
            "patches-short",
            ["push_t H = 10", "push_t H = 20", "push_t H = 30"],
        ),
        (
            OVERVIEW,
            "Closed loop on patch features",
            "patches-closed-loop",
            ["push_t H = 25", "point_maze H = 25", "wall H = 25"],
        ),
    ],
    ids=[
        "README",
        "push-t-long",
        "push-t-equal-time",
        "push-t-long-pixels",
        "short",
        "short-pixels",
        "closed-loop-pixels",
        "closed-loop",
        "patches",
        "lewm",
        "patches-short",
        "patches-closed-loop",
    ],
)
def test_tables_of_success_are_those_of_the_report(page: Path, title: str, suite: str, columns: list[str]) -> None:
    """Every number and every interval of a page agrees."""
    reported_columns, reported = successes(suite)
    shown = [row for row in rows(section(page, title)) if row[0] in NAMES and row[1][0].isdigit()]
    assert len(shown) >= 4
    for name, *cells in shown:
        row = reported[NAMES[name]]
        wanted = [row[reported_columns.index(column)].replace(" %", "") for column in columns]
        for cell, full in zip(cells, wanted, strict=True):
            assert cell in (full, full.split(" ")[0]), (name, cell, full)


@pytest.mark.parametrize(
    "suite, title", [("ablation", "Ablation"), ("ablation-pixels", "Ablation, in pictures")], ids=["states", "pictures"]
)
def test_the_ablation_is_that_of_the_report(suite: str, title: str) -> None:
    _, reported = successes(suite)
    arms = {
        "sync": "no sync",
        "noise on virtual states": "no noise",
        "stop-gradient": "state gradients",
        "goal term": "no goal term",
    }
    of_grasp, of_recommended = section(OVERVIEW, title).split("| recommended planner |")
    shown = [row for row in rows(of_grasp) if row[0] in arms]
    assert len(shown) == len(arms)
    for part, as_grasp, tuned, *_ in shown:
        assert reported[arms[part]][0].startswith(f"{as_grasp} %")
        assert reported[f"{arms[part]}, tuned"][0].startswith(f"{tuned} %")
    complete = {f"recommended, {row[0]}".removesuffix(", complete"): row[1] for row in rows(of_recommended)}
    assert complete == {arm: row[0].split(" ")[0] for arm, row in reported.items() if arm.startswith("recommended")}


def test_the_scales_of_the_noise_are_those_of_the_report() -> None:
    _, reported = successes("ablation")
    noise = next(row for row in rows(section(OVERVIEW, "Ablation")) if row[0] == "success")
    scales = ("no noise", "noise 0.1", "noise 0.5", "GRASP", "noise 2")
    assert [reported[arm][0].split(" ")[0] for arm in scales] == noise[1:]


@pytest.mark.parametrize(
    "suite, title, count",
    [
        ("anytime", "Success against wall-clock time", 8),
        ("anytime-pixels", "Success against wall-clock time, in pictures", 8),
        ("patches-anytime", "Success against wall-clock time on patch features", 8),
        ("very-long", "Very long horizons", 16),
    ],
)
def test_the_seconds_to_the_first_success_are_those_of_the_report(suite: str, title: str, count: int) -> None:
    report = (ROOT / "docs" / "results" / suite / "report.md").read_text().replace("**", "")
    reported = rows(report.split("### Seconds to the first plan that succeeds")[1].split("###")[0])[2:]
    shown = [row for row in rows(section(OVERVIEW, title)) if re.sub(r", \d+ s$", "", row[0]) in NAMES]
    assert sorted(shown) == sorted(reported)
    assert len(shown) == count


def test_the_calibration_of_trust_is_that_of_its_measurement() -> None:
    measured = json.loads((ROOT / "docs" / "pictures" / "trust_calibration.json").read_text())["rows"]
    page = (ROOT / "docs" / "experiments" / "trust_calibration.md").read_text()
    shown = {
        (name.lower(), float(tolerance)): cells for name, tolerance, *cells in rows(page) if name in ("GRASP", "GD")
    }
    assert len(shown) == 8
    for row in measured:
        cells = shown.get((row["planner"], row["tolerance"]))
        assert cells is None or cells == [f"{row['trusted']:.1f}", f"{row['within']:.3f}", f"{row['without']:.3f}"]


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_a_report_shows_what_its_summary_holds(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    report = (folder / "report.md").read_text().replace("**", "")  # bold marks the winners
    wanted = {
        f"| {' | '.join(row)} |" for suite in summary["suites"] for table in suite["tables"] for row in table["rows"]
    }
    assert wanted and not wanted - {line.strip() for line in report.splitlines() if line.startswith("| ")}
    for chart in re.findall(r"\]\(([\w.-]+\.svg)\)", report):
        assert (folder / chart).is_file(), chart
