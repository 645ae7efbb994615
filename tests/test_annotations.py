"""The shapes and types in the annotations of the core are right: its tests pass with every annotation checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def test_the_core_under_beartype():
    """The tests run in a separate process, since the checks must be installed before the first import."""
    chosen = "small_shapes or (alone_as and three) or hand_sum or is_one_call or test_the_slope or the_gap_is"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", chosen]
        + [str(TESTS / name) for name in ("contract", "core", "planners")],
        cwd=TESTS.parent,
        env={**os.environ, "GRASP_PLANNER_TYPECHECK": "1", "PYTEST_XDIST_AUTO_NUM_WORKERS": "0"},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_a_wrong_annotation_would_be_found():
    """A wrong shape raises an error under the checks, so the test above can fail."""
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "import conftest, torch, grasp_planner\n"
        "from grasp_planner.planners.mppi import path_weights\n"
        "path_weights(torch.ones(2, 3), 0.1)\n"
        "try: path_weights(torch.ones(2, 3, 4), 0.1)\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(TESTS)],
        env={**os.environ, "GRASP_PLANNER_TYPECHECK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "TypeCheckError" in done.stdout, done.stdout + done.stderr
