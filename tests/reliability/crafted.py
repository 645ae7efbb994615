"""Crafted content for readers of untrusted files: values of wrong types, programs of pickles, archives."""

from __future__ import annotations

import copy
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NONSENSE: list[Any] = [
    *(None, True, "", "x", "x" * 5000, -1, 0, 3.5, 2**40, 10**30, float("nan"), float("inf"), -1e308, [], [[]], {}),
    *([1, "2", None], [0.5] * 3000, {"x": {"y": []}}, {"tensor": "x"}, {"type": "Plan", "fields": {}}),
]


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in nested dictionaries and lists."""
    if path:
        yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def with_nonsense(content: Any, draw: random.Random) -> Any:
    """A copy in which one value is replaced, removed or added."""
    made = copy.deepcopy(content)
    path = draw.choice(list(places(made)))
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    kind = draw.randrange(10)
    if kind == 0:
        del parent[path[-1]]
    elif kind == 1 and isinstance(parent, dict):
        parent[draw.choice(["x", "name", "kind", "type", "schema"])] = draw.choice(NONSENSE)
    else:
        parent[path[-1]] = draw.choice(NONSENSE)
    return made


NAMES = [
    *(b"torch._utils _rebuild_tensor_v2", b"torch._utils _rebuild_parameter", b"collections OrderedDict"),
    *(b"collections defaultdict", b"_codecs encode", b"builtins set", b"builtins list", b"builtins getattr"),
    *(b"__builtin__ dict", b"torch FloatStorage", b"torch.nn.modules.linear Linear", b"models.vit ViT", b"os system"),
    *(b"numpy dtype", b"numpy ndarray", b"numpy.core.multiarray _reconstruct", b"numpy.core.multiarray scalar"),
    *(b"numpy._core.numeric _frombuffer", b"builtins eval", b"torch Size", b"builtins tuple"),
]


def program(draw: random.Random) -> bytes:
    """A random pickle that is mostly well formed: its instructions find what they need on the stack."""
    out, depth, marks, stored = bytearray(b"\x80\x02"), 0, [], 0
    for _ in range(draw.choice([5, 20, 80, 300])):
        kind = draw.choice(["int", "int", "text", "name", "empty", "tuple", "store", "fetch", "mark", "close", "call"])
        kind = draw.choice([kind, "call", "build", "persistent", "add", "dup", "set"]) if draw.random() < 0.4 else kind
        if kind == "int":
            number = draw.choice([0, 1, 7, -1, 2**31, 2**61 - 1, 2**62, 2**200, 2**5000])
            data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
            out += b"\x8b" + struct.pack("<i", len(data)) + data
        elif kind == "text":
            text = draw.choice([b"storage", b"0", b"cpu", b"net", b"_parameters", b"x" * 3000, b"f4"])
            out += b"X" + struct.pack("<I", len(text)) + text
        elif kind == "name":
            out += b"c" + draw.choice(NAMES).replace(b" ", b"\n") + b"\n"
        elif kind == "empty":
            out += draw.choice([b")", b"]", b"}", b"N", b"\x88", b"\x8f"])
        elif kind == "tuple" and depth >= 2:
            out += b"\x86"
            depth -= 2
        elif kind == "store" and depth:
            out += b"r" + struct.pack("<I", stored)
            stored += 1
            continue
        elif kind == "fetch" and stored:
            out += b"j" + struct.pack("<I", draw.randrange(stored))
        elif kind == "mark":
            out += b"("
            marks.append(depth)
            continue
        elif kind == "close" and marks:
            depth = marks.pop()
            out += draw.choice([b"t", b"l", b"d", b"\x91"])
        elif kind == "dup" and depth:
            out += b"2"
        elif kind in ("call", "build", "add") and depth >= 2:
            out += {"call": draw.choice([b")R", b"R", b"\x81"]), "build": b"b", "add": b"a"}[kind]
            depth -= 2
        elif kind == "set" and depth >= 3:
            out += b"s"
            depth -= 3
        elif kind == "persistent" and depth:
            out += b"Q"
            depth -= 1
        else:
            continue
        depth += 1
    return bytes(out + b".")


def tensor_program(
    count: int, offset: int, size: list[int], stride: list[int], times: int = 1, key: bytes = b"0"
) -> bytes:
    """The pickle of ``{"net": {"w0": tensor, ..}}`` whose tensors claim a storage."""

    def integer(value: int) -> bytes:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8b" + struct.pack("<i", len(data)) + data

    def text(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    out = b"\x80\x02}" + text(b"net") + b"}("
    for number in range(times):
        out += text(b"w%d" % number) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + integer(count) + b"tQ"
        out += integer(offset + number) + b"(" + b"".join(map(integer, size)) + b"t("
        out += b"".join(map(integer, stride)) + b"t\x89ccollections\nOrderedDict\n)RtR"
    return out + b"us."


def archive(path: Path, pickled: bytes, numbers: bytes = bytes(16)) -> None:
    """Write a file such as those of ``torch.save``."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickled)
        file.writestr("x/data/0", numbers)


def doubled(levels: int, step: bytes = b"2\x86") -> bytes:
    """An object that holds the object before twice, and so on."""
    return b")" + step * levels


def text_opcode(data: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(data)) + data


def big_key(number: int) -> bytes:
    value = number * (2**61 - 1)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data + b"N"


EXPLOSIVE = {
    "shared tuples as a key": b"\x80\x02}" + doubled(45) + b"K\x01s.",
    "shared tuples in a set": b"\x80\x04\x8f(" + doubled(45) + b"\x90.",
    "shared tuples in a list": b"\x80\x02](" + doubled(45) + b"e.",
    "lists of one string": b"\x80\x02]("
    + text_opcode(b"x" * 10**6)
    + b"q\x000"
    + b"cbuiltins\nlist\nh\x00\x85R" * 400
    + b"e.",
    "sets of one list": b"\x80\x02]("
    + b"Na" * 20_000
    + b"q\x000"
    + b"cbuiltins\nset\n](K\x01eh\x00\x85R" * 20_000
    + b"e.",
    "encoded over and over": b"\x80\x02]("
    + text_opcode(b"x" * 10**6)
    + b"q\x000"
    + b"c_codecs\nencode\nh\x00\x85R" * 20_000
    + b"e.",
    "keys that collide": b"\x80\x02}(" + b"".join(map(big_key, range(1, 60_000))) + b"u.",
    "plain opcodes": b"\x80\x02" + b"N0" * 7_500_000 + b"N.",
    "an integer of a megabyte": b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".",
    "many names": b"\x80\x02](" + b"".join(b"ctorch\nx%d\n" % i for i in range(30_000)) + b"e.",
    "one long call, often": b"\x80\x02](" + b"N" * 50_000 + b"tq\x00" + b"0ctorch\nx\nh\x00R" * 50_000 + b"e.",
}
