"""A saved model is two files: ``config.json`` says what to build, ``model.safetensors`` holds every tensor.

These are the files that ``huggingface_hub`` reads and writes, so a folder can be uploaded as it is; the package is not
needed here, nothing is unpickled, and nothing asks the network.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from grasp_planner.errors import GraspPlannerError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SCHEMA = 1

Config = TypeVar("Config")


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
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GraspPlannerError(f"a checkpoint needs {CONFIG_FILE}; {path} cannot be read: {error.strerror}") from error
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


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fill ``model`` from ``model.safetensors``; every tensor must be there, of the right shape and finite.

    Raises:
        GraspPlannerError: the file is missing, truncated, or does not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise GraspPlannerError(f"a checkpoint needs {WEIGHTS_FILE} beside {CONFIG_FILE}; there is none in {folder}")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise GraspPlannerError(
            f"{path} is not a whole safetensors file ({error}): copy or train the checkpoint again"
        ) from error
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
