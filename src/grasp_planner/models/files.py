"""A saved model is two files: ``config.json`` says what to build, ``model.safetensors`` holds every tensor.

These are the files that ``huggingface_hub`` reads and writes, so a folder can be uploaded as it is; the package is not
needed here, nothing is unpickled, and nothing asks the network.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.untrusted import plain_json, small_text

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SCHEMA = 1
LARGEST_NUMBER, ROOM = 4096, 2**26
"""A number in a configuration, and bytes of a model, that need no further justification."""

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one step.

    Whoever reads ``path`` sees the old file or the whole new one, whenever the writer dies.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes files that only their owner reads
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """``content`` as indented JSON, atomically."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def make_folder(folder: Path) -> Path:
    """Create ``folder`` if need be, and check that files can be made in it.

    Raises:
        GraspPlannerError: it is a file, or cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise GraspPlannerError(f"needed a folder that can be written, got {folder}: {error.strerror}") from error


def save_model(model: nn.Module, config: Any, kind: str, folder: str | Path) -> Path:
    """Write the two files of a model; ``config`` is a dataclass of JSON values."""
    from safetensors.torch import save_file

    folder = make_folder(Path(folder))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / WEIGHTS_FILE, lambda temporary: save_file(tensors, temporary))
    write_json(folder / CONFIG_FILE, {"kind": kind, "schema": SCHEMA, **asdict(config)})
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The contents of ``config.json``.

    Raises:
        GraspPlannerError: the file is missing, is not JSON, or is of a later schema.
    """
    path = folder / CONFIG_FILE
    try:
        config = plain_json(small_text(path))
    except OSError as error:
        raise GraspPlannerError(f"a checkpoint needs {CONFIG_FILE}; {path} cannot be read: {error.strerror}") from error
    except GraspPlannerError:
        raise
    except ValueError as error:
        raise GraspPlannerError(f"{path} is not JSON ({error}): copy or train the checkpoint again") from error
    if not isinstance(config, dict):
        raise GraspPlannerError(f"{path} must hold a JSON object, got {type(config).__name__}")
    schema = config.get("schema")
    if schema != SCHEMA:
        raise GraspPlannerError(
            f"{path} must have schema {SCHEMA}, got {schema!r}: another version of grasp-planner wrote it"
        )
    return config


def build_config(cls: type[Config], folder: Path) -> Config:
    """``config.json`` as the dataclass ``cls``; lists become tuples.

    Raises:
        GraspPlannerError: a field is missing, unknown, or refused by the dataclass.
    """
    content = {key: value for key, value in read_config(folder).items() if key not in ("kind", "schema")}
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if known != set(content):
        raise GraspPlannerError(
            f"{folder / CONFIG_FILE} must have the fields {sorted(known)}; "
            f"missing {sorted(known - set(content))}, unknown {sorted(set(content) - known)}"
        )
    content = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    try:
        return cls(**content)
    except (TypeError, GraspPlannerError) as error:
        raise GraspPlannerError(f"{folder / CONFIG_FILE} is not valid: {error}") from error


def load_model(cls: Callable[[Config], Model], config_cls: type[Config], folder: Path) -> Model:
    """The model that ``config.json`` describes, filled from ``model.safetensors``.

    A configuration cannot ask for more than its weights take: its numbers are compared with the sizes in their header,
    and building ends where it would take several times the memory of the file.

    Raises:
        GraspPlannerError: a file is missing, truncated, or does not fit the other.
    """
    config = build_config(config_cls, folder)
    shapes = weight_shapes(folder)
    largest = max([LARGEST_NUMBER, len(shapes), *(size for shape in shapes.values() for size in shape)])
    misfit = f"{folder / CONFIG_FILE} does not fit {folder / WEIGHTS_FILE}: "
    for name, value in asdict(config).items():  # type: ignore[call-overload]
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) > largest:
                raise GraspPlannerError(
                    f"{misfit}{name} is {number}, and no tensor has more than {largest} of anything"
                )
    try:
        with _bounded(ROOM + 4 * (folder / WEIGHTS_FILE).stat().st_size):
            model = cls(config)
    except MemoryError as error:
        raise GraspPlannerError(f"{misfit}the model it describes is several times as large") from error
    load_weights(model, folder)
    return model


@contextmanager
def _bounded(left: int) -> Iterator[None]:
    """Modules built here, by this thread, register at most so many bytes.

    Raises:
        MemoryError: they want more; what was made for it is hardly touched yet.
    """
    here, used = threading.get_ident(), 0

    def count(_module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal used
        if tensor is not None and threading.get_ident() == here:
            used += tensor.nbytes
            if used > left:
                raise MemoryError(f"{name} {tuple(tensor.shape)} is too much")

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in ``model.safetensors``, from its header alone.

    Raises:
        GraspPlannerError: the file is missing or truncated.
    """
    from safetensors import safe_open

    with reading_weights(folder) as path, safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


@contextmanager
def reading_weights(folder: Path) -> Iterator[Path]:
    """The path of the weights; whatever goes wrong while they are read becomes one error that names it."""
    from safetensors import SafetensorError

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise GraspPlannerError(f"a checkpoint needs {WEIGHTS_FILE} beside {CONFIG_FILE}; there is none in {folder}")
    try:
        yield path
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, GraspPlannerError):
            raise
        raise GraspPlannerError(
            f"{path} is not a whole safetensors file ({error}): copy or train the checkpoint again"
        ) from error


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fill ``model`` from ``model.safetensors``; every tensor must be there, of the right shape and finite.

    Raises:
        GraspPlannerError: the file is missing, truncated, or does not fit the model.
    """
    from safetensors.torch import load_file

    with reading_weights(folder) as path:
        tensors = load_file(path)
    expected = model.state_dict()
    if problem := mismatch(expected, tensors):
        raise GraspPlannerError(f"{path} does not fit {folder / CONFIG_FILE}: {problem}")
    model.load_state_dict(tensors)


def mismatch(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    """What is wrong with the tensors ``got``, or nothing."""
    if missing := sorted(set(expected) - set(got)):
        return f"tensors are missing: {', '.join(missing[:5])}"
    if unknown := sorted(set(got) - set(expected)):
        return f"unknown tensors: {', '.join(unknown[:5])}"
    for name, tensor in expected.items():
        if tensor.shape != got[name].shape:
            return f"{name} must be {tuple(tensor.shape)}, got {tuple(got[name].shape)}"
        if not bool(got[name].isfinite().all()):
            return f"{name} holds NaN or infinity"
    return ""
