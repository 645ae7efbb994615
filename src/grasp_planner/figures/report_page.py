"""The report of suites: a self-contained HTML page, and the same tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grasp_planner.bench.analysing.result_tables import tables
from grasp_planner.bench.analysing.rows import Table
from grasp_planner.bench.analysing.success_curves import charts
from grasp_planner.bench.analysing.winners import verdict
from grasp_planner.bench.records import EpisodeRecord, Record
from grasp_planner.bench.timed_records import TimedRecord
from grasp_planner.core.errors import missing_extra
from grasp_planner.figures.episode_viewer import viewer_content
from grasp_planner.figures.success_charts import chart_svg
from grasp_planner.figures.theme import variables

PAGE = Path(__file__).parent / "page"
WORDS = {"tuning"}  # names of tables that hold text, which is aligned to the left
NO_EPISODES = Table("none", "No episodes yet", (), ())


@dataclass(frozen=True)
class Section:
    """The part of a report about one suite.

    Args:
        name: name of the suite.
        title: heading.
        about: one sentence that says what is compared, without a full stop; empty: no sentence.
        published: name of the table of ``published_results`` that is shown next to the results; empty: no table.
        records: all records of the suite.
    """

    name: str
    title: str
    about: str
    published: str
    records: Sequence[Record]


def report_page(sections: Sequence[Section]) -> str:
    """Return an HTML page with tables, charts and a viewer for episodes. The page contains its style, script and data.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("jinja2", "figures", "the report") from error
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    shown = [
        {
            "section": section,
            "verdict": verdict(section.records),
            "tables": tables(section.records, section.published) or [NO_EPISODES],
            "charts": [chart_svg(chart) for chart in charts(section.records)],
            "viewer": viewer_content(section.records),
        }
        for section in sections
    ]
    return environment.get_template("report.html.j2").render(
        title="; ".join(section.title for section in sections),
        versions=_versions(sections),
        sections=shown,
        words=WORDS,
        light=variables(dark=False),
        dark=variables(dark=True),
        style=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=(PAGE / "viewer.js").read_text(encoding="utf-8"),
    )


def report_markdown(sections: Sequence[Section], pictures: bool = True) -> str:
    """Return the tables of the page in Markdown. Its first line under a heading says who won.

    Args:
        sections: the sections of the report.
        pictures: whether to link to the files of ``chart_files``.
    """
    parts = []
    for section in sections:
        said = verdict(section.records)
        headline, about = f"**{said}**" if said else "", f"{section.about}." if section.about else ""
        parts += [text for text in (f"## {section.title}", headline, about) if text]
        if pictures:
            parts += [f"![{chart.title}]({section.name}-{chart.name}.svg)" for chart in charts(section.records)]
        parts += [f"### {table.title}\n\n{markdown(table)}" for table in tables(section.records, section.published)]
    return "\n\n".join(parts) + "\n"


def chart_files(sections: Sequence[Section]) -> dict[str, str]:
    """Return the names and contents of the charts as files, for Markdown.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return {
        f"{section.name}-{chart.name}.svg": chart_svg(chart, standalone=True)
        for section in sections
        for chart in charts(section.records)
    }


def markdown(table: Table) -> str:
    """Return a table and its note."""
    sides = ["---", *("---:" for _ in table.columns[1:])] if table.name not in WORDS else ["---"] * len(table.columns)
    bold = set(table.bold)
    marked = [
        [f"**{text}**" if (i, j) in bold else text for j, text in enumerate(row)] for i, row in enumerate(table.rows)
    ]
    rows = [table.columns, sides, *marked]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")


def _versions(sections: Sequence[Section]) -> list[str]:
    """Return the versions of Python and packages that the records were made with."""
    found = {
        ", ".join(f"{name} {number}" for name, number in record.versions.items())
        for section in sections
        for record in section.records
        if isinstance(record, (EpisodeRecord, TimedRecord))
    }
    return sorted(found)
