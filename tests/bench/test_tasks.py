"""Tasks: episodes are reproducible, goals can be reached, success follows the worlds' rules. Also baselines."""

import dataclasses

import numpy as np
import pytest

from grasp_planner.bench.analysing.significance import Share
from grasp_planner.bench.running.policy_floors import FLOORS, floor
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import TASKS, Task, digest, episodes, task
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.domains import ENVIRONMENTS
from grasp_planner.domains.ball_nav.physics import PACE
from grasp_planner.domains.ball_nav.policy import BallNavPolicy
from grasp_planner.domains.push_t import task as push_t
from grasp_planner.domains.push_t.task import PUSH_T
from grasp_planner.domains.registry import POLICIES
from grasp_planner.domains.wall.task import WALL

# Digests of the first three test episodes. A changed digest makes every published number of the task invalid, so a
# change needs a new version of the world's tasks. Push-T's digests depend on its scripted policy and on pymunk,
# PointMaze's digests depend on MuJoCo, and the other digests depend only on numpy.
DIGESTS = {
    "wall/random_state/v1": "bdabe48a0bc1dfd8",
    "wall/dset/v1": "09fe7a9c0a45408b",
    "wall/random_action/v1": "df2b7b459da95795",
    "point_maze/random_state/v1": "853392568f13ede9",
    "point_maze/dset/v1": "58e1ee1b026dfa98",
    "point_maze/random_action/v1": "c7c73c7abaa835d0",
    "push_t/random_state/v1": "5ae0a409522b7afc",
    "push_t/dset/v1": "58f8607bc1523037",
    "push_t/dset/v2": "d80567cfd5d1801a",
    "push_t/random_action/v1": "b2291d781286e6a6",
    "ball_nav/random_state/v1": "3a112a60b270e09c",
    "ball_nav/dset/v1": "b1f6dd9459ce648e",
    "ball_nav/random_action/v1": "dbecdf4e15af03bd",
    "ball_nav_cup_100/random_state/v1": "a028d27209558236",
    "ball_nav_cup_300/random_state/v1": "9dba6daa10a49313",
    "ball_nav_cup_1000/random_state/v1": "7ec730ddd1cc0241",
    "ball_nav_hook_100/random_state/v1": "d3ea86101732094b",
    "ball_nav_hook_300/random_state/v1": "a37c66cd5e8034eb",
    "ball_nav_hook_1000/random_state/v1": "cb8b9de303f7919d",
    "ball_nav_slalom_100/random_state/v1": "b980b9a55f3355f1",
    "ball_nav_slalom_300/random_state/v1": "932e14853390c7b4",
    "ball_nav_slalom_1000/random_state/v1": "8f755b836c1c818d",
}
# The digest is of validation episodes: nobody looks at test episodes before results on them are published.
SPLITS = dict.fromkeys(DIGESTS, "test") | {"push_t/dset/v2": "validation"}
STRETCHES = [name for name, found in TASKS.items() if found.goal_source != "random_state"]


def same(one, other):
    assert (one.index, one.seed, one.dropped) == (other.index, other.seed, other.dropped)
    np.testing.assert_array_equal(one.start, other.start)
    np.testing.assert_array_equal(one.goal, other.goal)


def test_the_registry():
    assert set(DIGESTS) == set(TASKS)
    for name, found in TASKS.items():
        world, source, version = name.split("/")
        assert found.name == name and found.goal_source == source
        if found.variant is None:
            assert found.domain.name == world
        else:
            assert found.domain.variants[world.removeprefix(f"{found.domain.name}_")] is found.variant
        assert version in found.domain.versions_of(source)
        assert found.env in ENVIRONMENTS and POLICIES[found.domain.name] is found.domain.policy
        size = found.make().action_space.shape[0]
        assert len(found.domain.data.action_mean) == len(found.domain.data.action_std) == size
    assert task("wall/dset/v1") == TASKS["wall/dset/v1"]
    assert task("wall/dset/v1", 50) == dataclasses.replace(TASKS["wall/dset/v1"], horizon=50)
    with pytest.raises(GraspPlannerError, match="did you mean 'wall/dset/v1'"):
        task("wall/dsets/v1")
    with pytest.raises(GraspPlannerError, match="at least 1"):
        task("wall/dset/v1", 0)


@pytest.mark.parametrize("name", TASKS)
def test_episodes_are_pinned(name):
    listed = episodes(TASKS[name], SPLITS[name], count=3)
    assert digest(listed) == DIGESTS[name], [(e.start.tolist(), e.goal.tolist()) for e in listed]


@pytest.mark.parametrize(
    "name",
    ["wall/random_state/v1", "point_maze/dset/v1", "push_t/dset/v1", "wall/random_action/v1", "ball_nav/dset/v1"],
)
def test_an_episode_does_not_depend_on_its_list(name):
    short = task(name, 10)
    listed = episodes(short, count=3)
    for one, other in zip(listed, episodes(short, count=4)):
        same(one, other)
    others = episodes(short, "validation", count=3)
    assert len({e.seed for e in listed + others}) == 6
    assert digest(others) != digest(listed)
    for e in listed:
        np.testing.assert_array_equal(np.round(e.start, 6), e.start)


def test_longer_horizons_begin_where_shorter_ones_do():
    short, long = (episodes(task("wall/dset/v1", horizon), count=10) for horizon in (25, 50))
    pairs = [(a, b) for a, b in zip(short, long) if a.dropped == b.dropped == 0]
    assert len(pairs) >= 5
    for a, b in pairs:
        assert a.seed == b.seed
        np.testing.assert_array_equal(a.start, b.start)
        np.testing.assert_array_equal(a.actions, b.actions[:25])


@pytest.mark.parametrize("name", STRETCHES)
def test_the_actions_lead_to_the_goal(name):
    chosen = task(name, 20)
    env = chosen.make()
    for e in episodes(chosen, SPLITS[name], count=3):
        assert e.actions.shape == (20, 2)
        outcome = execute(chosen, e, e.actions, env)
        assert outcome.success_end and outcome.success_any
        np.testing.assert_allclose(outcome.states[-1], e.goal, atol=1e-5)
        again = execute(chosen, e, e.actions)
        np.testing.assert_array_equal(again.states, outcome.states)


def test_goals_from_states_are_the_environments_own():
    wall = TASKS["wall/random_state/v1"]
    env = wall.make()
    for e in episodes(wall, count=5):
        observation, info = env.reset(seed=e.seed)
        np.testing.assert_allclose(e.start, observation["state"], atol=1e-6)
        np.testing.assert_allclose(e.goal, info["goal"], atol=1e-6)
        assert e.actions is None and e.dropped == 0


@pytest.mark.parametrize("name", ["wall/dset/v1", "point_maze/dset/v1", "ball_nav/dset/v1"])
def test_solved_stretches_are_dropped(name):
    listed = episodes(task(name, 10), count=40)
    starts, goals = np.array([e.start for e in listed]), np.array([e.goal for e in listed])
    assert not TASKS[name].success(starts, goals).any()
    assert sum(e.dropped for e in listed) > 0  # some pairs must be dropped at this short horizon


def test_push_t_stretches_move_the_block():
    listed = episodes(task("push_t/dset/v1", 25), count=10)
    for e in listed:
        assert not push_t.success(e.start, e.goal, block_only=True)
        for state in (e.start, e.goal):
            assert (state[2:4] > 0).all() and (state[2:4] < 512).all()


def test_ball_nav_states_can_be_solved_in_time_but_not_by_the_straight_way():
    chosen = task("ball_nav/random_state/v1")
    for e in episodes(chosen, count=10):
        policy = BallNavPolicy(goal=e.goal)
        policy.reset(np.random.default_rng(0), e.start)
        env, actions = chosen.make(), []
        state = env.reset(options={"state": e.start, "goal": e.goal})[0]["state"]
        for _ in range(chosen.horizon):
            actions.append(policy.act(state))
            state = env.step(actions[-1])[0]["state"]
        assert execute(chosen, e, np.array(actions)).success_end
        straight = (e.goal - e.start) / (chosen.horizon * PACE)
        assert not execute(chosen, e, np.tile(straight, (chosen.horizon, 1))).success_any


def test_random_actions_have_the_datas_law():
    actions = np.concatenate([e.actions for e in episodes(task("wall/random_action/v1", 50), count=60)])
    np.testing.assert_allclose(actions.std(axis=0), WALL.data.action_std, rtol=0.05)
    np.testing.assert_allclose(actions.mean(axis=0), WALL.data.action_mean, atol=4 * 0.75 / np.sqrt(3000))


def test_success_at_the_end_and_at_any_time_are_apart():
    wall = task("wall/dset/v1")
    e = dataclasses.replace(episodes(wall, count=1)[0], start=np.array([20.0, 20.0]), goal=np.array([20.0, 30.0]))
    there = np.tile([0.0, 0.5], (10, 1))
    over = np.concatenate([there, there])
    outcome = execute(wall, e, there)
    assert outcome.success_end and outcome.success_any and outcome.success_step == 6  # 4 px are left
    outcome = execute(wall, e, over)
    assert not outcome.success_end and outcome.success_any and outcome.success_step == 6
    np.testing.assert_allclose(outcome.distances["position_px"], np.abs(np.arange(21) - 10.0))
    assert outcome.states.shape == (21, 2)
    outcome = execute(wall, e, -there)
    assert not outcome.success_end and not outcome.success_any and outcome.success_step is None
    # A start at the goal does not count as success of actions that leave the goal.
    outcome = execute(wall, dataclasses.replace(e, goal=e.start), np.full((1, 2), 4.0))
    assert not outcome.success_any


def test_noise_is_in_the_environment_and_not_in_the_episodes():
    calm, noisy = task("wall/dset/v1", 20), task("wall/dset/v1", 20, action_noise=0.5)
    assert noisy == dataclasses.replace(calm, action_noise=0.5) and calm.action_noise == 0
    first, second = episodes(calm, count=2)
    for one, other in zip((first, second), episodes(noisy, count=2)):
        same(one, other)
        np.testing.assert_array_equal(one.actions, other.actions)
    plain, pushed, again = (execute(one, first, first.actions) for one in (calm, noisy, noisy))
    np.testing.assert_array_equal(pushed.states, again.states)
    assert np.abs(pushed.states[1:] - plain.states[1:]).max() > 0.5
    other = execute(noisy, dataclasses.replace(first, seed=first.seed + 1), first.actions)
    assert np.abs(other.states[1:] - pushed.states[1:]).max() > 0.5
    with pytest.raises(GraspPlannerError, match="noise on actions must be a number >= 0, got -1"):
        task("wall/dset/v1", action_noise=-1)


def test_wrong_actions_are_refused():
    wall = task("wall/dset/v1")
    e = episodes(wall, count=1)[0]
    for wrong in (np.zeros(2), np.zeros((3, 10)), np.zeros((0, 2)), np.full((3, 2), np.nan)):
        with pytest.raises(GraspPlannerError, match=r"\(t, 2\)"):
            execute(wall, e, wrong)
    with pytest.raises(GraspPlannerError, match="unknown split"):
        episodes(wall, "train")
    with pytest.raises(GraspPlannerError, match="at least one"):
        episodes(wall, count=0)


def test_a_task_without_problems_says_so(monkeypatch):
    monkeypatch.setattr("grasp_planner.bench.tasks.MOST_DRAWS", 3)
    solved = dataclasses.replace(PUSH_T, already_solved=lambda start, goal: np.array(True))
    with pytest.raises(GraspPlannerError, match="push_t/dset/v1 at horizon 1 was already solved.*longer horizon"):
        episodes(Task("push_t/dset/v1", solved, "dset", 1), count=1)


def test_floors():
    wall = TASKS["wall/random_state/v1"]
    listed = episodes(wall, count=20)
    for policy in FLOORS:
        first, second = floor(wall, listed, policy), floor(wall, listed, policy)
        assert first == second
        assert first.end.trials == 20 and first.end.successes <= first.any.successes
    assert floor(wall, listed, "nothing").any == Share(0, 20)
    easy = [dataclasses.replace(e, goal=e.start) for e in listed]
    assert floor(wall, easy, "nothing").end == Share(20, 20)
    with pytest.raises(GraspPlannerError, match="unknown policy"):
        floor(wall, listed, "cem")
    with pytest.raises(GraspPlannerError, match="at least one episode"):
        floor(wall, [])


@pytest.mark.parametrize("successes", [0, 1, 7, 50])
def test_wilsons_interval_solves_its_equation(successes):
    """At both ends p of the interval, the observed share is z standard deviations of p away from p."""
    share = Share(successes, 50)
    for end in (share.low, share.high):
        assert abs(share.value - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / 50), abs=1e-6)
    assert 0 <= share.low <= share.value <= share.high <= 1
    with pytest.raises(GraspPlannerError, match="successes <= trials"):
        Share(51, 50)
