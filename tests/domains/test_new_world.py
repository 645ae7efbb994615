"""A new world needs only a folder in `domains` and a row in the registry."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import grasp_planner
from grasp_planner.domains.registry import DOMAINS, ENVIRONMENTS, POLICIES, SCENES

PACKAGE = Path(grasp_planner.__file__).parent
TOY = Path(__file__).parent / "toy"

USE = """
import sys
import gymnasium, numpy as np
from gymnasium.utils.env_checker import check_env
import grasp_planner.domains
from grasp_planner.bench.running.policy_floors import floor
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import TASKS, episodes, task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import read
from grasp_planner.data.collecting import collect
from grasp_planner.domains.registry import scene
from grasp_planner.figures.panels import draw_world

assert "grasp_planner" in grasp_planner.__file__ and grasp_planner.__file__.startswith(sys.argv[1])

# make
env = gymnasium.make("grasp_planner/Toy-v1", pixels=64, render_mode="rgb_array").unwrapped
check_env(env, skip_render_check=True)
observation, info = env.reset(seed=0)
assert set(observation) == {"state", "proprio", "pixels"} and set(info) == {"success", "position_cm", "goal"}
try:
    env.step(np.zeros(2))
except GraspPlannerError as error:
    assert "an action is 1 finite numbers, shape (1,)" in str(error)
else:
    raise AssertionError("an action of another size was accepted")

# collect
data = read(collect("toy", 2, sys.argv[2], pixels=64, every=5, workers=1, progress=False))
assert len(data) == 2 and data.lengths.tolist() == [4, 4] and data.action_dim == 1
assert data.episode(0)["actions"].shape == (4, 5)
assert data.metadata["grasp_planner"]["policy"] == "toy"

# tasks
assert [name for name in TASKS if name.startswith("toy/")] == [
    "toy/random_state/v1", "toy/dset/v1", "toy/random_action/v1"
]
assert task("toy") == task("toy/dset/v1")
for name in ("toy/dset/v1", "toy/random_action/v1"):
    for episode in episodes(task(name, 10), count=3):
        outcome = execute(task(name, 10), episode, episode.actions)
        assert outcome.success_end and "position_cm" in outcome.distances
listed = episodes(task("toy/dset/v1", 10), count=20)
assert sum(episode.dropped for episode in listed) > 0
assert not any(task("toy/dset/v1").success(episode.start, episode.goal) for episode in listed)
assert floor(task("toy/random_state/v1"), episodes(task("toy/random_state/v1"), count=5), "scripted").end.trials == 5

# scene
import matplotlib
matplotlib.use("Agg")
from matplotlib.figure import Figure
drawn = draw_world(Figure().add_subplot(), scene("Toy-v1"), np.array([2.0, 5.0]), np.array([8.0, 5.0]))
assert len(drawn) == 1
print("done")
"""


def test_a_folder_and_a_row_add_a_world(tmp_path: Path) -> None:
    package = tmp_path / "library" / "grasp_planner"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("checkpoints", "__pycache__"))
    shutil.copytree(TOY, package / "domains" / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    registry = package / "domains" / "registry.py"
    text, row = registry.read_text(), "DOMAINS: dict[str, Domain] = {\n"
    assert text.count(row) == 1
    registry.write_text(
        text.replace(row, "from grasp_planner.domains.toy.task import TOY\n" + row + '    "toy": TOY,\n')
    )

    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path), str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": str(package.parent), "MPLBACKEND": "Agg"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")


def test_the_tables_come_from_one_table() -> None:
    assert all(name == domain.name for name, domain in DOMAINS.items())
    assert set(ENVIRONMENTS) == set(SCENES) == {domain.env for domain in DOMAINS.values()}
    for domain in DOMAINS.values():
        assert POLICIES[domain.name] is domain.policy
        assert (PACKAGE / "domains" / domain.name / "environment.py").exists()
        assert type(domain.make()).__name__ == domain.env.partition("-")[0]
    assert len(POLICIES) == len(DOMAINS) + sum(len(one.other_policies) for one in DOMAINS.values())


@pytest.mark.parametrize(
    "file",
    [
        "bench/tasks.py",
        "bench/running/simulation.py",
        "bench/running/policy_floors.py",
        "data/recipe.py",
        "data/rollouts.py",
    ],
)
def test_no_code_outside_the_folders_asks_for_a_particular_world(file: str) -> None:
    """No string in the code, except in examples, is the name of a world, an environment or a policy."""
    names = {*DOMAINS, *ENVIRONMENTS, *POLICIES}
    tree = ast.parse((PACKAGE / file).read_text())
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not names & {part for text in strings for part in (text, text.split("/")[0])}
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in imported for name in DOMAINS if f"grasp_planner.domains.{name}." in f"{module}."]
