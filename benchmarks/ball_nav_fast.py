"""Compiled dynamics of BallNav for sweeps: equal to the model up to rounding, five times as fast. Needs ``cc``."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grasp_planner.domains.ball_nav.physics import RADIUS, SIZE, SOFTNESS, TINY, walls_of
from grasp_planner.models.ball_nav import BallNav

SOURCE = Path(__file__).with_suffix(".c")
WORLD = np.array([RADIUS, SOFTNESS, TINY, SIZE])


@lru_cache
def library() -> ctypes.CDLL:
    """Compile the source for this process, and load the library."""
    built = Path(tempfile.mkdtemp()) / "ball_nav.so"
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", str(SOURCE), "-o", str(built), "-lm"], check=True)
    return ctypes.CDLL(str(built))


class FastBallNav:
    """The dynamics of a ``BallNav`` model, for float64 and float32 on the CPU."""

    context = 1

    def __init__(self, model: BallNav) -> None:
        self.frameskip, self.pace, self.walls = model.frameskip, model.pace, walls_of(model.map)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next positions: (n, 1, 2), (n, 1, a) -> (n, 2)."""
        return _Step.apply(states[:, -1], actions[:, -1], self)  # type: ignore[return-value]


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, position, pushes, model):
        rows, steps = len(position), model.frameskip
        out, jacobians = np.empty((rows, 2)), np.empty((rows, steps, 4))
        start, push = _numbers(position), _numbers(pushes)
        library().forward(
            rows, steps, _at(start), _at(push), _at(out), _at(jacobians),
            len(model.walls), _at(model.walls), _at(WORLD), ctypes.c_double(model.pace),
        )  # fmt: skip
        ctx.jacobians, ctx.pace = jacobians, model.pace
        return torch.from_numpy(out).to(position)

    @staticmethod
    def backward(ctx, gradient):
        rows, steps, _ = ctx.jacobians.shape
        to_position, to_push, given = np.empty((rows, 2)), np.empty((rows, 2 * steps)), _numbers(gradient)
        library().backward(
            rows, steps, _at(given), _at(ctx.jacobians), _at(to_position), _at(to_push), ctypes.c_double(ctx.pace)
        )
        return torch.from_numpy(to_position).to(gradient), torch.from_numpy(to_push).to(gradient), None


def _numbers(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().double().numpy())


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
