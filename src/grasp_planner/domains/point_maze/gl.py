"""DINO-WM's picture of PointMaze, drawn by MuJoCo through OpenGL without a display."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's names come out of compiled modules that a type checker cannot read.)

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
from typing import Any

import mujoco
import numpy as np

from grasp_planner.core.errors import GraspPlannerError

# DINO-WM's free camera is above the median of the geoms' positions, at a distance equal to the model's extent.
LOOK_AT = (3.0, 2.5, 0.0)
DISTANCE = 9.734846922834954
BACK_ENDS = {"egl": "EGL", "osmesa": "OSMesa"}  # MuJoCo's name of a back end -> its system library


class Camera:
    """A camera above the maze. At 224 px its pictures are like those that DINO-WM's models were trained on.

    Rows go along y and columns along x: mujoco-py returns pictures upside down, and DINO-WM's data keep them so.
    Pictures by another OpenGL implementation differ by a few grey levels at edges and in shadows.

    Args:
        model: the MuJoCo model to draw.
        size: side of the pictures in px.

    Raises:
        GraspPlannerError: neither EGL nor OSMesa works on this machine. The message names the packages to install.
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        self._context = open_context(size)
        self._context.make_current()
        self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._resources)
        self._model, self._data = model, mujoco.MjData(model)
        self._scene, self._options = mujoco.MjvScene(model, maxgeom=100), mujoco.MjvOption()
        self._view, self._frame = mujoco.MjvCamera(), mujoco.MjrRect(0, 0, size, size)
        self._view.lookat[:] = LOOK_AT
        self._view.distance, self._view.azimuth, self._view.elevation = DISTANCE, 90.0, -90.0
        self.size = size

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the maze with the ball at state[:2], as (size, size, 3) uint8."""
        self._context.make_current()
        self._data.qpos[:] = state[:2]
        mujoco.mj_forward(self._model, self._data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, self._data, self._options, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._frame, self._scene, self._resources)
        image = np.empty((self.size, self.size, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._frame, self._resources)
        return image

    def close(self) -> None:
        """Release the OpenGL resources. The camera cannot be used afterwards."""
        self._context.make_current()
        self._resources.free()
        self._context.free()


def open_context(size: int) -> Any:
    """Open an OpenGL context that needs no display.

    On Linux the environment variable MUJOCO_GL chooses between EGL and OSMesa; without it, EGL is tried before
    OSMesa. ``mujoco.Renderer`` would open a window unless MUJOCO_GL is set before the first import of MuJoCo. On macOS
    and Windows, and with MUJOCO_GL=glfw, MuJoCo's default context is used.
    """
    wish = os.environ.get("MUJOCO_GL", "").lower().strip()
    if not sys.platform.startswith("linux") or wish in ("glfw", "glx"):
        return mujoco.GLContext(size, size)
    names = [wish] if wish in BACK_ENDS else [name for name, library in BACK_ENDS.items() if _has(library)]
    problems = [] if names else ["neither libEGL nor libOSMesa is installed"]
    for name in names:
        try:
            return importlib.import_module(f"mujoco.{name}").GLContext(size, size)
        except Exception as error:  # a missing library or driver can raise almost any exception
            problems.append(f"{name}: {type(error).__name__}: {error}")
    raise GraspPlannerError(
        "MuJoCo's pictures of PointMaze need OpenGL without a display, through EGL or OSMesa, and neither "
        f"works here ({'; '.join(problems)}). On Debian or Ubuntu: apt-get install libegl1, or libosmesa6 "
        "with MUJOCO_GL=osmesa; or use renderer='top_down', which needs neither. Without pictures, state and "
        "proprio work as they are"
    )


def _has(library: str) -> bool:
    return ctypes.util.find_library(library) is not None
