"""Read pickles without running the code that they name.

``pickle.load`` builds the objects that a pickle describes, and calls every function that the pickle names. ``unpickle``
resolves each name with a function of the caller, which refuses unknown names.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grasp_planner.io.broken_files import reading
from grasp_planner.io.pickle_limits import check_pickle

# The names in a pickled list of numbers, strings and numpy arrays.
_PLAIN = {
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "_codecs": ("encode",),
}


def unpickle(data: bytes, resolve: Callable[[str, str], Any], stored: Callable[[Any], Any] | None = None) -> Any:
    """Read a pickle, with names resolved by ``resolve`` alone.

    Args:
        data: the pickle.
        resolve: function of a module and a name, which returns an object or raises. The pickle can call the object and
            write attributes to it.
        stored: function of the id of an object that is stored outside of the pickle; ``None``: there are no outside
            objects.

    Raises:
        ValueError: the pickle is truncated, or it would exhaust the reader (see ``check_pickle``).
        pickle.UnpicklingError: the pickle is broken. A broken pickle can raise almost any other exception, too.
    """
    check_pickle(data)
    return _Unpickler(data, resolve, stored).load()


def read_plain_pickle(path: Path) -> Any:
    """Read a file with pickled lists, numbers, strings and numpy arrays.

    Raises:
        GraspPlannerError: the file is missing or broken, or it names anything else. No code of the file is run.
    """
    with reading(path, "pickle of numbers and strings"):
        return unpickle(path.read_bytes(), _plain)


def _plain(module: str, name: str) -> Any:
    if name not in _PLAIN.get(module, ()):
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is refused")
    return getattr(importlib.import_module(module), name)


class _Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing by itself."""

    def __init__(self, data: bytes, resolve: Callable[[str, str], Any], stored: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(data))
        self.resolve, self.stored = resolve, stored

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name in the pickle."""
        # Protocol 2, which torch.save uses, has the old name of the module of built-in functions.
        return self.resolve("builtins" if module == "__builtin__" else module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Return the object with this id that is stored outside of the pickle."""
        if self.stored is None:
            raise pickle.UnpicklingError("it refers to an object outside of the pickle, which is refused")
        return self.stored(pid)
