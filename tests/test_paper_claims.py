"""Every number in the tables of the page on the paper's claims is that of a published measurement.

After a suite was run again, this command writes the new numbers into the page; the sentences are changed by hand:

    python tests/test_paper_claims.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from grasp_planner.bench.analysing.significance import Paired, Share
from grasp_planner.bench.suites.published_results import PUBLISHED
from test_results import NAMES, ROOT, rows, section

PAGE = ROOT / "docs" / "explanation" / "paper_claims.md"
RESULTS = ROOT / "docs" / "results"
EXPERIMENTS = ROOT / "docs" / "experiments"
BENCHMARKS = ROOT / "benchmarks"

Cell = Callable[[str, str], str]
"""What a cell must show, by the name of its row and the name of its column."""


@cache
def summary(suite: str) -> dict[str, Any]:
    (found,) = json.loads((RESULTS / suite / "summary.json").read_text())["suites"]
    return found


@cache
def table(suite: str, name: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table of a summary by row and column."""
    (found,) = [one for one in summary(suite)["tables"] if one["name"] == name]
    return {row[0]: dict(zip(found["columns"][1:], row[1:], strict=True)) for row in found["rows"]}


def plans(suite: str) -> int:
    """Return the number of plans in a cell; for a suite with timed plans alone, the number of timed problems."""
    names = [one["name"] for one in summary(suite)["tables"]]
    if "success" not in names:
        first = next(iter(table(suite, "seconds").values()))
        return int(re.findall(r"of (\d+)", next(iter(first.values())))[0])
    (found,) = [one for one in summary(suite)["tables"] if one["name"] == "success"]
    return int(re.findall(r"Percent of (\d+) test", found["note"])[0])


def bare(cell: str) -> str:
    return cell.replace(" %", "")


def with_interval(share: Share, digits: int = 1) -> str:
    return f"{100 * share.value:.{digits}f} ({100 * share.low:.{digits}f}-{100 * share.high:.{digits}f})"


def pooled(suite: str, name: str, part: str, columns: str = "") -> Share:
    """Return success over all columns whose names begin with ``columns``."""
    cells = [cell for column, cell in table(suite, part)[name].items() if column.startswith(columns)]
    wins = [round(float(cell.split(" ")[0]) / 100 * plans(suite)) for cell in cells]
    return Share(sum(wins), plans(suite) * len(wins))


def both(suite: str, arm: str, column: str, *, interval: bool = False) -> str:
    """Return success in the simulator and under the model."""
    simulator, model = table(suite, "success")[arm][column], table(suite, "model")[f"{arm}, model"][column]
    return f"{bare(simulator) if interval else simulator.split(' ')[0]} / {model.split(' ')[0]}"


def pooled_both(suite: str, arm: str, columns: str = "") -> str:
    model = pooled(suite, f"{arm}, model", "model", columns)
    return f"{with_interval(pooled(suite, arm, 'success', columns))} / {100 * model.value:.1f}"


def gap(suite: str, arm: str, columns: str = "") -> str:
    """Return success under the model minus success in the simulator, in percentage points."""
    model, simulator = pooled(suite, f"{arm}, model", "model", columns), pooled(suite, arm, "success", columns)
    return f"{100 * (model.successes - simulator.successes) / model.trials:+.1f}"


def p_value(suite: str, arm: str) -> str:
    """Return the p-value of GRASP against an arm over all columns, if the suite compares GRASP with the arm."""
    pairs_of = table(suite, "pairs")
    compared = pairs_of.get(f"GRASP - {arm}") or pairs_of.get(f"{arm} - GRASP")
    if compared is None:
        return "-"
    pairs = [re.findall(r"\((\d+):(\d+),", cell)[0] for cell in compared.values()]
    first, second = (sum(map(int, counts)) for counts in zip(*pairs, strict=True))
    return f"{Paired(0, first, second, 0).p_value:.2g}"


def over_horizons(suite: str) -> Cell:
    def cell(planner: str, column: str) -> str:
        arm = NAMES[planner]
        if column == "p":
            return p_value(suite, arm)
        return pooled_both(suite, arm) if column == "all" else both(suite, arm, column)

    return cell


def published_success(planner: str, column: str) -> str:
    percent = PUBLISHED["push-t-long"].cells[planner, int(column.removeprefix("H = "))].success
    assert "500 trials" in PUBLISHED["push-t-long"].about
    return with_interval(Share(round(5 * percent), 500))


def published_seconds(planner: str, column: str) -> str:
    seconds = PUBLISHED["push-t-long"].cells[planner, int(column.removeprefix("H = "))].seconds
    return "-" if seconds is None else f"{seconds:.1f}"


def anytime(suite: str) -> Cell:
    def cell(planner: str, column: str) -> str:
        kind, horizon = column.split(", ")
        name = {"first success": "seconds", "at the end": "timed_success"}[kind]
        return bare(table(suite, name)[NAMES[planner]][horizon])

    return cell


@cache
def ball_nav(planner: str, place: str, dynamics: str = "compiled") -> dict[str, Any]:
    """Return the record of a planner on BallNav, on a map and at a horizon such as 'cup, H = 90'."""
    map, steps = place.split(", H = ")
    records = [json.loads(line) for line in (BENCHMARKS / "ball_nav_table.jsonl").read_text().splitlines()]
    wanted = {"planner": planner, "map": map, "steps": int(steps), "dynamics": dynamics}
    (found,) = [record for record in records if wanted.items() <= record.items()]
    assert found["version"] == "0.1.0" and found["problems"] == 100
    return found


def ball_nav_both(planner: str, place: str, dynamics: str = "compiled") -> str:
    found = ball_nav(planner, place, dynamics)
    won, believed = (Share(sum(found[key]), found["problems"]) for key in ("success", "success_in_model"))
    return f"{with_interval(won, 0)} / {100 * believed.value:.0f}"


def ball_nav_timed(planner: str, column: str) -> str:
    if column == "seconds":
        return f"{ball_nav(planner, 'cup, H = 60', 'package')['seconds']:.0f}"
    return ball_nav_both(planner, column, "package")


def page_table(page: Path, title: str, keys: int = 1) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the cells of the first table of a section, by the first ``keys`` cells of the row and by column."""
    header, *body = rows(section(page, title))
    return {tuple(row[:keys]): dict(zip(header, row, strict=True)) for row in body if len(row) == len(header)}


def barriers(planner: str, column: str) -> str:
    name = {"GRASP, second order": "GRASP's lifted phase instead of kicks"}.get(planner, planner)
    return page_table(EXPERIMENTS / "lifted_phase.md", "Barriers")[name,][column]


def step_cost(row: str, column: str) -> str:
    ((model, horizon),) = re.findall(r"^`([\w-]+)`, T = (\d+)$", row)
    page = EXPERIMENTS / "step_cost.md"
    if column == "share of the syncs":
        return page_table(page, "Share of the syncs", 2)[model, horizon]["share of syncs"]
    key = {"lifted step, ms": "step ms", "same step with T calls, ms": "loop ms", "step of GD, ms": "gd ms"}[column]
    return page_table(page, "GRASP, the bare model, the loop over time, and GD", 3)[model, "1", horizon][key]


PARTS = {
    "stop-gradient": ("state gradients", "GRASP with state gradients"),
    "goal term": ("no goal term", "GRASP without goal term"),
    "noise": ("no noise", "GRASP without noise"),
    "sync": ("no sync", "GRASP without sync"),
    "stop-gradient and goal term": ("state gradients, no goal term", ""),
}
"""For each part of GRASP, what GRASP without this part is called in the ablations and in the records of BallNav."""
ABLATIONS = {
    "`pusht-state`": "ablation",
    "`pusht-pixels`": "ablation-pixels",
    "`pusht-patches`": "patches-ablation",
}


def without(part: str) -> Cell:
    """Return the cells of an ablation. A suite that does not compare GRASP with an arm has no p-value."""
    arm, on_ball_nav = PARTS[part]

    def cell(row: str, column: str) -> str:
        model, place = row.split(", ", 1)
        tuned = ", tuned" if column.endswith("tuned again") else ""
        if model == "BallNav":
            return on_map(place, column, f"{on_ball_nav}{', tuned without' if tuned else ''}")
        suite, changed = ABLATIONS[model], "GRASP" if column == "GRASP" else arm + tuned
        if column.startswith("p"):
            compared = table(suite, "pairs").get(f"GRASP - {arm}{tuned}")
            return "-" if compared is None else re.findall(r"p = ([\d.e+-]+)\)", compared[place])[0]
        return both(suite, changed, place, interval=True) if changed in table(suite, "success") else "-"

    def on_map(place: str, column: str, changed: str) -> str:
        if column == "GRASP":
            return ball_nav_both("GRASP", place)
        if changed.endswith("tuned without") and part in ("stop-gradient", "goal term"):
            return "-"
        if column.startswith("p"):
            lists = (ball_nav(planner, place)["success"] for planner in ("GRASP", changed))
            return f"{Paired.of(*lists).p_value:.2g}"
        return ball_nav_both(changed, place)

    return cell


def noise_scale(row: str, column: str) -> str:
    suite = ABLATIONS[row]
    arm = {"tuned": "GRASP", "0": "no noise"}.get(column, f"noise {column}")
    if column != "tuned scale":
        (place,) = table(suite, "success")[arm]
        return both(suite, arm, place)
    (tuning,) = [one for one in summary(suite)["tables"] if one["name"] == "tuning"]
    (settings,) = [cells[-1] for cells in tuning["rows"] if cells[0] == "GRASP"]
    return re.findall(r"state_noise ([\d.]+)", settings)[0]


def diagnostic(model: str, name: str) -> dict[str, Any]:
    return json.loads((RESULTS / "diagnostics" / model / f"{name}.json").read_text())


def across_the_wall(row: str, column: str) -> str:
    found = diagnostic("pusht-state", "wall")["wall"]
    key = {"virtual states go through the wall": "crossed", "rollout reaches the goal": "reached"}[column]
    return f"{100 * found[key][row.removesuffix(', no noise, no sync')]:.0f}"


def adversarial(row: str, column: str) -> str:
    model = {"poor latent of Wall": "wall-convolutions"}.get(row, row.strip("`"))
    found = diagnostic(model, "adversarial")["adversarial"]
    keys = {"gradient, model": "gradient", "gradient, simulator": "truth", "direction, model": "chance"}
    (key,) = [key for end, key in keys.items() if column.endswith(end)]
    return f"{100 * found[key][found['sizes'].index(0.01)]:.0f}"


def poor_latent(row: str, planner: str) -> str:
    assert row == "poor latent of Wall"
    assert "shares of 30 validation episodes" in (EXPERIMENTS / "pixel_models.md").read_text()
    records = [json.loads(line) for line in (BENCHMARKS / "pixel_models.jsonl").read_text().splitlines()]
    wanted = {"name": "convolutions, 64 wide, decorrelation 1", "steps": 1500}
    (found,) = [record for record in records if wanted.items() <= record.items()]
    return with_interval(Share(round(30 * found[f"{planner.lower()}, 2 plans"]), 30), 0)


def gaps(planner: str, column: str) -> str:
    suite, columns = {
        "`pusht-state`": ("push-t-long", ""),
        "`pusht-pixels`": ("push-t-long-pixels", ""),
        "`pusht-patches`": ("patches", ""),
        "`pusht-lewm`": ("lewm", ""),
        "`wall-pixels`": ("short-pixels", "wall"),
        "`pointmaze-pixels`": ("short-pixels", "point_maze"),
    }[column]
    arm = NAMES[planner]
    shares = pooled(suite, arm, "success", columns), pooled(suite, f"{arm}, model", "model", columns)
    return f"{' / '.join(f'{100 * share.value:.1f}' for share in shares)}; {gap(suite, arm, columns)}"


def failures(suite: str) -> Cell:
    def cell(planner: str, column: str) -> str:
        arm = NAMES[planner]
        if column == "all":
            return pooled_both(suite, arm)
        if column == "gap":
            return gap(suite, arm)
        assert column == "fail in the simulator"
        counts = table(suite, "failures")[f"{arm}, model wrong"].values()
        wrong = sum(int(one.split(" of ")[0]) for one in counts if one != "no failure")
        return f"{wrong} of {pooled(suite, f'{arm}, model', 'model').successes}"

    return cell


def remedies(title: str) -> Cell:
    def cell(row: str, column: str) -> str:
        planner, _, remedy = row.partition(", ")
        return page_table(ROOT / "docs" / "exploitation.md", title, 2)[planner, remedy or "none"][column]

    return cell


def short(suite: str) -> Cell:
    tasks = {"Push-T": "push_t", "PointMaze": "point_maze", "Wall": "wall"}
    return lambda planner, column: pooled_both(suite, NAMES[planner], tasks[column.split(",")[0]])


def curvature(row: str, column: str) -> str:
    loss, horizon = column.split(", T = ")
    model = "pusht-patches" if row == "pusht-patches" else "pusht-state"
    (found,) = [one for one in diagnostic(model, "horizon")["horizon"] if one["name"] == row]
    key = {"rollout's cost": "shooting_curvature", "lifted loss": "lifted_curvature"}[loss]
    value = found[key][found["horizons"].index(int(horizon))]
    return f"{float(f'{value:.3g}'):g}"


def evidence(row: str, column: str) -> str:
    """Return the version and the size of a record."""
    name = re.findall(r"\[(.+?)\]", row)[0]
    if name == "BallNav":
        return {"version": "0.1", "plans in a cell": str(ball_nav("GRASP", "cup, H = 90")["problems"])}[column]
    return {"version": "0.3", "plans in a cell": str(plans(name))}[column]


CLAIMED: dict[str, list[Cell]] = {
    "Models, measures and records": [evidence],
    "Claim 1: GRASP beats CEM, GD and LatCo on long horizons": [
        published_success,
        over_horizons("push-t-long"),
        over_horizons("push-t-long-pixels"),
        over_horizons("patches"),
        over_horizons("lewm"),
        ball_nav_both,
        barriers,
    ],
    "Claim 2: GRASP finds plans sooner": [
        published_seconds,
        anytime("anytime"),
        over_horizons("push-t-equal-time"),
        anytime("anytime-pixels"),
        anytime("patches-anytime"),
        ball_nav_timed,
    ],
    "Claim 3: the model evaluations of a step are parallel over time": [step_cost, step_cost],
    "Claim 4: stopping the gradient through the state input helps": [
        without("stop-gradient"),
        without("stop-gradient and goal term"),
        remedies("Experiment in a model on patch features"),
        across_the_wall,
    ],
    "Claim 5: the dense goal term helps": [without("goal term")],
    "Claim 6: noise on the virtual states explores and helps": [without("noise"), noise_scale],
    "Claim 7: the serial sync every K steps helps": [without("sync")],
    "Claim 8: robustness to adversarial states": [
        adversarial,
        poor_latent,
        gaps,
        failures("push-t-long"),
        failures("patches"),
        failures("lewm"),
        remedies("Experiment"),
    ],
    "Claim 9: on short horizons, GRASP is comparable with other planners": [
        short("short"),
        short("short-pixels"),
        short("patches-short"),
    ],
    "Claim 10: the lifted loss does not become more curved with the horizon": [curvature],
}
"""For each section, what its tables must show, in their order. Tables without numbers are left out."""

TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def tables_with_numbers(title: str) -> list[str]:
    found = [one for one in TABLE.findall(section(PAGE, title)) if re.search(r"\d", one)]
    return [one for one in found if title != "In short"]


def measured(title: str, place: int) -> str:
    """Return a table of the page with the numbers of the measurements in its cells."""
    shown = tables_with_numbers(title)[place]
    header, *body = rows(shown)
    assert len(header) > 1 and body
    wanted = CLAIMED[title][place]
    lines = shown.splitlines()[:2]
    for name, *cells in body:
        columns = zip(header[1:], cells, strict=True)
        values = [cell if column == "command" else wanted(name, column) for column, cell in columns]
        lines.append(f"| {' | '.join([name, *values])} |")
    return "\n".join(lines) + "\n"


def titles() -> list[str]:
    return re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "title, place",
    [(title, place) for title, cells in CLAIMED.items() for place in range(len(cells))],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else str(value),
)
def test_tables_are_those_of_the_measurements(title: str, place: int) -> None:
    assert tables_with_numbers(title)[place] == measured(title, place)


def test_no_table_is_left_out() -> None:
    counts = {title: len(tables_with_numbers(title)) for title in titles()}
    assert {title: count for title, count in counts.items() if count} == {
        title: len(cells) for title, cells in CLAIMED.items()
    }


def test_the_planners_of_the_paper_are_compared_on_each_kind_of_model() -> None:
    for place in range(5):
        _, *body = rows(tables_with_numbers("Claim 1: GRASP beats CEM, GD and LatCo on long horizons")[place])
        assert {row[0] for row in body} >= {"GRASP", "CEM", "GD", "LatCo"}
    for part in ("Claim 4", "Claim 5", "Claim 6", "Claim 7"):
        (title,) = [title for title in titles() if title.startswith(part)]
        _, *body = rows(tables_with_numbers(title)[0])
        assert {row[0].split(", ")[0] for row in body} == {*ABLATIONS, "BallNav"}


def test_each_claim_says_what_the_paper_says_and_has_a_command_and_a_verdict() -> None:
    claims = [title for title in titles() if title.startswith("Claim ")]
    assert claims == [title for title in CLAIMED if title.startswith("Claim ")]
    for title in claims:
        text = section(PAGE, title)
        assert "**In the paper.**" in text and "**Verdict.**" in text, title
        assert re.search(r"^    (grasp|python) ", text, re.MULTILINE) or "commands are those of claim 4" in text, title


def test_sentences_have_no_measured_numbers() -> None:
    """Numbers that no test compares with a measurement would become wrong when a suite is run again."""
    text = TABLE.sub("", PAGE.read_text())
    sentences = re.sub(
        r"^    .*$|`.*?`|\]\(.*?\)|arXiv [\d.]+|version 0\.\d|95 % Wilson|0\.01 scales", "", text, flags=re.M
    )
    assert re.findall(r"\d+(?:\.\d+)? %|\d+\.\d+", sentences) == []


def test_what_is_not_measured_is_said_with_the_recipe_that_trains_such_a_model() -> None:
    text = section(PAGE, "What has not been measured")
    assert "DINO-WM itself" in text and "No measurement used a GPU" in text
    assert "pixel_models.md#dino-wms-encoder" in text


@pytest.mark.parametrize("page", ["explanation/grasp.md", "results/README.md", "faq.md"])
def test_other_pages_lead_to_the_page(page: str) -> None:
    assert "paper_claims.md" in (ROOT / "docs" / page).read_text()


def main() -> None:
    """Write the numbers of the measurements into the tables of the page."""
    text = PAGE.read_text()
    for title, cells in CLAIMED.items():
        for place in range(len(cells)):
            text = text.replace(tables_with_numbers(title)[place], measured(title, place))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
