"""The effects and the requirements of an import of `grasp_planner.domains`."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_registers_and_loads_no_simulator_and_nothing_that_draws_or_learns() -> None:
    code = (
        "import sys, grasp_planner.domains, gymnasium\n"
        "ids = [name for name in gymnasium.registry if name.startswith('grasp_planner/')]\n"
        "assert ids == [f'grasp_planner/{name}' for name in grasp_planner.domains.ENVIRONMENTS], ids\n"
        "grasp_planner.domains.register()\n"
        "print({'torch', 'mujoco', 'pymunk', 'matplotlib', 'PIL'} & {name.split('.')[0] for name in sys.modules})"
    )
    assert run(code) == "set()"


def test_gymnasium_finds_the_environments_by_module_and_id() -> None:
    code = "import gymnasium; print(gymnasium.make('grasp_planner.domains:grasp_planner/WallSingle-v1').spec.id)"
    assert run(code) == "grasp_planner/WallSingle-v1"


def test_without_gymnasium_scenes_policies_and_physics_work_and_environments_name_the_extra() -> None:
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "from grasp_planner import GraspPlannerError\n"
        "from grasp_planner.domains import register\n"
        "from grasp_planner.domains.registry import DOMAINS, POLICIES, scene\n"
        "from grasp_planner.domains.ball_nav.physics import step_points\n"
        "assert scene('PushT-v1') and POLICIES['wall']()\n"
        "for act in (register, DOMAINS['wall'].make):\n"
        "    try: act()\n"
        "    except GraspPlannerError as error: print('grasp-planner[envs]' in str(error))"
    )
    assert run(code) == "True\nTrue"
