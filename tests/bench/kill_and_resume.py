"""Run a suite repeatedly, each time killed at a random moment, until it is finished. This is a program because it
forks.

python kill_and_resume.py SUITE FOLDER KILLS SEED
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from grasp_planner.bench.running.engines import Serial
from grasp_planner.bench.running.job_records import run_job
from grasp_planner.bench.running.suite_run import Run
from grasp_planner.bench.suites.loading import load_suite


def main(suite: Path, folder: Path, kills: int, seed: int) -> int:
    torch.set_num_threads(1)
    rng, killed, lines = random.Random(seed), 0, []
    patience = 0.3
    while True:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            Run(load_suite(suite), folder).go(Serial())
            os._exit(0)
        if killed < kills:
            time.sleep(rng.uniform(0.0, patience))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            lines.append(sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl")))
            continue
        print(f"killed {killed} times, with {lines} lines; {time.monotonic() - began:.1f} s", flush=True)
        return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    assert run_job  # imported before the first fork, so that no child process has to import it
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
