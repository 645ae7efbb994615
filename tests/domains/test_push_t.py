"""Push-T: its dynamics, distances and interface. Reference numbers come from DINO-WM's environment."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import grasp_planner.domains  # noqa: F401  (registers)
from grasp_planner import GraspPlannerError
from grasp_planner.domains.push_t.environment import PushT
from grasp_planner.domains.push_t.physics import contact_marks
from grasp_planner.domains.push_t.task import distances, success

FREE = np.array([100.0, 100.0, 350.0, 350.0, 0.3, 0.0, 0.0])  # the pusher is far from the block
ANGLES = st.floats(-50.0, 50.0)

# Every 20th state of the episode in `chase`, recorded with the published environment (pymunk 6.8.0).
GOLDEN = {
    20: [280.999221959, 264.740059205, 279.227068357, 329.250534537, 2.364403049, 109.084863216, 23.149042108],
    40: [176.366262566, 324.677437184, 160.330480409, 380.257968433, 2.895893905, -83.433919889, 74.027190303],
    60: [107.138449819, 416.579441546, 40.347140505, 391.892362178, 4.289495554, 3.534159664, -111.459204606],
    80: [-38.522092133, 252.887162267, 12.171151541, 231.883164452, 4.800977632, 20.80656735, -109.610015127],
}


def chase(env: PushT, steps: int) -> list[np.ndarray]:
    """Drive the pusher at the block in curves: it touches many sides, and then jams the block in a corner."""
    env.set_state(np.array([300.0, 120.0, 260.0, 250.0, 2.0, 0.0, 0.0]))
    states = [env.get_state()]
    for t in range(steps):
        turn = 1.3 * np.sin(0.23 * t)
        way = states[-1][2:4] - states[-1][:2]
        way = way / np.linalg.norm(way)
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        states.append(env.step(0.3 * spin @ way)[0]["state"])
    return states


def test_trajectory_is_the_published_environments() -> None:
    states = chase(PushT(), 80)
    for step, golden in GOLDEN.items():
        np.testing.assert_allclose(states[step], golden, rtol=0, atol=1e-4)


@pytest.mark.parametrize("pixels", [None, 64, 224])
def test_gymnasium_accepts_it_without_a_warning(pixels: int | None) -> None:
    env = gymnasium.make("grasp_planner/PushT-v1", render_mode="rgb_array", pixels=pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    observation, info = env.reset(seed=3)
    assert observation["state"].dtype == observation["proprio"].dtype == np.float64
    np.testing.assert_array_equal(info["goal"], env.unwrapped.goal)
    if pixels:
        assert observation["pixels"].shape == (pixels, pixels, 3)
        np.testing.assert_array_equal(observation["pixels"], env.render())
    for _ in range(3):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert not terminated and not truncated
        assert reward == float(info["success"])


def test_free_pusher_follows_the_closed_form_of_its_controller() -> None:
    env = PushT()
    env.set_state(FREE)
    rng = np.random.default_rng(0)
    position, velocity = env.get_state()[:2], env.get_state()[5:]
    round_of_control = np.array([[0.99, -0.008], [1.0, 0.8]])  # of (target - p, v): k_p 100, k_v 20, dt 0.01
    ten_rounds = np.linalg.matrix_power(round_of_control, 10)
    for action in rng.uniform(-0.4, 0.4, (25, 2)):
        ahead, velocity = ten_rounds @ np.stack([100 * action, velocity])
        position = position + 100 * action - ahead
        state = env.step(action)[0]["state"]
        np.testing.assert_allclose(state[[0, 1, 5, 6]], [*position, *velocity], atol=1e-9)


def test_actions_are_not_clipped() -> None:
    travelled = []
    for size in (1.0, 3.0):
        env = PushT()
        env.set_state(FREE)
        travelled.append(env.step(np.array([0.0, -size]))[0]["state"][1] - FREE[1])
    assert travelled[0] == pytest.approx(-29.567, abs=1e-3)
    assert travelled[1] == pytest.approx(3 * travelled[0])


def test_block_only_moves_while_pushed() -> None:
    env = PushT()
    # the pusher stands left of the stem and pushes it to the right, then returns
    env.set_state(np.array([220.0, 300.0, 256.0, 220.0, 0.0, 0.0, 0.0]))
    for _ in range(8):
        env.step(np.array([0.2, 0.0]))
    pushed = env.get_state()
    assert pushed[2] > 266.0
    for _ in range(5):
        env.step(np.array([-0.3, 0.0]))
    left_alone = env.get_state()
    for _ in range(5):
        env.step(np.zeros(2))
    np.testing.assert_array_equal(env.get_state()[2:5], left_alone[2:5])
    np.testing.assert_allclose(left_alone[2:5], pushed[2:5], atol=2.0)


def test_pushes_turn_the_block_by_its_lever_over_its_moment() -> None:
    """A short push at lever arm l along the normal shifts and turns in the ratio 1 : l/I, with I = 3000."""
    env = PushT()
    lever = 30.0
    env.set_state(np.array([200.0 + lever, 184.5, 200.0, 200.0, 0.0, 0.0, 0.0]))  # above the bar, pushing down
    before = env.get_state()
    env.step(np.array([0.0, 0.03]))
    after = env.get_state()
    centre = [state[2:4] + 45 * np.array([-np.sin(state[4]), np.cos(state[4])]) for state in (before, after)]
    turn = (after[4] - before[4] + np.pi) % (2 * np.pi) - np.pi
    shift = centre[1][1] - centre[0][1]
    assert shift > 0.1
    assert turn / shift == pytest.approx(lever / 3000, rel=0.03)


def test_setting_a_state_sets_the_angle_before_the_position() -> None:
    state = np.array([50.0, 60.0, 300.0, 280.0, 2.5, 0.0, 0.0])
    env = PushT()
    env.set_state(state)  # the other order would move the origin, since the T turns about (0, 45)
    np.testing.assert_allclose(env.get_state(), state, atol=1e-9)


def test_setting_a_state_makes_one_physics_step() -> None:
    env = PushT()
    env.set_state(np.array([50.0, 60.0, 300.0, 280.0, 7.0, 30.0, -80.0]))
    state = env.get_state()
    np.testing.assert_allclose(state, [50.3, 59.2, 300.0, 280.0, 7.0 - 2 * np.pi, 30.0, -80.0], atol=1e-9)


def test_nothing_of_the_past_survives_setting_a_state() -> None:
    used, fresh = PushT(), PushT()
    chase(used, 20)
    np.testing.assert_array_equal(chase(used, 30), chase(fresh, 30))


def test_seed_decides_start_and_goal() -> None:
    one, other = PushT(), PushT()
    for env in (one, other):
        env.reset(seed=11)
    np.testing.assert_array_equal(one.get_state(), other.get_state())
    np.testing.assert_array_equal(one.goal, other.goal)
    other.reset(seed=12)
    assert not np.array_equal(one.goal, other.goal)


def test_options_set_start_and_goal() -> None:
    env = PushT()
    goal = FREE + [10, 0, 0, 10, 0, 0, 0]
    observation, info = env.reset(seed=0, options={"state": FREE, "goal": goal})
    np.testing.assert_allclose(observation["state"], FREE, atol=1e-9)
    np.testing.assert_array_equal(info["goal"], goal)
    assert info["success"] and info["position_px"] == pytest.approx(np.sqrt(200))


def test_random_states_follow_the_published_law() -> None:
    rng = np.random.default_rng(0)
    env = PushT()
    states = np.stack([env.sample_state(rng) for _ in range(2000)])
    np.testing.assert_array_equal(states[:, :4], np.round(states[:, :4]))
    assert (states[:, :2].min(), states[:, :2].max()) == (50, 449)
    assert (states[:, 2:4].min(), states[:, 2:4].max()) == (100, 399)
    assert (states[:, 4] >= 0).all() and (states[:, 4] < 2 * np.pi).all()
    assert abs(np.exp(1j * states[:, 4]).mean()) < 0.06  # nearly uniform
    assert (states[:, 5:] == 0).all()


def test_success_thresholds() -> None:
    def moved(index: int, by: float) -> bool:
        state = FREE.copy()
        state[index] += by
        return bool(success(state, FREE))

    for index in range(4):
        assert moved(index, 19.99) and not moved(index, 20.01)
    assert moved(4, 0.999 * np.pi / 9) and not moved(4, 1.001 * np.pi / 9)
    assert moved(5, 1e4)  # the velocity does not count
    together = FREE + [12, 0, 0, 17, 0, 0, 0]  # 20.8 px: pusher and block count as one distance
    assert not success(together, FREE)
    assert success(together, FREE, block_only=True)


@pytest.mark.parametrize("symmetry", [1, 2, 3, 4])
def test_success_may_count_angles_by_a_symmetry(symmetry: int) -> None:
    env = gymnasium.make("grasp_planner/PushT-v1", symmetry=symmetry)
    for turn in range(12):  # thirds and quarters of a turn, from where no wall is near
        state = np.array([50.0, 50, 250, 250, 0.5 + turn * np.pi / 6, 0, 0])
        goal = np.array([50.0, 50, 250, 250, 0.5, 0, 0])
        expected = turn % (12 // symmetry) == 0
        assert bool(success(state, goal, symmetry=symmetry)) == expected
        _, info = env.reset(options={"state": state, "goal": goal})
        assert info["success"] == expected
    env.close()


def test_a_symmetry_is_a_whole_number() -> None:
    with pytest.raises(GraspPlannerError, match="symmetry"):
        PushT(symmetry=0)


@settings(max_examples=60, deadline=None)
@given(angle=ANGLES, other=ANGLES, turns=st.integers(-3, 3))
def test_angles_wrap(angle: float, other: float, turns: int) -> None:
    one, two = FREE.copy(), FREE.copy()
    one[4], two[4] = angle, other
    apart = float(distances(one, two)["angle_deg"])
    assert 0 <= apart <= 180
    np.testing.assert_allclose(distances(two, one)["angle_deg"], apart, atol=1e-9)
    two[4] += 2 * np.pi * turns
    np.testing.assert_allclose(distances(one, two)["angle_deg"], apart, atol=1e-9)


def test_measures_take_any_leading_axes() -> None:
    rng = np.random.default_rng(1)
    goal = np.stack([PushT().sample_state(rng) for _ in range(6)]).reshape(2, 3, 7)
    state = goal + rng.normal(0, 8, goal.shape)
    measured = distances(state, goal)
    assert {name: value.shape for name, value in measured.items()} == dict.fromkeys(measured, (2, 3))
    np.testing.assert_allclose(measured["position_px"] ** 2, measured["pusher_px"] ** 2 + measured["block_px"] ** 2)
    singly = [[success(state[i, j], goal[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_array_equal(success(state, goal), singly)
    np.testing.assert_array_equal(PushT.proprio_of(state), state[..., [0, 1, 5, 6]])


def test_contact_marks_lie_on_the_line_of_contact() -> None:
    assert contact_marks(FREE).shape == (0, 2, 2)
    touching = np.array([220.0, 300.0, 249.0, 220.0, 0.0, 70.0, 0.0])  # 1 px into the stem, from 234 on
    ((start, end),) = contact_marks(touching)
    np.testing.assert_allclose([start[1], end[1]], 300.0)
    assert {round(start[0]), round(end[0])} == {235 - 2, 234 + 2}  # from each surface 2 px into the other body


def test_faults_say_what_was_needed() -> None:
    env = PushT()
    with pytest.raises(GraspPlannerError, match="reset"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    with pytest.raises(GraspPlannerError, match="two finite numbers"):
        env.step(np.zeros(10))
    with pytest.raises(GraspPlannerError, match="two finite numbers"):
        env.step(np.array([np.nan, 0.0]))
    with pytest.raises(GraspPlannerError, match="seven finite numbers"):
        env.set_state(np.zeros(5))
    with pytest.raises(GraspPlannerError, match="'state' and 'goal'"):
        env.reset(options={"goal_state": FREE})
    with pytest.raises(GraspPlannerError, match="pixels"):
        PushT(pixels=96)
    with pytest.raises(GraspPlannerError, match="render_mode"):
        PushT(render_mode="human")
