"""The report: records as one page that needs no network, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from grasp_planner.bench.analysing.result_tables import Table, of_kind, tables
from grasp_planner.bench.analysing.success_curves import charts
from grasp_planner.bench.records import Record
from grasp_planner.figures.scenes import SCENES, Scene, zoomed
from grasp_planner.figures.success_charts import chart_svg

WORDS = {"tuning"}  # tables of text rather than numbers


@dataclass(frozen=True)
class Section:
    """What a report says of one suite.

    Args:
        name: of the suite.
        title: for people.
        about: what it is compared with.
        published: the table of ``bench.published`` beside ours; empty: none.
        records: all of the suite.
    """

    name: str
    title: str
    about: str
    published: str
    records: Sequence[Record]


def report_page(sections: Sequence[Section]) -> str:
    """A whole HTML page: tables, charts, and a viewer for episodes; style, script and data are inside it."""
    here = files("grasp_planner.figures") / "page"
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("style.css", "viewer.js"))
    title = "; ".join(section.title for section in sections)
    body = "".join(_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        '<header><h1>Planning in learned world models</h1><button id="theme">Light / dark</button></header>'
        f"<p>{escape(_made_with(sections))}</p>{body}<script>{script}</script></body></html>\n"
    )


def report_markdown(sections: Sequence[Section], pictures: bool = True) -> str:
    """The same tables in Markdown, with links to the charts' files where there are such."""
    parts = []
    for section in sections:
        parts.append(f"## {section.title}\n\n{section.about}.")
        if pictures:
            parts += [f"![{chart.title}]({section.name}-{chart.name}.svg)" for chart in charts(section.records)]
        parts += [f"### {table.title}\n\n{markdown(table)}" for table in tables(section.records, section.published)]
    return "\n\n".join(parts) + "\n"


def chart_files(sections: Sequence[Section]) -> dict[str, str]:
    """Names and contents of the charts as files of their own, for Markdown."""
    return {
        f"{section.name}-{chart.name}.svg": chart_svg(chart, standalone=True)
        for section in sections
        for chart in charts(section.records)
    }


def markdown(table: Table) -> str:
    """A table, and how to read it."""
    sides = ["---", *("---:" for _ in table.columns[1:])] if table.name not in WORDS else ["---"] * len(table.columns)
    rows = [table.columns, sides, *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")


def _made_with(sections: Sequence[Section]) -> str:
    versions = {json.dumps(r["versions"]) for section in sections for r in section.records if "versions" in r}
    told = [", ".join(f"{name} {number}" for name, number in json.loads(one).items()) for one in sorted(versions)]
    return f"Made with {'; '.join(told)}." if told else ""


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2><p>{escape(section.about)}.</p>"]
    first, *others = tables(section.records, section.published) or [Table("none", "No episodes yet", (), ())]
    parts.append(_table(first))
    parts.append(f'<div class="charts">{"".join(chart_svg(chart) for chart in charts(section.records))}</div>')
    parts.append(_viewer(section))
    parts += [_table(table) for table in others]
    return "".join(parts) + "</section>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        kind = "main" if row[0] == "GRASP" else "published" if row[0].endswith(", published") else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        rows.append(f'<tr class="{kind}">{cells}</tr>')
    words = ' class="words"' if table.name in WORDS else ""
    return (
        f'<h3 id="{table.name}">{escape(table.title)}</h3><div class="scroll"><table{words}><thead><tr>{head}</tr>'
        f'</thead><tbody>{"".join(rows)}</tbody></table></div><p class="note">{escape(table.note)}</p>'
    )


def _viewer(section: Section) -> str:
    shown = [record for record in of_kind(section.records, "shown") if record["env"] in SCENES]
    if not shown:
        return ""
    content = json.dumps(viewer_content(shown), allow_nan=False).replace("<", "\\u003c")
    name = f"shown-{section.name}"
    keys = {"start": "start", "goal": "goal", "rollout in the model": "plan", "simulator": "run"}
    legend = "".join(
        f'<span class="key"><i style="border-color: var(--{colour})"></i>{what}</span>' for what, colour in keys.items()
    )
    legend += (
        '<span class="key"><i style="border: 0; background: linear-gradient(90deg, rgb(120,20,160), rgb(208,61,119), '
        'rgb(251,166,54))"></i>virtual states (imagined ones, where a planner has none), early to late</span>'
    )
    return (
        f'<h3>Solved and failed episodes</h3><div data-viewer="{name}">'
        '<div class="controls"><select data-part="cell" aria-label="Episode"></select></div>'
        '<div class="controls" data-part="arms"></div><div class="stages">'
        '<figure><canvas data-part="model" role="img" aria-label="The plan in the model"></canvas><div class="slider">'
        '<input type="range" min="0" step="1" data-part="iteration" aria-label="Planner iteration">'
        '<output data-part="iteration-is"></output></div>'
        "<figcaption>Planning, in the model: drag through the planner's iterations.</figcaption></figure>"
        '<figure><canvas data-part="world" role="img" aria-label="The plan in the simulator"></canvas>'
        '<div class="slider">'
        '<button data-part="play">Play</button>'
        '<input type="range" min="0" step="1" data-part="step" aria-label="Environment step">'
        '<output data-part="step-is"></output></div><figcaption data-part="outcome"></figcaption></figure></div>'
        f'<p>{legend}</p></div><script type="application/json" id="{name}">{content}</script>'
    )


def viewer_content(shown: Sequence[Record]) -> dict[str, Any]:
    """What the viewer's script draws: scenes, and the plans for each recorded episode, in JSON values."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in shown:
        groups.setdefault((record["task"], record["horizon"], record["model"], record["episode"]), []).append(record)
    names = {record["arm"] for record in shown}
    return {
        "main": "GRASP" if "GRASP" in names else min(names),
        "scenes": {env: _scene(SCENES[env]) for env in sorted({record["env"] for record in shown})},
        "groups": [_group(where, plans) for where, plans in sorted(groups.items(), key=lambda item: item[0])],
    }


def _group(where: tuple[Any, ...], plans: Sequence[Record]) -> dict[str, Any]:
    task, horizon, model, episode = where
    seen = np.concatenate([np.array([*plan["executed"], plan["goal"]]) for plan in plans])
    return {
        "title": f"{task.partition('/')[0]}, H = {horizon}, {model}, episode {episode}",
        "env": plans[0]["env"],
        "goal": plans[0]["goal"],
        "view": zoomed(SCENES[plans[0]["env"]], seen).view,
        "plans": [
            {
                "arm": plan["arm"],
                "success": plan["success"],
                "told": _told(plan["distances"]),
                "executed": plan["executed"],
                "recording": plan["recording"],
            }
            for plan in plans
        ],
    }


def _told(distances: Mapping[str, float]) -> str:
    named = [(name, value) for name, value in distances.items() if name.startswith(("position", "angle"))]
    return ", ".join(f"{value:.3g} {name.partition('_')[2] or name} off" for name, value in named)


def _scene(scene: Scene) -> dict[str, Any]:
    bodies = [
        {"outline": np.round(body.outline, 3).tolist(), "position": body.position, "angle": body.angle}
        for body in scene.bodies
    ]
    return {"walls": scene.walls, "bodies": bodies}
