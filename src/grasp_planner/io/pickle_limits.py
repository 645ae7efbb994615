"""Limits on a pickle, checked before anything is built from it: its size, its work, its memo and its nesting."""

from __future__ import annotations

import pickletools
from collections.abc import Sequence

MOST_NESTED = 200
"""Largest depth of nesting. Python itself crashes when it hashes tuples that are nested some ten thousand deep."""
MOST_BYTES = 2**26
"""Largest size of a pickle. The numbers of tensors are stored outside of it."""
MOST_WORK = 2**18
"""Most instructions, arguments of calls and hashed elements together; checkpoints of 1,000 tensors need a fifth."""
MOST_ODD_KEYS = 1000
"""Most keys that are tuples or large integers. Their hashes can be made to collide, which takes quadratic time."""
MOST_BITS = 256
"""Largest integer."""

_STORING = {"PUT", "BINPUT", "LONG_BINPUT"}
_FETCHING = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CALLS = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3}
_COLLECTING = {"TUPLE", "LIST", "DICT", "FROZENSET", "OBJ", "INST", "POP_MARK"}
_ADDING = {"APPENDS", "SETITEMS", "ADDITEMS"}
_ADDING_ONE = {"APPEND": 1, "SETITEM": 2}
_KEYS = {"DICT": 2, "SETITEMS": 2, "SETITEM": 2, "FROZENSET": 1, "ADDITEMS": 1}  # every how many entries a key comes
_TRUSTED_HASH = 2**60  # integers below it have hashes of their own


class _Cell:
    """What is known of an object on the unpickler's stack; all references to the object share the cell.

    Attributes:
        depth: depth of nesting.
        hashing: number of elements that are visited to hash the object, with shared elements visited each time.
        length: number of elements that a call with this object as its arguments copies.
        odd: whether the hash can be made to collide with others.
    """

    __slots__ = ("depth", "hashing", "length", "odd")

    def __init__(self, depth: int = 0, hashing: int = 1, length: int = 0, odd: bool = False) -> None:
        self.depth, self.hashing, self.length, self.odd = depth, hashing, length, odd


_Stack = list["_Cell | None"]  # None is a mark


def check_pickle(data: bytes) -> None:
    """Raise on a pickle that would exhaust the reader. The check reads the instructions without running them.

    Raises:
        ValueError: the data are truncated or are not a pickle, the pickle stores an object at an index larger than its
            own size, it is nested more than ``MOST_NESTED`` deep, or it exceeds another limit of this module.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"a pickle of {len(data):,} bytes, which is more than {MOST_BYTES:,}")
    stack: _Stack = []
    memo: dict[int, _Cell] = {}
    work = odd = 0
    for operation, given, _ in pickletools.genops(data):
        name = operation.name
        number = given if isinstance(given, int) else 0
        work += 1
        if name in _STORING:
            if number > len(data):
                raise ValueError(f"a place {number:#x} is asked for, in a pickle of {len(data)} bytes")
            memo[number] = _top(stack)
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack)
        elif name in _FETCHING:
            if number not in memo:
                raise ValueError("an object is fetched that was not stored")
            stack.append(memo[number])
        elif name == "MARK":
            stack.append(None)
        elif name == "DUP":
            stack.append(_top(stack))
        elif name in _TUPLES:
            stack.append(_tuple(_popped(stack, _TUPLES[name])))
        elif name in _CALLS:
            entries = _popped(stack, _CALLS[name])
            work += sum(entry.length for entry in entries[1:] if entry is not None)
            stack.append(_Cell(_deepest(entries) + 1))
        elif name in _COLLECTING or name in _ADDING or name in _ADDING_ONE:
            entries = _popped(stack, _ADDING_ONE[name]) if name in _ADDING_ONE else _to_mark(stack)
            for key in entries[:: _KEYS[name]] if name in _KEYS else ():
                if key is not None:
                    work += key.hashing
                    odd += key.odd
            if name in ("TUPLE", "FROZENSET"):
                stack.append(_tuple(entries))
            elif name not in _COLLECTING:
                target = _top(stack)
                target.depth, target.length = max(target.depth, _deepest(entries) + 1), target.length + len(entries)
            elif name != "POP_MARK":
                stack.append(_Cell(_deepest(entries) + 1, length=len(entries)))
        elif name == "BUILD":
            (state,) = _popped(stack, 1)
            target = _top(stack)
            target.depth = max(target.depth, _deepest([state]) + 1)
        elif name.startswith("EXT"):
            raise ValueError("a number of Python's registry of extensions is used")
        elif name != "STOP":
            if number.bit_length() > MOST_BITS:
                raise ValueError(f"an integer of {number.bit_length():,} bits")
            depth = _deepest(_popped(stack, len(operation.stack_before)))
            made = _Cell(depth + bool(operation.stack_before), odd=abs(number) >= _TRUSTED_HASH)
            stack.extend(made for _ in operation.stack_after)
        if stack and stack[-1] is not None and stack[-1].depth > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        if work > MOST_WORK or odd > MOST_ODD_KEYS:
            raise ValueError("more work than the pickle of any checkpoint or list of numbers")


def _tuple(entries: Sequence[_Cell | None]) -> _Cell:
    hashing = 1 + sum(entry.hashing for entry in entries if entry is not None)
    return _Cell(_deepest(entries) + 1, min(hashing, MOST_WORK + 1), len(entries), odd=bool(entries))


def _top(stack: _Stack) -> _Cell:
    top = stack[-1] if stack else None
    if top is None:
        raise ValueError("something is taken from an empty stack")
    return top


def _popped(stack: _Stack, count: int) -> _Stack:
    if count > len(stack):
        raise ValueError("something is taken from an empty stack")
    popped = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return popped


def _to_mark(stack: _Stack) -> _Stack:
    for place in reversed(range(len(stack))):
        if stack[place] is None:
            return _popped(stack, len(stack) - place)[1:]
    raise ValueError("a mark is missing")


def _deepest(entries: Sequence[_Cell | None]) -> int:
    return max((entry.depth for entry in entries if entry is not None), default=0)
