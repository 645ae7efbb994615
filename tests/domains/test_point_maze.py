"""PointMaze: the published numbers, sampling, exact states, and pictures with and without OpenGL."""

import copy
import ctypes.util
import os
import subprocess
import sys
import time

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import grasp_planner.domains
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains.point_maze import gl as point_maze_gl
from grasp_planner.domains.point_maze.environment import PointMaze
from grasp_planner.domains.point_maze.mjcf import mjcf, wall_centres
from grasp_planner.domains.point_maze.physics import sample_state
from grasp_planner.domains.point_maze.picture import top_down
from grasp_planner.domains.point_maze.task import distances, success

CORNER = np.array([0.8, 0.8, 0.0, 0.0])  # one end of the U; the bend is in +y


def opengl_works() -> bool:
    try:
        point_maze_gl.open_context(64).free()
    except GraspPlannerError:
        return False
    return True


needs_opengl = pytest.mark.skipif(not opengl_works(), reason="neither EGL nor OSMesa works on this machine")


def states_of(env, actions):
    return np.array([env.step(action)[0]["state"] for action in actions])


def test_speed_after_one_full_action_is_1_185():
    env = PointMaze()
    env.reset(options={"state": CORNER})
    state = env.step(np.array([0.0, 1.0]))[0]["state"]
    assert state[3] == pytest.approx(1.185, abs=5e-4)
    assert state[2] == 0.0
    # Five Euler steps with implicit damping: v += dt (F - v) / (m + dt), m = 4/3 pi 0.1^3 1000.
    mass, speed, way = 4 / 3 * np.pi, 0.0, 0.8
    for _ in range(5):
        speed += 0.01 * (100 - speed) / (mass + 0.01)
        way += 0.01 * speed
    np.testing.assert_allclose(state[[3, 1]], [speed, way], rtol=1e-12)


def test_top_speed_is_6_13():
    env = PointMaze()
    top = 0.0
    env.reset(options={"state": np.array([0.8, 0.6, 0.0, 5.2])})
    for _ in range(5):
        top = max(top, env.step(np.array([0.0, 1.0]))[0]["state"][3])
    assert top == pytest.approx(6.13, abs=0.01)
    rng = np.random.default_rng(0)
    fastest = 0.0
    for seed in range(20):
        env.reset(seed=seed)
        actions = np.repeat(rng.choice([-1.0, 1.0], (12, 2)), 10, axis=0)
        fastest = max(fastest, np.abs(states_of(env, actions)[:, 2:]).max())
    assert fastest < 6.2


def test_actions_are_clipped():
    one, other = PointMaze(), PointMaze()
    one.reset(options={"state": CORNER})
    other.reset(options={"state": CORNER})
    np.testing.assert_array_equal(
        one.step(np.array([7.0, -3.0]))[0]["state"], other.step(np.array([1.0, -1.0]))[0]["state"]
    )


def test_an_environment_step_is_five_physics_steps_after_clipping_the_velocity():
    model = mujoco.MjModel.from_xml_string(mjcf())
    assert (model.opt.timestep, model.opt.iterations) == (0.01, 20)
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
    assert model.body_mass[-1] == pytest.approx(4.18879, abs=1e-5)
    assert model.stat.extent == pytest.approx(point_maze_gl.DISTANCE, abs=1e-6)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = (0.8, 1.0), (0.0, 5.0), (0.3, 0.7)
    for _ in range(5):
        mujoco.mj_step(model, data)
    env = PointMaze()
    env.reset(options={"state": np.array([0.8, 1.0, 0.0, 5.9])})
    state = env.step(np.array([0.3, 0.7]))[0]["state"]
    np.testing.assert_array_equal(state, np.concatenate([data.qpos, data.qvel]))


def test_walls_hold_the_ball():
    env = PointMaze()
    rng = np.random.default_rng(1)
    for seed in range(20):
        env.reset(seed=seed)
        states = states_of(env, np.repeat(rng.uniform(-1, 1, (10, 2)), 10, axis=0))
        assert (states[:, :2] > 0.25).all() and (states[:, :2] < 3.35).all()
        inside = (states[:, 0] > 1.3) & (states[:, 0] < 2.3) & (states[:, 1] < 2.3)
        assert not inside.any()
    assert len(wall_centres()) == 18


def test_the_state_is_all_there_is():
    """set_state(get_state()) changes nothing, contacts included, and two environments agree."""
    env, other = PointMaze(), PointMaze()
    rng = np.random.default_rng(2)
    env.reset(seed=7)
    states_of(env, rng.uniform(-1, 1, (30, 2)))
    middle, actions = env.get_state(), np.repeat(rng.uniform(-1, 1, (8, 2)), 10, axis=0)
    expected = states_of(env, actions)
    env.set_state(middle)
    np.testing.assert_array_equal(states_of(env, actions), expected)
    other.reset(seed=1, options={"state": middle})
    np.testing.assert_array_equal(states_of(other, actions), expected)
    twin = copy.deepcopy(other)
    np.testing.assert_array_equal(states_of(twin, actions), states_of(other, actions))


def test_states_are_set_exactly_and_checked():
    env = PointMaze()
    state = np.array([2.7123456789, 0.6123456789, -5.2, 3.3])
    observation, info = env.reset(options={"state": state, "goal": CORNER})
    np.testing.assert_array_equal(observation["state"], state)
    np.testing.assert_array_equal(observation["proprio"], state)
    np.testing.assert_array_equal(info["goal"], CORNER)
    for wrong in (state[:2], state + 100, state * np.nan):
        with pytest.raises(GraspPlannerError, match=r"shape \(4,\)"):
            env.set_state(wrong)
    with pytest.raises(GraspPlannerError, match="two finite numbers"):
        env.step(np.array([np.nan, 0.0]))
    with pytest.raises(GraspPlannerError, match="no state yet"):
        PointMaze().get_state()
    with pytest.raises(GraspPlannerError, match="renderer must be"):
        PointMaze(renderer="opengl")
    with pytest.raises(GraspPlannerError, match="pixels must be"):
        PointMaze(pixels=96)


def test_success_ignores_the_velocity():
    goal = np.array([1.0, 1.0, 0.0, 0.0])
    assert success(goal + [0.3, 0.39, 4.0, -4.0], goal)
    assert not success(goal + [0.3, 0.41, 0.0, 0.0], goal)
    assert distances(np.zeros((5, 4)), goal)["velocity_m_s"].shape == (5,)
    env = PointMaze()
    _, info = env.reset(options={"state": CORNER, "goal": CORNER})
    assert info["success"] and info["position_m"] == 0.0
    _, reward, terminated, truncated, _ = env.step(np.zeros(2))
    assert (reward, terminated, truncated) == (1.0, False, False)


def test_starts_and_goals_follow_the_law():
    rng = np.random.default_rng(0)
    states = np.array([sample_state(rng) for _ in range(5000)])
    x, y = states[:, 0], states[:, 1]
    assert ((x <= 1.1) | (x >= 2.5) | (y >= 2.5)).all()
    # Areas: two arms 0.6 x 2.6, the bend 1.4 x 0.6.
    bend = 1.4 * 0.6 / (2 * 0.6 * 2.6 + 1.4 * 0.6)
    assert abs(((x > 1.1) & (x < 2.5)).mean() - bend) < 4 * np.sqrt(bend * (1 - bend) / 5000)
    assert 0.5 <= states[:, :2].min() < 0.52 and 3.08 < states[:, :2].max() <= 3.1
    speed = 5.2262554
    assert np.abs(states[:, 2:]).max() <= speed
    assert states[:, 2:].std() == pytest.approx(speed / np.sqrt(3), rel=0.02)


def test_a_seed_gives_the_published_start_and_goal():
    rng = np.random.RandomState(1)
    expected = [sample_state(rng), sample_state(rng)]
    env = PointMaze()
    observation, info = env.reset(seed=1)
    np.testing.assert_array_equal(observation["state"], expected[0])
    np.testing.assert_array_equal(info["goal"], expected[1])
    following = env.reset()[0]["state"]
    env.reset(seed=1)
    np.testing.assert_array_equal(env.reset()[0]["state"], following)


def contract(**options):
    assert "grasp_planner/PointMaze-v1" in gymnasium.registry, grasp_planner.domains.__name__
    return gymnasium.make("grasp_planner/PointMaze-v1", render_mode="rgb_array", **options).unwrapped


@pytest.mark.parametrize("pixels", [None, 64])
def test_gymnasium_contract(pixels):
    env = contract(pixels=pixels)
    check_env(env)
    env.reset(seed=0)
    assert env.render().shape == (pixels or 224, pixels or 224, 3)
    assert env.renderer == "top_down"


def test_the_top_down_picture_is_smooth_and_fast():
    background = top_down(np.array([100.0, 100.0]), 64).astype(float)  # the ball is out of sight
    moves = np.arange(200) * 0.002 / 16  # 0.002 px each
    pictures = np.array([top_down(np.array([0.8 + move, 0.83]), 64) for move in moves]).astype(float)
    steps = np.abs(np.diff(pictures, axis=0)).max(axis=(1, 2, 3))
    assert steps.max() <= 2  # grey levels, of 210
    assert np.abs(pictures[-1] - pictures[0]).max() > 50  # 0.4 px make a difference
    # The picture's centre of mass follows the ball to a fortieth of a pixel.
    dark = (background - pictures)[..., 0]
    columns = (dark.sum(axis=1) * np.arange(64)).sum(axis=1) / dark.sum(axis=(1, 2))
    np.testing.assert_allclose(columns, (0.8 + moves + 0.2) * 16 - 0.5, rtol=0, atol=0.025)
    start = time.process_time()
    for move in moves:
        top_down(np.array([0.8 + move, 0.83]), 64)
    assert (time.process_time() - start) / len(moves) < 3e-4


def test_the_top_down_picture_shows_where_the_ball_can_be():
    image = PointMaze().picture(CORNER, 224)
    assert image.shape == (224, 224, 3) and image.dtype == np.uint8
    free = (image == 240).all(axis=-1)
    ball = (image == (30, 90, 40)).all(axis=-1)
    assert ball.sum() == pytest.approx(np.pi * (0.2 * 56) ** 2, rel=0.1)
    assert (free | ball).sum() == pytest.approx(7 * 56**2, rel=0.02)  # seven free cells of 56 x 56 px


@needs_opengl
@pytest.mark.parametrize("pixels", [64, 224])
def test_pictures_by_mujoco(pixels):
    env = contract(pixels=pixels, renderer="mujoco")
    observation, _ = env.reset(seed=0, options={"state": np.array([0.8, 2.8, 0.0, 0.0])})
    image = observation["pixels"].astype(int)
    ball = (image[..., 1] > image[..., 0] + 20) & (image[..., 1] > image[..., 2] + 20)
    row, column = np.argwhere(ball).mean(axis=0)
    # Perspective over the middle of the view (3, 2.5) at distance 9.73 with 45 degrees: rows go along +y.
    scale = pixels / 2 / (point_maze_gl.DISTANCE * np.tan(np.pi / 8))
    np.testing.assert_allclose(
        [row, column], [pixels / 2 + (4.0 - 2.5) * scale, pixels / 2 + (2.0 - 3.0) * scale], atol=1.5
    )
    elsewhere = env.picture(np.array([2.8, 0.8, 0.0, 0.0]), pixels)
    assert not np.array_equal(elsewhere, observation["pixels"])
    np.testing.assert_array_equal(env.picture(env.get_state(), pixels), observation["pixels"])
    np.testing.assert_array_equal(env.get_state(), [0.8, 2.8, 0.0, 0.0])
    env.close()
    assert env.render().shape == (pixels, pixels, 3)  # opens again
    env.close()


@needs_opengl
def test_gymnasium_contract_with_published_pictures():
    env = contract(pixels=224)
    assert env.renderer == "mujoco"
    check_env(env)
    env.close()


@needs_opengl
def test_osmesa_draws_too():
    """This needs a new process: PyOpenGL keeps its first back end, which in the tests above is EGL if it works."""
    if ctypes.util.find_library("OSMesa") is None:
        pytest.skip("libOSMesa is not installed")
    code = """if True:
        from grasp_planner.domains.point_maze.environment import PointMaze
        print(PointMaze(pixels=224).reset(seed=0)[0]["pixels"].std())
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"} | {"MUJOCO_GL": "osmesa"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 20


def test_without_opengl_the_error_names_packages_and_states_still_work(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes.util, "find_library", lambda library: None)
    with pytest.raises(GraspPlannerError, match=r"libegl1.*libosmesa6.*renderer='top_down'"):
        PointMaze(pixels=224).reset(seed=0)
    assert PointMaze().reset(seed=0)[0]["state"].shape == (4,)
    assert PointMaze(pixels=64).reset(seed=0)[0]["pixels"].shape == (64, 64, 3)
    assert PointMaze(pixels=224, renderer="top_down").reset(seed=0)[0]["pixels"].shape == (224, 224, 3)
