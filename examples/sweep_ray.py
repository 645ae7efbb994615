"""A sweep on a Ray cluster.

The example distributes the jobs of a suite, `examples/sweep.toml`, over the workers of a Ray cluster.
The suite tunes one planner, and compares it with another planner on test episodes.

    pip install 'grasp-planner[ray,cli,bench,envs]'
    python examples/sweep_ray.py                                # starts a local cluster
    ray start --head                                            # or start a cluster yourself
    python examples/sweep_ray.py --address HOST:6379

```text
the sweep has 4 trials and 16 test episodes
again: nothing is measured twice: True
```

If a worker or the command is killed, the same command continues, and no measurement is lost or made twice.
`grasp report FOLDER` makes tables and charts of the records.
Without Ray, the example says that it is skipped.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--address", help="address of a running cluster")
address: str | None = parser.parse_args().address

if find_spec("ray") is None:
    print("skipped: this example needs Ray: pip install 'grasp-planner[ray]'")
    sys.exit(0)

suite = Path(__file__).with_name("sweep.toml")


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


with tempfile.TemporaryDirectory() as folder:
    where = ["--address", address] if address else ["--workers", "2"]
    command = [sys.executable, "-m", "grasp_planner", "bench", str(suite), "--out", folder, "--engine", "ray", *where]
    quiet = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}
    subprocess.run(command, check=True, capture_output=True, env=os.environ | quiet)
    trials, episodes = lines(Path(folder) / "sweep.jsonl"), lines(Path(folder) / "episodes.jsonl")
    measured = [line for line in trials if '"kind": "sweep"' in line]
    print(f"the sweep has {len(measured)} trials and {len(episodes)} test episodes")
    subprocess.run(command, check=True, capture_output=True, env=os.environ | quiet)
    print("again: nothing is measured twice:", lines(Path(folder) / "episodes.jsonl") == episodes)
