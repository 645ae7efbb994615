"""Records: one JSON line for everything that was measured, appended so that a kill spoils nothing."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError

SCHEMA = 1
KINDS = ("sweep", "choice", "episode", "timed", "shown")
CLOCK = "clock"
"""Where a record keeps what depends on the machine and the hour: two runs of a suite agree in everything else."""

Record = dict[str, Any]
Key = tuple[Any, ...]


def key(record: Mapping[str, Any]) -> Key:
    """What a record is of: no two records of a run have the same key, and keys can be sorted."""
    cell = (record["task"], record["horizon"], record["model"], record["arm"])
    number = {
        "sweep": ("round", "trial"),
        "choice": (),
        "episode": ("episode",),
        "timed": ("episode",),
        "shown": ("episode",),
    }[record["kind"]]
    return (KINDS.index(record["kind"]), *cell, *(record[name] for name in number))


class RecordFile:
    """A file of records that is only ever appended to.

    A line is written by one call and then synced to the disk. What a kill can leave behind is part of a last line;
    opening the file takes it away.

    Args:
        path: made if it does not exist.

    Raises:
        GraspPlannerError: a line that is not the last is not a record.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = RecordFile(Path(folder.name) / "records.jsonl")
    >>> file.append([{"schema": 1, "kind": "choice", "task": "a", "horizon": 5, "model": "m", "arm": "GD"}])
    1
    >>> len(RecordFile(file.path)), file.has(("b",))
    (1, False)
    >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Key, Record] = {}
        if path.exists():
            whole, text = path.read_bytes(), b""
            text = whole[: whole.rfind(b"\n") + 1]
            if len(text) < len(whole):
                with path.open("r+b") as file:
                    file.truncate(len(text))
            self._known = {key(record): record for record in _parsed(text.decode(), path)}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._known[one] for one in sorted(self._known))

    def has(self, key: Key) -> bool:
        """Whether there is a record of this."""
        return key in self._known

    def get(self, key: Key) -> Record:
        """The record of this.

        Raises:
            GraspPlannerError: there is none yet.
        """
        if key not in self._known:
            raise GraspPlannerError(f"{self.path} has no record of {key[1:]} yet")
        return self._known[key]

    def of(self, kind: str) -> list[Record]:
        """All records of a kind, in the order of their keys."""
        return [record for record in self if record["kind"] == kind]

    def append(self, records: Iterable[Record]) -> int:
        """Write those that are new, and return how many there were."""
        new = {key(record): record for record in records if key(record) not in self._known}
        if not new:
            return 0
        lines = "".join(json.dumps(rounded(record), allow_nan=False) + "\n" for record in new.values())
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _write(handle, lines.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self._known |= {one: json.loads(line) for one, line in zip(new, lines.splitlines(), strict=True)}
        return len(new)


def read_records(paths: Sequence[Path]) -> list[Record]:
    """All records of some files, or folders of ``*.jsonl``, in the order of their keys; reads only.

    Raises:
        GraspPlannerError: there are none, a file is not of records, or two files hold different records of one thing.
    """
    found: dict[Key, Record] = {}
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            if not file.is_file():
                raise GraspPlannerError(f"needed a file of records or a folder of them, got {file}, which is not there")
            try:
                text = file.read_text(encoding="utf-8")
            except ValueError as error:
                raise GraspPlannerError(f"{file} is not a file of records: {error}") from error
            for record in _parsed(text[: text.rfind("\n") + 1], file):
                known = found.setdefault((record.get("suite"), *key(record)), record)
                if comparable(known) != comparable(record):
                    raise GraspPlannerError(f"{file} holds another record than an earlier file of {key(record)[1:]}")
    if not found:
        raise GraspPlannerError(f"no records in {', '.join(map(str, paths))}: `grasp bench SUITE --out DIR` makes some")
    return [found[one] for one in sorted(found, key=lambda one: (str(one[0]), *one[1:]))]


def comparable(record: Mapping[str, Any]) -> Record:
    """A record without what depends on the machine and the hour."""
    return {name: value for name, value in record.items() if name != CLOCK}


def rounded(value: Any, digits: int = 7) -> Any:
    """JSON values with numbers of so many digits; what is not finite becomes ``None``, which JSON knows.

    >>> rounded({"x": [1 / 3, float("inf"), 2]})
    {'x': [0.3333333, None, 2]}
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: rounded(one, digits) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one, digits) for one in value]
    return value


def versions() -> dict[str, str]:
    """What numbers are made with."""
    from importlib.metadata import version

    names = ("grasp-planner", "torch", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _parsed(text: str, path: Path) -> Iterator[Record]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            record = json.loads(line)
            if record["schema"] != SCHEMA:
                raise GraspPlannerError(f"{path}, line {number}: records of schema {SCHEMA}, got {record['schema']}")
            _, task, _, model, arm, *_ = found = key(record)
            if any(type(one) is not (str if one in (task, model, arm) else int) for one in found):
                raise TypeError(f"names are texts and numbers are whole: {found}")
        except GraspPlannerError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise GraspPlannerError(f"{path}, line {number} is not a record: {error!r}") from error
        yield record
