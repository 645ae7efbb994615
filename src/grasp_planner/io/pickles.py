"""Read pickles without running the code that they name.

``pickle.load`` builds the objects that a pickle describes, and calls every function that the pickle names. ``unpickle``
asks a function of the caller what each name stands for, and that function refuses the names that it does not know. A
pickle can also write attributes to the objects that it names, so a name never stands for an object that outlives the
file: it stands for an ``Inert`` function or for a class that is made for this file.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasp_planner.io.broken_files import reading
from grasp_planner.io.limited import Budget, read_limited
from grasp_planner.io.pickle_limits import MOST_BYTES, MOST_NESTED, MOST_WORK, check_pickle

if TYPE_CHECKING:
    import numpy as np

MOST_NAMES, LONGEST_NAME = 2000, 200
"""Most different names in a pickle, and most letters of one; a name can become a class, which takes 1 kB."""


class Inert:
    """A function that a name in a pickle stands for; the pickle can call it, and cannot write to it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it writes to a function")


def unpickle(data: bytes, resolve: Callable[[str, str], Any], stored: Callable[[Any], Any] | None = None) -> Any:
    """Read a pickle, with names resolved by ``resolve`` alone.

    Args:
        data: the pickle.
        resolve: called once for each module and name; returns what stands for them, or raises. The pickle can call
            what is returned, so its work must not exceed the number of its arguments. Results must be hashed by their
            identity.
        stored: called with the id of an object that is stored outside of the pickle; ``None``: there are none.

    Raises:
        ValueError: the pickle is truncated, or it would exhaust the reader (see ``check_pickle``).
        pickle.UnpicklingError: the pickle is broken. A broken pickle can raise almost any other exception, too.
    """
    check_pickle(data)
    return _Unpickler(data, resolve, stored).load()


def read_plain_pickle(path: Path) -> Any:
    """Read a file with pickled numbers, strings, numpy arrays, and lists of them.

    Raises:
        GraspPlannerError: the file is missing or broken, or it names anything else. No code of the file is run.
    """
    with reading(path, "pickle of numbers and strings"):
        data = read_limited(path, MOST_BYTES)
        content = unpickle(data, _PlainNames(len(data)).resolve)
        return _plain(content, Budget(MOST_WORK, "elements, shared ones counted each time"), 0)


class _Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing by itself."""

    def __init__(self, data: bytes, resolve: Callable[[str, str], Any], stored: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(data))
        self.resolve, self.stored = resolve, stored
        self.names: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name in the pickle."""
        # Protocol 2, which torch.save uses, has the old name of the module of built-in functions.
        key = ("builtins" if module == "__builtin__" else module, name)
        if key not in self.names:
            if len(self.names) >= MOST_NAMES or len(module) + len(name) > LONGEST_NAME:
                raise pickle.UnpicklingError(f"it holds more than {MOST_NAMES} names, or one of {len(name)} letters")
            self.names[key] = self.resolve(*key)
        return self.names[key]

    def persistent_load(self, pid: Any) -> Any:
        """Return the object with this id that is stored outside of the pickle."""
        if self.stored is None:
            raise pickle.UnpicklingError("it refers to an object outside of the pickle, which is refused")
        return self.stored(pid)


class _Recorded:
    """A dtype, number or array of numpy as a pickle describes it: the arguments of its function, and its state."""

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: str, arguments: tuple[Any, ...]) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _PlainNames:
    """What the names in a pickle of numbers stand for: functions that record their arguments."""

    def __init__(self, size: int) -> None:
        self.encoded = Budget(size, "bytes of encoded text")

    def resolve(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for.

        Raises:
            pickle.UnpicklingError: no pickle of numbers needs this name.
        """
        if (module, name) == ("_codecs", "encode"):
            return Inert(self._encode)
        if name in _NUMPY and re.fullmatch(r"numpy(\._?core\.(multiarray|numeric))?", module):
            return Inert(lambda *arguments: _Recorded(name, arguments))
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is refused")

    def _encode(self, text: Any, _encoding: Any = None) -> bytes:
        if not isinstance(text, str):
            raise pickle.UnpicklingError("it encodes something other than text")
        self.encoded.take(len(text))
        return text.encode("latin1")


_NUMPY = ("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer")


def _plain(value: Any, budget: Budget, depth: int) -> Any:
    """Convert recorded numbers and arrays to numpy's, in lists and tuples."""
    budget.take(1)
    if isinstance(value, _Recorded):
        array = _array(value)
        budget.take(array.size)
        return array
    if isinstance(value, (list, tuple)):
        if depth > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        return [_plain(one, budget, depth + 1) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"needed numbers, strings and lists, got a {type(value).__name__}")


def _array(value: _Recorded) -> Any:
    import numpy as np

    if value.kind == "scalar":
        kind, data = value.arguments
        return np.frombuffer(_bytes(data), _dtype(kind), 1)[0]
    if value.kind == "_frombuffer":
        data, kind, shape, order = value.arguments
        turned = order == "F"
    else:
        _, shape, kind, turned, data = value.state
    shape = tuple(_sizes(shape))
    array = np.frombuffer(_bytes(data), _dtype(kind))
    if math.prod(shape) != array.size:
        raise ValueError(f"an array of {array.size} numbers is said to have the shape {shape}")
    return array.reshape(shape, order="F" if turned is True else "C")


def _sizes(shape: Any) -> Iterator[int]:
    if type(shape) is not tuple or len(shape) > 8:
        raise ValueError("the shape of an array must be a short tuple")
    for size in shape:
        if type(size) is not int or not 0 <= size <= MOST_BYTES:
            raise ValueError("the shape of an array must hold sizes")
        yield size


def _bytes(data: Any) -> bytes | bytearray:
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("the numbers of an array must be bytes")
    return data


def _dtype(value: Any) -> np.dtype[Any]:
    import numpy as np

    code = value.arguments[0] if isinstance(value, _Recorded) and value.kind == "dtype" and value.arguments else None
    if not isinstance(code, str) or not re.fullmatch(r"b1|[iu][1248]|f[248]", code):
        raise ValueError("the numbers of an array must be integers, floating-point numbers or booleans")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")
