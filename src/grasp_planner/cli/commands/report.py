"""``grasp report``: show the records of a suite as a page, as Markdown, and as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from grasp_planner.cli.folders import json_text, output_folder
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.tables import consoles, print_table

if TYPE_CHECKING:
    from grasp_planner.figures.report_page import Section

PAGE, MARKDOWN, SUMMARY = "report.html", "report.md", "summary.json"


@dataclass(frozen=True)
class Report:
    """Make a page from a suite's records: tables, charts, and a viewer of solved and failed episodes.

    The command writes report.html (one file that needs no network), report.md with its charts as SVG files, and
    summary.json with the tables and curves for programs. These files depend only on the records. The command also works
    while the suite is still running.

    Args:
        records: folders that `grasp bench` wrote, or files of records.
        out: the folder for the files; None: the folder of the first records.
    """

    records: Annotated[tuple[Path, ...], POSITIONAL]
    out: Path | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(Report, arguments, "report")
    console, _ = consoles()
    from grasp_planner.bench.analysing.result_tables import tables
    from grasp_planner.bench.analysing.winners import verdict
    from grasp_planner.figures.report_page import chart_files, report_markdown, report_page

    found = sections(settings.records)
    first = settings.records[0]
    out = settings.out or (first if first.is_dir() else first.parent)
    with output_folder(out) as folder:
        (folder / PAGE).write_text(report_page(found), encoding="utf-8")
        (folder / MARKDOWN).write_text(report_markdown(found), encoding="utf-8")
        (folder / SUMMARY).write_text(json_text(summary(found)), encoding="utf-8")
        for name, picture in chart_files(found).items():
            (folder / name).write_text(picture, encoding="utf-8")
        written = sorted(path.name for path in folder.iterdir())
    for section in found:
        if said := verdict(section.records):
            console.print(said, style="bold")
        for table in tables(section.records, section.published)[:3]:
            print_table(console, table)
    console.print(f"written to {out}: {', '.join(written)}")
    return 0


def summary(found: Sequence[Section]) -> dict[str, Any]:
    """Return the tables and curves as JSON values, which are much smaller than the records."""
    from grasp_planner.bench.analysing.result_tables import tables
    from grasp_planner.bench.analysing.success_curves import charts
    from grasp_planner.bench.analysing.winners import verdict

    suites = [
        {
            "suite": section.name,
            "records": len(section.records),
            "verdict": verdict(section.records),
            "tables": [asdict(table) for table in tables(section.records, section.published)],
            "charts": [asdict(chart) for chart in charts(section.records)],
        }
        for section in found
    ]
    return {"schema": 1, "suites": suites}


def sections(paths: Sequence[Path]) -> list[Section]:
    """Return the records of each suite, with the description of the suite from its folder.

    Raises:
        GraspPlannerError: there are no records, or a file does not hold records.
    """
    from grasp_planner.bench.record_files import read_records
    from grasp_planner.bench.running.run_folder import RUN_FILE, read_run_file
    from grasp_planner.figures.report_page import Section

    folders = {path if path.is_dir() else path.parent for path in paths}
    suites = [read_run_file(folder).suite for folder in sorted(folders) if (folder / RUN_FILE).is_file()]
    known = {suite.name: suite for suite in suites}
    records = read_records(paths)
    made = []
    for name in dict.fromkeys(record.work.suite for record in records):
        suite = known.get(name)
        title, about, published = (suite.title, suite.about, suite.published) if suite else (name, "", "")
        mine = [record for record in records if record.work.suite == name]
        made.append(Section(name, title, about, published, mine))
    return made
