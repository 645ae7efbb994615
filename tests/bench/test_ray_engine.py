"""A Ray cluster gives the same records, and repeats the jobs of lost workers. Skipped if Ray is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.record_json import comparable
from grasp_planner.bench.running.engines import engine
from grasp_planner.core.errors import MissingExtraError

ray_is_here = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

# This runs in a separate process, since Ray starts processes and threads that outlive a test.
SCRIPT = """
    import sys
    from pathlib import Path
    from grasp_planner import GraspPlannerError
    from grasp_planner.bench.running.engines import engine
    from grasp_planner.bench.running.suite_run import Run
    from grasp_planner.bench.suites.loading import load_suite
    import failing_jobs

    suite, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with engine("ray", workers=2) as started:
        assert all(pid > 0 for _, pid in started.results(failing_jobs.die_once, [str(folder / "x")] * 3))
        try:
            list(started.results(failing_jobs.fault, [5]))
        except GraspPlannerError as error:
            assert "job 5" in str(error), error
        else:
            raise AssertionError("an error was lost")
        Run(load_suite(suite), folder / "run").go(started)
    print("done")
"""


@ray_is_here
@pytest.mark.slow
def test_ray_agrees_with_one_process_and_does_the_work_of_lost_workers(
    finished: Path, suite_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(suite_file), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_ADDRESS": "127.0.0.1:1",  # a cluster that must not be joined
        },
        start_new_session=True,
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("done"), done.stderr
    ours = [comparable(one) for one in read_records([tmp_path / "run"])]
    assert ours == [comparable(one) for one in read_records([finished])]


@ray_is_here
def test_a_cluster_that_does_not_answer_is_said() -> None:
    with pytest.raises(GraspPlannerError, match="127.0.0.1:1.*ray start"), engine("ray", address="127.0.0.1:1"):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"grasp-planner\[ray\]"), engine("ray"):
        pass
