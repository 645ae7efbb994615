"""Files of records: one JSON line per record, appended so that a kill loses at most the line being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from grasp_planner.bench.record_json import comparable, record_from_json, record_to_json
from grasp_planner.bench.records import Key, R, Record, key_of, of_kind
from grasp_planner.core.errors import GraspPlannerError


class RecordFile:
    """A file of records. Records are appended and never changed.

    Each call of ``append`` writes whole lines and syncs them to the disk. A kill can leave part of a last line, which
    is removed when the file is opened again.

    Args:
        path: path of the file, which is created with the first record if it does not exist.

    Raises:
        GraspPlannerError: a line is not a record. An unfinished last line is not an error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Key, Record] = {}
        if path.exists():
            whole = path.read_bytes()
            text = whole[: whole.rfind(b"\n") + 1]
            if len(text) < len(whole):
                with path.open("r+b") as file:
                    file.truncate(len(text))
            self._known = {key_of(record): record for record in _parsed(text, path)}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._known[one] for one in sorted(self._known))

    def has(self, key: Key) -> bool:
        """Return whether the file holds the record with this key."""
        return key in self._known

    def get(self, kind: type[R], key: Key) -> R:
        """Return the record with this key.

        Raises:
            GraspPlannerError: the file holds no such record.
        """
        found = self._known.get(key)
        if not isinstance(found, kind):
            raise GraspPlannerError(f"{self.path} has no record of {key[1:]} yet")
        return found

    def of(self, kind: type[R]) -> list[R]:
        """Return all records of one kind, in the order of their keys."""
        return of_kind(self, kind)

    def append(self, records: Iterable[Record]) -> int:
        """Write the records that the file does not hold yet, and return their number.

        Raises:
            OSError: the records cannot be written, for example since the disk is full. The file is unchanged.
        """
        new = {key_of(record): record for record in records if key_of(record) not in self._known}
        if not new:
            return 0
        lines = "".join(json.dumps(record_to_json(record), allow_nan=False) + "\n" for record in new.values()).encode()
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            before = os.fstat(handle).st_size
            try:
                left = lines
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except BaseException:  # Ctrl-C, too: part of a line would spoil the next record
                os.ftruncate(handle, before)
                raise
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(self.path)) from error
        finally:
            os.close(handle)
        self._known |= dict(zip(new, _parsed(lines, self.path), strict=True))
        return len(new)


def read_records(paths: Sequence[Path]) -> list[Record]:
    """Read all records of files, or of folders of ``*.jsonl``, in the order of their keys, without writing to them.

    Raises:
        GraspPlannerError: there are no records, a line is not a record, or two files hold different records with one
            key.
    """
    found: dict[Key, Record] = {}
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            if not file.is_file():
                raise GraspPlannerError(f"needed a file of records or a folder of them, got {file}, which is not there")
            content = file.read_bytes()
            for record in _parsed(content[: content.rfind(b"\n") + 1], file):
                known = found.setdefault((record.work.suite, *key_of(record)), record)
                if comparable(known) != comparable(record):
                    raise GraspPlannerError(f"{file} holds another record than an earlier file of {key_of(record)[1:]}")
    if not found:
        raise GraspPlannerError(f"no records in {', '.join(map(str, paths))}: `grasp bench SUITE --out DIR` makes some")
    return [found[one] for one in sorted(found)]


def _parsed(content: bytes, path: Path) -> Iterator[Record]:
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        place = f"{path}, line {number}"
        try:
            values = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise GraspPlannerError(f"{place}: needed a record in JSON: {error}") from error
        yield record_from_json(values, place)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
