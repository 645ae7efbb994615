"""The published tables of plans from learned policies are those of their records."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_published_tables_are_those_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("amortised_plans")
    records = [json.loads(line) for line in (ROOT / "benchmarks" / "amortised_plans.jsonl").read_text().splitlines()]
    shown = [line for line in (ROOT / "docs" / "policies.md").read_text().splitlines() if line.startswith("| ")]
    tasks = dict.fromkeys(record["task"] for record in records)
    assert list(tasks) == ["push_t/dset/v2", "point_maze/dset/v1"]
    for task in tasks:
        made = script.table([record for record in records if record["task"] == task], records[0]["limit"])
        lines = [line for line in made.splitlines() if line.startswith("| ")]
        assert len(lines) == 1 + 2 * 4 + 2 and all(line in shown for line in lines), task
    for planner, sooner in (("recommended", 29), ("recommended, start_std 0.3", 31)):
        own = [record for record in records if (record["task"], record["planner"]) == ("push_t/dset/v2", planner)]
        first = {(record["start"], record["episode"]): record["seconds"] or records[0]["limit"] for record in own}
        assert sum(first["policy", i] < first["zeros", i] for i in range(40)) == sooner
