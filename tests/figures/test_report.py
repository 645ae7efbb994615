"""The report: its numbers are those of the records, and its page is self-contained."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from report_records import all_records, episode_records, in_model, renamed, section, timed_records

from grasp_planner.bench.analysing.result_tables import pairs_table, success_table, tables
from grasp_planner.bench.analysing.significance import Paired, Share
from grasp_planner.bench.analysing.success_curves import Chart, Curve, charts, time_charts
from grasp_planner.bench.analysing.timed_tables import seconds_table, timed_success_table
from grasp_planner.bench.analysing.winners import success_ranking, verdict
from grasp_planner.bench.suites.published_results import PUBLISHED
from grasp_planner.figures.report_page import chart_files, markdown, report_markdown, report_page
from grasp_planner.figures.success_charts import chart_svg


class Seen(HTMLParser):
    """A parser that stores the text of all cells, the addresses of all links, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.won: list[int] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")
            self.won += [len(self.cells) - 1] if ("class", "won") in attrs else []
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


def test_grasp_is_compared_with_all_planners_even_if_the_suite_has_the_recommended_planner() -> None:
    before = {row[0]: row[1:] for row in pairs_table(all_records()).rows}
    after = {row[0]: row[1:] for row in pairs_table(renamed(all_records(), "GD", "recommended")).rows}
    assert set(before) == {"GRASP - GD", "GRASP - CEM"}
    assert set(after) == {"recommended - GRASP", "recommended - CEM", "GRASP - CEM"}
    assert after["GRASP - CEM"] == before["GRASP - CEM"]
    assert after["recommended - GRASP"][0] == before["GRASP - GD"][0].replace("+37.5 (3:0", "-37.5 (0:3")


def test_tables_say_what_the_records_say() -> None:
    rows = {row[0]: row[1:] for row in success_table(all_records(), PUBLISHED["push-t-long"]).rows}
    assert rows["GRASP"] == (str(Share(6, 8)), str(Share(6, 8))) and rows["CEM"][0] == str(Share(1, 8))
    assert rows["GRASP, published"] == ("59.0 %", "43.4 %") and rows["GD, published"] == ("51.0 %", "37.6 %")
    pair = Paired(3, 3, 0, 2)
    (row,) = [row for row in pairs_table(all_records()).rows if row[0] == "GRASP - GD"]
    assert row[1] == f"+37.5 (3:0, p = {pair.p_value:.2g})"
    by_name = {table.name: {row[0]: row[1:] for row in table.rows} for table in tables(all_records())}
    assert by_name["seconds"]["GRASP"] == ("0.25 s (4 of 4)",) and by_name["seconds"]["GD"] == ("1 s (3 of 4)",)
    assert by_name["seconds"]["CEM"] == ("> 5 s (1 of 4)",), "the median is over all problems"
    assert by_name["timed_success"]["GD"] == (str(Share(3, 4)),)
    assert by_name["model"]["GRASP, model"][0] == str(Share(7, 8))
    assert by_name["distances"]["CEM, position px"] == ("60", "60")
    assert (
        by_name["gaps"]["GRASP, virtual - rollout"] == ("0.5", "0.5")
        and "CEM, virtual - rollout" not in by_name["gaps"]
    )
    everything = {
        "success",
        "seconds",
        "timed_success",
        "pairs",
        "failures",
        "model",
        "distances",
        "gaps",
        "spending",
        "tuning",
    }
    assert set(by_name) == everything


def test_the_order_of_records_does_not_matter() -> None:
    assert tables(all_records()) == tables(all_records()[::-1]) and charts(all_records()) == charts(all_records()[::-1])


def test_tasks_that_measure_distance_in_other_units_stand_side_by_side() -> None:
    here = episode_records()
    maze = [
        replace(one, work=replace(one.work, task="point_maze/dset/v1"), distances={"position_m": 0.25}) for one in here
    ]
    table = next(table for table in tables([*here, *maze]) if table.name == "distances")
    rows = {row[0]: row[1:] for row in table.rows}
    assert [one.split()[0] for one in table.columns[1:]] == ["point_maze", "point_maze", "push_t", "push_t"]
    assert rows["CEM, position px"] == ("", "", "60", "60")
    assert rows["CEM, position m"] == ("0.25", "0.25", "", "")


def test_some_records_are_enough() -> None:
    for some in (episode_records(), timed_records(), all_records()[:1]):
        assert report_page([section(some)]).endswith("</html>\n")


def test_a_curve_over_time_is_the_plan_in_hand() -> None:
    (chart,) = time_charts(all_records(), "seconds")
    curves = {curve.name: curve for curve in chart.curves}
    for name, solved, since in (("GRASP", 1.0, 0.25), ("GD", 0.75, 1.0), ("CEM", 0.25, 1.0)):
        for at, share in zip(curves[name].x, curves[name].y, strict=True):
            assert share == (solved if at >= since else 0.0)
    assert all(c.low[i] <= c.y[i] <= c.high[i] for c in chart.curves for i in range(len(c.x)))


def test_several_limits_are_several_rows_and_the_curve_has_the_longest() -> None:
    long = [replace(one, seconds_limit=20.0) for one in timed_records()]
    long = [replace(one, clock=replace(one.clock, seconds_to_success=2.0, batch=4, others=1.5)) for one in long]
    short = [replace(one, clock=replace(one.clock, success=False, others=0.01)) for one in timed_records()]
    table = seconds_table([*short, *long])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["CEM, 5 s"] == ("> 5 s (1 of 4)",) and rows["CEM, 20 s"] == ("2 s (4 of 4)",)
    assert "5 or 20 s" in table.note and "4 problems" in table.note and "1.5 cores busy" in table.note
    assert "busy" not in seconds_table(short).note
    rows = {row[0]: row[1:] for row in timed_success_table([*short, *long]).rows}
    assert rows["GD, 5 s"] == (str(Share(0, 4)),) and rows["GD, 20 s"] == (str(Share(3, 4)),)
    (chart,) = time_charts([*short, *long], "seconds")
    assert chart.x_title.endswith("4 problems at a time") and chart.curves == time_charts(long, "seconds")[0].curves


def test_a_failure_counts_as_the_limit_in_the_median() -> None:
    def median_of(*firsts: float | None, limit: float = 8.0) -> str:
        (made, *_) = timed_records(1)
        records = [
            replace(made, episode=i, seconds_limit=limit, clock=replace(made.clock, seconds_to_success=first))
            for i, first in enumerate(firsts)
        ]
        return seconds_table(records).rows[0][1]

    assert median_of(1.0, None, 2.0, None) == "5 s (2 of 4)"
    assert median_of(1.0, None, None) == "> 8 s (1 of 3)" and median_of(1.0, 3.0, None) == "3 s (2 of 3)"
    assert median_of(1.0, None, None, limit=0.0) == "- (1 of 3)" and median_of(1.0, 2.0, None, limit=0.0)[0] == "2"


def test_the_page_is_whole_and_needs_no_network() -> None:
    page = report_page([section()])
    seen = Seen(page)
    assert not [tag for tag in seen.open if tag not in ("html", "body")] and not seen.addresses
    assert "A &lt;made-up&gt; suite" in page and str(Share(6, 8)) in seen.cells and "59.0 %" in seen.cells
    assert not re.search(r"(https?:)?//[a-z]", page.replace("http://www.w3.org/2000/svg", ""))
    assert "import(" not in page and "@import" not in page and "url(" not in page
    (content,) = re.findall(r'<script type="application/json" id="shown-made-up">(.*?)</script>', page)
    groups = json.loads(content)["groups"]
    assert [plan["arm"] for plan in groups[0]["plans"]] == ["CEM", "GD", "GRASP"]
    assert len(groups[0]["plans"][2]["recording"]["states"][0]) == 3 and groups[0]["plans"][2]["recording"]["lifted"]


def test_a_suite_without_a_description_has_no_sentence_about_it() -> None:
    unknown = replace(section(), about="")
    assert "<p>.</p>" not in report_page([unknown]) and "\n.\n" not in report_markdown([unknown])
    assert "<p>For tests.</p>" in report_page([section()]) and "\nFor tests.\n" in report_markdown([section()])


def test_data_cannot_end_the_script() -> None:
    records = [in_model(record, "</script><script>alert(1)</script>") for record in all_records()]
    assert "<script>alert" not in report_page([section(records)])


def test_charts_are_pictures_of_their_own() -> None:
    made = chart_files([section()])
    assert len(made) == 3
    for text in made.values():
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg") and "prefers-color-scheme: dark" in text


def test_markdown_has_the_same_tables_and_names_the_charts() -> None:
    text = report_markdown([section()])
    assert f"| **GRASP** | **{Share(6, 8)}** | **{Share(6, 8)}** |" in text
    for name in chart_files([section()]):
        assert f"({name})" in text
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert widths and min(widths) >= 3


def test_mcnemar_against_numbers_worked_by_hand() -> None:
    # Ten pairs differ, one of them for the second: 2 (1 + 10) / 2^10.
    assert Paired(5, 9, 1, 5).p_value == pytest.approx(22 / 1024) and Paired(5, 9, 1, 5).difference == 0.4
    assert Paired(3, 4, 4, 3).p_value == 1.0 and Paired(3, 0, 0, 3).p_value == 1.0
    assert Paired(0, 1, 9, 0).p_value == Paired(0, 9, 1, 0).p_value


def test_ticks_are_plain_numbers() -> None:
    curve = Curve("a", (1e3, 1e4, 1e7), (0.1, 0.5, 0.9), (0.0, 0.4, 0.8), (0.2, 0.6, 1.0))
    drawn = chart_svg(Chart("x", "X", "model transitions", (curve,), logarithmic=True))
    assert ">1,000<" in drawn and ">10,000,000<" in drawn and "10^" not in drawn and "e+" not in drawn
    short = replace(curve, x=(0.01, 0.1, 0.3))
    drawn = chart_svg(Chart("x", "X", "seconds", (short,), logarithmic=True))
    assert ">0.01<" in drawn and ">0.1<" in drawn and ">0.3<" in drawn


def test_the_report_begins_with_who_won_by_how_much_and_whether_by_chance() -> None:
    # GRASP solves 12 of 16 episodes and GD 6 of them: six pairs differ, so p = 2 / 2^6. CEM, the other rival, has a
    # smaller p-value, so Holm's correction leaves that of GD.
    said = verdict(all_records())
    assert said.startswith("GRASP solved 75.0 % of 16 episodes, 37.5 percentage points more than the second")
    assert "GD (37.5 %). Chance does not explain this difference (paired test, corrected p = 0.031)." in said
    few = [one for one in episode_records() if one.work.horizon == 40]
    assert "GD (37.5 %). Chance may explain this difference (paired test, corrected p = 0.25)." in verdict(few)
    close = [one for one in few if one.episode < 6 and not (one.work.arm == "GRASP" and one.episode == 0)]
    assert verdict(close).startswith("GRASP solved 100.0 % of 5 episodes"), "only episodes of all planners count"
    assert report_markdown([section()]).split("\n\n")[1] == f"**{said}**"
    assert f'<p class="won">{said}</p>' in report_page([section()])
    first, *_ = re.findall(r"<p[^>]*>.*?</p>", report_page([section()]))
    assert first == f'<p class="won">{said}</p>', "nothing stands before the sentence"
    assert verdict([one for one in few if one.work.arm == "GD"]) == verdict([]) == ""
    apart = [one for one in few if (one.work.arm == "GD") == (one.episode < 4)]
    assert verdict(apart) == "", "no episode is common to all planners"


def test_the_verdict_names_all_planners_that_the_test_cannot_tell_from_the_best() -> None:
    twins = [*episode_records(), *renamed([one for one in episode_records() if one.work.arm == "GRASP"], "GRASP", "B")]
    ranked = success_ranking(twins)
    assert ranked is not None and list(ranked.scores) == ["B", "GRASP", "GD", "CEM"]
    # Against GD alone, p = 2 / 2^6 = 0.03. As the second smallest of three p-values it counts twice.
    assert ranked.winners == ("B", "GRASP", "GD") and ranked.p_values["GD"] == pytest.approx(0.0625)
    near = [one for one in timed_records() if one.work.arm != "CEM"]
    assert verdict(near).startswith("GRASP took 0.25 s to the first success (median of 4 problems), and the second")
    assert "GD, took 1 s. Chance may explain this difference (paired test, p = 0.12)." in verdict(near)
    assert "cannot tell GRASP from CEM either" in verdict(timed_records())


def test_bold_marks_the_winners_of_each_column_and_not_a_planner_by_name() -> None:
    swapped = renamed(renamed(renamed(episode_records(), "GRASP", "X"), "CEM", "GRASP"), "X", "CEM")
    table = success_table(swapped)
    marked = {(table.rows[i][0], j) for i, j in table.bold}
    cells = {(arm, column) for arm in ("CEM", "GD", "GRASP") for column in (1, 2)}
    assert marked == {("CEM", 0), *cells}, "16 episodes tell the planners apart, and the 8 of one cell do not"
    assert f"| **CEM** | **{Share(6, 8)}** |" in markdown(table) and f"| GRASP | **{Share(1, 8)}** |" in markdown(table)
    many = [replace(one, episode=one.episode + 8 * k) for one in swapped for k in range(3)]
    table = success_table(many)
    assert {(table.rows[i][0], j) for i, j in table.bold} == {("CEM", 0), ("CEM", 1), ("CEM", 2)}
    assert f"| GRASP | {Share(3, 24)} |" in markdown(table)
    seen = Seen(report_page([section(swapped)]))
    assert str(Share(6, 8)) in [seen.cells[i] for i in seen.won]
    assert (0, 0) in seconds_table(timed_records()).bold


def test_charts_highlight_the_recommended_planner_or_the_best() -> None:
    for name, records in (
        ("GRASP", all_records()),
        ("Z", renamed(all_records(), "GRASP", "Z")),
        ("recommended", renamed(all_records(), "GD", "recommended")),
    ):
        made = charts(records)
        assert {chart.highlighted for chart in made} == {name}
        for chart in made:
            assert len(re.findall(r"stroke-width: 2\.6", chart_svg(chart))) >= 1
            unmarked = chart_svg(replace(chart, highlighted=""))
            assert "stroke-width: 2.6" not in unmarked
