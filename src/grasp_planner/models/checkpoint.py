"""Checkpoints of our own models: ``config.json`` describes the model, ``model.safetensors`` holds all tensors.

The Hugging Face Hub knows both formats, so a folder can be uploaded unchanged. Nothing is unpickled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.atomic import make_folder, write_bytes_atomically
from grasp_planner.io.safetensors_files import check_header
from grasp_planner.io.text_files import read_json, write_json
from grasp_planner.io.typed_json import from_json

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SCHEMA = 1
LARGEST_NUMBER = 4096
"""A number in a configuration up to this size is accepted whatever the sizes of the tensors are."""
MOST_CONFIG = 2**18
"""Largest size of a configuration, in bytes."""
ADDED_LATER = "added later"
"""Key in the metadata of a field that checkpoints of earlier versions lack. They are read with the field's default."""
SMALL_MODEL = 2**26
"""A model of up to this many bytes is always built, for a ``model.safetensors`` of any size."""

PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def save_model(model: nn.Module, config: Any, kind: str, folder: str | Path) -> Path:
    """Write the two files of a model, each atomically.

    Args:
        model: the model, whose ``state_dict`` is written.
        config: a dataclass of JSON values, from which the model can be built again.
        kind: a name in ``registry.KINDS``.
        folder: the folder, which is created if needed.

    Returns:
        The folder.

    Raises:
        GraspPlannerError: the folder cannot be written.
        OSError: a file cannot be written.
    """
    from safetensors.torch import save

    folder = make_folder(Path(folder))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes_atomically(folder / WEIGHTS_FILE, save(tensors))
    write_json(folder / CONFIG_FILE, {"kind": kind, "schema": SCHEMA, **asdict(config)})
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json``.

    Raises:
        GraspPlannerError: the file is missing, is not JSON, or has another schema.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise GraspPlannerError(f"a checkpoint needs {CONFIG_FILE}; there is none in {folder}")
    config = read_json(path, MOST_CONFIG)
    schema = config.get("schema")
    if schema != SCHEMA:
        raise GraspPlannerError(
            f"{path} must have schema {SCHEMA}, got {schema!r}: another version of grasp-planner wrote it"
        )
    return config


def check_kind(folder: Path, kind: str) -> None:
    """Raise if a folder holds a model of another kind, whose files a model of this kind would replace.

    Args:
        folder: a folder, which need not exist.
        kind: the kind of model that will be saved in the folder, see ``save_model``.

    Raises:
        GraspPlannerError: the folder holds a model of another kind, or its ``config.json`` cannot be read.
    """
    path = folder / CONFIG_FILE
    found = read_json(path, MOST_CONFIG).get("kind") if path.exists() else kind
    if found != kind:
        raise GraspPlannerError(
            f"{folder} holds a model of the kind {found!r}, whose files a {kind!r} would replace: give another folder"
        )


def with_positive(model: Model, folder: str | Path, name: str) -> Model:
    """Return a loaded model unchanged, if all numbers of one of its buffers are above 0.

    Raises:
        GraspPlannerError: a number is 0 or below.
    """
    least = float(model.get_buffer(name).min())
    if not least > 0:
        raise GraspPlannerError(f"{Path(folder) / WEIGHTS_FILE}: {name} must be above 0 in every place, got {least}")
    return model


def build_config(cls: type[Config], folder: Path) -> Config:
    """Read ``config.json`` as the dataclass ``cls``, whose annotations decide what is accepted.

    Raises:
        GraspPlannerError: a field is missing, unknown or of another type, or the dataclass refuses a value.
    """
    content = {key: value for key, value in read_config(folder).items() if key not in ("kind", "schema")}
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    needed = {field.name for field in fields(cls) if not field.metadata.get(ADDED_LATER)}  # type: ignore[arg-type]
    if not needed <= set(content) <= known:
        raise GraspPlannerError(
            f"{folder / CONFIG_FILE} must have the fields {sorted(known)}; "
            f"missing {sorted(needed - set(content))}, unknown {sorted(set(content) - known)}"
        )
    return from_json(cls, content, f"{folder / CONFIG_FILE} is not valid")


def load_model(
    cls: Callable[[Config], Model], config_cls: type[Config], folder: str | Path, device: str | torch.device
) -> Model:
    """Build the model that ``config.json`` describes and fill it from ``model.safetensors``.

    A configuration cannot ask for more memory than its weights justify. Its numbers are compared with the shapes in
    the header of the weights, and building stops when the model exceeds several times the size of the file.

    Args:
        cls: function that makes a model from a configuration.
        config_cls: the dataclass of the configuration.
        folder: the folder with the two files.
        device: device of the tensors.

    Returns:
        The model, frozen and in evaluation mode.

    Raises:
        GraspPlannerError: a file is missing or truncated, or the files do not fit together.
    """
    folder = Path(folder)
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
        with _at_most(SMALL_MODEL + 4 * (folder / WEIGHTS_FILE).stat().st_size):
            model = cls(config)
    except MemoryError as error:
        raise GraspPlannerError(f"{misfit}the model it describes is several times as large") from error
    load_weights(model, folder)
    return model.to(device).eval().requires_grad_(False)


@contextmanager
def _at_most(limit: int) -> Iterator[None]:
    """Limit the bytes of the parameters and buffers that this thread registers inside the block.

    Raises:
        MemoryError: a parameter or buffer exceeds the limit. Its memory was reserved, but hardly any of it was used.
    """
    here, used = threading.get_ident(), 0

    def count(_module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal used
        if tensor is not None and threading.get_ident() == here:
            used += tensor.nbytes
            if used > limit:
                raise MemoryError(f"{name} {tuple(tensor.shape)} is too much")

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of every tensor from the header of ``model.safetensors``.

    Raises:
        GraspPlannerError: the file is missing or truncated.
    """
    from safetensors import safe_open

    with reading_weights(folder) as path, safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


@contextmanager
def reading_weights(folder: Path) -> Iterator[Path]:
    """Yield the path of the weights, and convert every error inside the block to one error that names the file."""
    from safetensors import SafetensorError

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise GraspPlannerError(f"a checkpoint needs {WEIGHTS_FILE} beside {CONFIG_FILE}; there is none in {folder}")
    try:
        check_header(path)
        yield path
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, GraspPlannerError):
            raise
        raise GraspPlannerError(
            f"{path} is not a whole safetensors file ({error}): copy or train the checkpoint again"
        ) from error


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fill ``model`` from ``model.safetensors``. Every tensor must be present, finite and of the right shape.

    Raises:
        GraspPlannerError: the file is missing or truncated, or it does not fit the model.
    """
    from safetensors.torch import load_file

    with reading_weights(folder) as path:
        tensors = load_file(path)
    fill(model, tensors, f"{path} does not fit {folder / CONFIG_FILE}")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], misfit: str) -> None:
    """Fill ``model`` from a ``state_dict``.

    Raises:
        GraspPlannerError: the tensors do not fit the model. The message begins with ``misfit``.
    """
    if problem := mismatch(model.state_dict(), tensors):
        raise GraspPlannerError(f"{misfit}: {problem}")
    model.load_state_dict(dict(tensors))


def mismatch(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    """Say in words how the tensors ``got`` differ from ``expected`` in names, shapes and kinds of numbers.

    Tensors that are not finite do not fit, either. Floating-point numbers fit in any of torch's common precisions.

    Returns:
        An empty string if the tensors fit.
    """
    if missing := sorted(set(expected) - set(got)):
        return f"tensors are missing: {', '.join(missing[:5])}"
    if unknown := sorted(set(got) - set(expected)):
        return f"unknown tensors: {', '.join(unknown[:5])}"
    for name, tensor in expected.items():
        if tensor.shape != got[name].shape:
            return f"{name} must be {tuple(tensor.shape)}, got {tuple(got[name].shape)}"
        kind = got[name].dtype
        if kind != tensor.dtype and not (tensor.is_floating_point() and kind in PRECISIONS):
            return f"{name} must hold {tensor.dtype}, got {kind}"
        if not bool(got[name].isfinite().all()):
            return f"{name} holds NaN or infinity"
    return ""
