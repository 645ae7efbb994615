"""Records are appended whole or not at all, files stay readable after a kill, and reading is strict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_samples import CLOCK, WORK, all_kinds, record

from full_disk import largest_file
from grasp_planner import GraspPlannerError
from grasp_planner.bench.record_files import RecordFile, read_records
from grasp_planner.bench.record_json import SCHEMA, comparable, record_from_json, record_to_json
from grasp_planner.bench.records import KINDS, EpisodeRecord, SweepRecord, key, key_of


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "a.jsonl")
    assert file.append([record(1), record(0)]) == 2
    assert file.append([record(1, steps=99), record(2)]) == 1  # a known record is not written again
    again = RecordFile(file.path)
    assert [one.episode for one in again.of(EpisodeRecord)] == [0, 1, 2]
    assert list(again) == list(file) == [record(0), record(1), record(2)]
    assert again.has(key_of(record(2))) and not again.has(key_of(record(3)))
    assert again.get(EpisodeRecord, key("episode", WORK, 2)) == record(2)
    with pytest.raises(GraspPlannerError, match="no record"):
        file.get(EpisodeRecord, key_of(record(3)))


def test_every_kind_of_record_is_written_and_read(tmp_path: Path) -> None:
    records = all_kinds()
    assert {type(one) for one in records} == set(KINDS)
    RecordFile(tmp_path / "a.jsonl").append(records)
    assert read_records([tmp_path]) == sorted(records, key=key_of)
    for one in records:
        content = record_to_json(one)
        assert content["schema"] == SCHEMA and content["kind"] == one.kind and content["arm"] == WORK.arm
        assert record_from_json(json.loads(json.dumps(content)), "here") == one


@given(cut=st.integers(0, 2000))
def test_any_cut_loses_no_whole_line_and_appending_goes_on(tmp_path_factory: Any, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    RecordFile(path).append([record(i) for i in range(4)])
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    kept = path.read_bytes().count(b"\n")
    file = RecordFile(path)
    assert len(file) == kept
    file.append([record(i) for i in range(4)])
    assert path.read_bytes() == whole


def test_a_line_in_the_middle_that_is_no_record_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for text in ("{}\n", "nonsense\n", '{"schema": 7}\n', "\n", "[1]\n"):
        path.write_text(text)
        with pytest.raises(GraspPlannerError, match="line 1"):
            RecordFile(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"success": "yes"}, "line 2, field 'success': needed true or false, got 'yes'"),
        ({"steps": 1.5}, "line 2, field 'steps': needed a whole number, got 1.5"),
        ({"horizon": "10"}, "line 2, field 'horizon': needed a whole number, got '10'"),
        ({"clock": {**vars(CLOCK), "batch": None}}, "line 2, field 'clock.batch': needed a whole number, got None"),
        ({"distances": {"position_px": []}}, "line 2, field 'distances.position_px': needed a number, got"),
        ({"mode": "ajar"}, "line 2, field 'mode': needed one of 'open-loop', 'closed-loop', got 'ajar'"),
        ({"kind": "episodes"}, "line 2: unknown kind of record 'episodes': did you mean 'episode'"),
        ({"sucess": True}, "line 2: unknown field 'sucess': did you mean 'success'"),
        ({"seed": ...}, "line 2: the field 'seed' is missing"),
        ({"schema": 1}, "line 2: needed a record of schema 3, got schema 1"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.jsonl"
    lines = [record_to_json(record(i)) for i in range(3)]
    lines[1] = {name: value for name, value in (lines[1] | change).items() if value is not ...}
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    for read in (RecordFile, lambda path: read_records([path])):
        with pytest.raises(GraspPlannerError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}, {message}")


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "a.jsonl")
    sweep = SweepRecord(WORK, 0, 0, (0, 1), (True, False), (float("inf"), 0.1234567891), 10, CLOCK)
    file.append([record(0, cost=float("nan")), sweep])
    first, second = RecordFile(file.path)
    assert isinstance(first, SweepRecord) and first.cost == (None, 0.1234568)
    assert isinstance(second, EpisodeRecord) and second.cost is None
    assert list(file) == [first, second]  # the records in memory are those of the file


def test_reading_takes_files_and_folders_and_refuses_contradictions(tmp_path: Path) -> None:
    RecordFile(tmp_path / "a.jsonl").append([record(0)])
    RecordFile(tmp_path / "b.jsonl").append([record(0, clock=replace(CLOCK, seconds=2.0)), record(1)])
    assert len(read_records([tmp_path])) == 2  # records that differ only in their clocks do not contradict each other
    assert "clock" not in comparable(record(0))
    RecordFile(tmp_path / "c.jsonl").append([record(1, success=False)])
    with pytest.raises(GraspPlannerError, match="another record"):
        read_records([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(GraspPlannerError, match="grasp bench"):
        read_records([tmp_path / "empty"])
    with pytest.raises(GraspPlannerError, match="not there"):
        read_records([tmp_path / "nowhere.jsonl"])


def test_a_record_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    RecordFile(path).append([record(0), record(1)])
    path.write_bytes(path.read_bytes()[:-5])
    before = path.read_bytes()
    assert len(read_records([path])) == 1 and path.read_bytes() == before


@pytest.mark.parametrize("more", [0, 1, 100])
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, more: int) -> None:
    path = tmp_path / "x.jsonl"
    file = RecordFile(path)
    file.append([record(0)])
    before = path.read_bytes()
    with largest_file(len(before) + more), pytest.raises(OSError, match="File too large") as caught:
        file.append([record(1), record(2)])
    assert caught.value.filename == str(path) and path.read_bytes() == before and len(file) == 1
    assert file.append([record(1), record(2)]) == 2
    assert len(RecordFile(path)) == 3
