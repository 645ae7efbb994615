"""Records: appended whole or not at all, whatever a kill leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner import GraspPlannerError
from grasp_planner.bench.records import RecordFile, comparable, key, read_records


def record(number: int, **more: Any) -> dict[str, Any]:
    place = {"task": "wall", "horizon": 10, "model": "m", "arm": "GD"}
    return {"schema": 1, "kind": "episode", "suite": "s", **place, "episode": number, **more}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "a.jsonl")
    assert file.append([record(1), record(0)]) == 2
    assert file.append([record(1, other=True), record(2)]) == 1  # what is known is not written again
    again = RecordFile(file.path)
    assert [one["episode"] for one in again] == [0, 1, 2] == [one["episode"] for one in file]
    assert again.has(key(record(2))) and not again.has(key(record(3)))
    with pytest.raises(GraspPlannerError, match="no record"):
        file.get(key(record(3)))


@given(cut=st.integers(0, 400))
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
    for text in ("{}\n", "nonsense\n", '{"schema": 7}\n'):
        path.write_text(text)
        with pytest.raises(GraspPlannerError, match="line 1"):
            RecordFile(path)


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "a.jsonl")
    file.append([record(0, cost=float("nan"), costs=[float("inf"), 0.1234567891])])
    (one,) = RecordFile(file.path)
    assert one["cost"] is None and one["costs"] == [None, 0.1234568]
    assert list(file) == [one]  # and what is in memory is what is in the file


def test_reading_takes_files_and_folders_and_refuses_contradictions(tmp_path: Path) -> None:
    RecordFile(tmp_path / "a.jsonl").append([record(0, clock={"seconds": 1.0})])
    RecordFile(tmp_path / "b.jsonl").append([record(0, clock={"seconds": 2.0}), record(1)])
    assert len(read_records([tmp_path])) == 2  # the clock is no contradiction
    assert "clock" not in comparable(record(0, clock={}))
    RecordFile(tmp_path / "c.jsonl").append([record(1, success=True)])
    with pytest.raises(GraspPlannerError, match="another record"):
        read_records([tmp_path])
    with pytest.raises(GraspPlannerError, match="grasp bench"):
        read_records([tmp_path / "empty"]) if (tmp_path / "empty").mkdir() else read_records([tmp_path / "empty"])
    with pytest.raises(GraspPlannerError, match="not there"):
        read_records([tmp_path / "nowhere.jsonl"])


def test_a_record_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    RecordFile(path).append([record(0), record(1)])
    path.write_bytes(path.read_bytes()[:-5])
    before = path.read_bytes()
    assert len(read_records([path])) == 1 and path.read_bytes() == before
