"""Tables of results in the README are those of the reports that the benchmark wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/summary.json"))


def rows(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.startswith("| ")}


def test_the_readmes_results_are_rows_of_a_report() -> None:
    readme = (ROOT / "README.md").read_text()
    section = re.search(r"^## Results$(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert section is not None
    reported = set().union(*(rows((folder / "report.md").read_text()) for folder in RESULTS))
    shown = rows(section[1])
    assert len(shown) >= 5 and not shown - reported


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_a_report_shows_what_its_summary_holds(folder: Path) -> None:
    summary, report = json.loads((folder / "summary.json").read_text()), (folder / "report.md").read_text()
    wanted = {
        f"| {' | '.join(row)} |" for suite in summary["suites"] for table in suite["tables"] for row in table["rows"]
    }
    assert wanted and not wanted - rows(report)
    for chart in re.findall(r"\]\(([\w.-]+\.svg)\)", report):
        assert (folder / chart).is_file(), chart
