"""Limits on files from elsewhere, checked before anything is built from them: what a reader refuses beforehand."""

from __future__ import annotations

import json
import pickletools
import zipfile
from pathlib import Path
from typing import Any

from grasp_planner.core.errors import GraspPlannerError

MOST_TEXT = 64 * 2**20
"""Bytes of a settings file; real ones have thousands."""
MOST_NESTED = 200
"""Depth of nesting; hashing nested tuples deeper than some ten thousand crashes Python itself."""

_STORING = {"PUT", "BINPUT", "LONG_BINPUT"}
_FETCHING = {"GET", "BINGET", "LONG_BINGET"}
_COLLECTING = {"TUPLE", "LIST", "DICT", "FROZENSET", "OBJ", "INST"}
_ADDING = {"APPENDS", "SETITEMS", "ADDITEMS"}


def small_text(path: Path) -> str:
    """The text of a settings file.

    Raises:
        GraspPlannerError: it is larger than any settings file.
        OSError: it cannot be read.
        ValueError: it is no text.
    """
    size = path.stat().st_size
    if size > MOST_TEXT:
        raise GraspPlannerError(f"{path} has {size:,} bytes, which is more than a text file of settings has")
    return path.read_text(encoding="utf-8")


def plain_json(text: str) -> Any:
    """What JSON text holds.

    Raises:
        ValueError: it is not JSON, or nested beyond reason.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that says it holds more than the file does: ``torch.save`` compresses nothing.

    Raises:
        ValueError: it does.
    """
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:
            raise ValueError(f"{member.filename} is compressed, which no file of torch.save is")
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename.replace("\\", "/")).parts:
            raise ValueError(f"{member.filename} leads out of the file")


def check_pickle(data: bytes) -> None:
    """Refuse a pickle that would exhaust the reader before any of its objects is looked at; nothing of it is run.

    Raises:
        ValueError: it is truncated, is no pickle, keeps things at places beyond its own size, or nests too deeply.
    """
    # The depth of everything on the unpickler's stack, as one-element lists, since containers grow where they are.
    stack: list[list[int] | None] = []
    memo: dict[int, list[int]] = {}
    for operation, given, _ in pickletools.genops(data):
        name, argument = operation.name, given if isinstance(given, int) else 0
        if name in _STORING:
            if argument > len(data):
                raise ValueError(f"a place {argument} is asked for, in a pickle of {len(data)} bytes")
            memo[argument] = _top(stack)
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack)
        elif name in _FETCHING:
            stack.append(memo.get(argument, [0]))
        elif name == "MARK":
            stack.append(None)
        elif name in _COLLECTING or name == "POP_MARK":
            depth = _deepest(_to_mark(stack))
            if name != "POP_MARK":
                stack.append([depth + 1])
        elif name in _ADDING:
            depth = _deepest(_to_mark(stack))
            _top(stack)[0] = max(_top(stack)[0], depth + 1)
        elif name in ("APPEND", "SETITEM"):
            depth = _deepest(_popped(stack, 1 if name == "APPEND" else 2))
            _top(stack)[0] = max(_top(stack)[0], depth + 1)
        elif name == "DUP":
            stack.append(_top(stack))
        elif name != "STOP":
            depth = _deepest(_popped(stack, len(operation.stack_before)))
            stack.extend([depth + bool(operation.stack_before)] for _ in operation.stack_after)
        if stack and stack[-1] is not None and stack[-1][0] > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")


def _top(stack: list[list[int] | None]) -> list[int]:
    top = stack[-1] if stack else None
    if top is None:
        raise ValueError("something is taken from an empty stack")
    return top


def _popped(stack: list[list[int] | None], count: int) -> list[list[int] | None]:
    if count > len(stack):
        raise ValueError("something is taken from an empty stack")
    popped = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return popped


def _to_mark(stack: list[list[int] | None]) -> list[list[int] | None]:
    for place in reversed(range(len(stack))):
        if stack[place] is None:
            return _popped(stack, len(stack) - place)
    raise ValueError("a mark is missing")


def _deepest(entries: list[list[int] | None]) -> int:
    return max((entry[0] for entry in entries if entry is not None), default=0)
