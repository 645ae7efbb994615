"""Limits on the memo size and the nesting depth of a pickle, which are checked before any object is built."""

from __future__ import annotations

import pickletools

MOST_NESTED = 200
"""Largest depth of nesting. Python crashes when it hashes tuples that are nested about ten thousand deep."""

_STORING = {"PUT", "BINPUT", "LONG_BINPUT"}
_FETCHING = {"GET", "BINGET", "LONG_BINGET"}
_COLLECTING = {"TUPLE", "LIST", "DICT", "FROZENSET", "OBJ", "INST"}
_ADDING = {"APPENDS", "SETITEMS", "ADDITEMS"}


def check_pickle(data: bytes) -> None:
    """Raise on a pickle that would exhaust the reader. The check reads the instructions without running them.

    Raises:
        ValueError: the data are truncated or are not a pickle, the pickle stores an object at an index larger than its
            own size, or it is nested more than ``MOST_NESTED`` deep.
    """
    # The depth of each object on the unpickler's stack. A depth is a list of one number, shared by all references to
    # the object, since a container can grow after it was stored in the memo. None is a mark.
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
