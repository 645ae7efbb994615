import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes, Windows, batches, split


def numbered(lengths, frameskip=1):
    """Return episodes in which every observation and every environment action is (episode, environment step)."""
    observations, actions = [], []
    for i, length in enumerate(lengths):
        steps = np.arange(length + 1) * frameskip
        observations.append({"state": np.stack([np.full(length + 1, i), steps], axis=1)})
        steps = np.arange(length * frameskip)
        rows = np.stack([np.full(length * frameskip, i), steps], axis=1)
        actions.append(rows.reshape(length, 2 * frameskip))
    return Episodes.of(observations, actions, frameskip=frameskip)


shapes = st.tuples(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(shapes)
def test_windows_are_all_those_inside_an_episode_in_time_order(shape):
    lengths, history, future, stride, data_skip = shape
    blocks, skip = history + future - 1, stride * data_skip
    expected = [(i, t) for i, n in enumerate(lengths) for t in range(n - blocks * stride + 1)]
    episodes = numbered(lengths, data_skip)
    if not expected:
        with pytest.raises(GraspPlannerError, match="no window fits"):
            Windows(episodes, history=history, future=future, frameskip=skip)
        return
    windows = Windows(episodes, history=history, future=future, frameskip=skip)
    assert len(windows) == len(expected)
    batch = windows[np.arange(len(windows))]
    assert batch["state"].shape == (len(expected), blocks + 1, 2)
    assert batch["actions"].shape == (len(expected), blocks, skip * 2)
    for (i, t), states, actions in zip(expected, batch["state"], batch["actions"]):
        assert (states[:, 0] == i).all()
        first = t * data_skip
        np.testing.assert_array_equal(states[:, 1], first + skip * np.arange(blocks + 1))
        steps = actions.reshape(-1, 2)
        assert (steps[:, 0] == i).all()
        np.testing.assert_array_equal(steps[:, 1], first + np.arange(blocks * skip))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=2, max_size=8), st.integers(0, 99))
def test_windows_of_selected_episodes_are_the_same_windows(lengths, seed):
    episodes = numbered(lengths)
    order = np.random.default_rng(seed).permutation(len(lengths))[: max(1, len(lengths) // 2)]
    windows = Windows(episodes.select(order), history=2)
    assert set(windows[np.arange(len(windows))]["state"][:, 0, 0]) == set(order)
    alone = [Windows(numbered(lengths).select([i]), history=2) for i in order]
    together = np.concatenate([one[np.arange(len(one))]["actions"] for one in alone])
    np.testing.assert_array_equal(windows[np.arange(len(windows))]["actions"], together)


def test_one_index_gives_one_window_and_negative_ones_count_from_the_end():
    windows = Windows(numbered([5, 3]), history=2)
    np.testing.assert_array_equal(windows[-1]["state"], windows[np.array([len(windows) - 1])]["state"][0])
    assert windows[0]["state"].shape == (3, 2)
    np.testing.assert_array_equal(windows[::3]["state"], windows[np.arange(0, len(windows), 3)]["state"])
    for outside in (len(windows), -len(windows) - 1):
        with pytest.raises(IndexError, match=f"window {outside} of"):
            windows[np.array([0, outside])]


def test_batches_go_through_every_window_once_in_seeded_order():
    windows = Windows(numbered([6, 4]))
    batch = [np.concatenate([b["state"][:, 0] for b in batches(windows, 3, seed=s)]) for s in (0, 0, 1)]
    np.testing.assert_array_equal(batch[0], batch[1])
    assert not np.array_equal(batch[0], batch[2])
    assert len(np.unique(batch[0], axis=0)) == len(windows) == 10
    assert [len(b["actions"]) for b in batches(windows, 4, seed=0, drop_last=True)] == [4, 4]
    with pytest.raises(GraspPlannerError, match="at least 1 window, got size=0"):
        next(batches(windows, 0, seed=0))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 9))
def test_split_shares_no_episode_and_loses_none(count, validation, seed):
    episodes = numbered([2] * count)
    train, held_out = split(episodes, validation, seed)
    parts = [set(Windows(part)[np.arange(len(Windows(part)))]["state"][:, 0, 0]) for part in (train, held_out)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(range(count))
    assert abs(len(held_out) - validation * count) <= 1
    again = split(episodes, validation, seed)
    np.testing.assert_array_equal(again[1].action_starts, held_out.action_starts)
    assert train.actions is episodes.actions


def test_impossible_requests_say_what_is_possible():
    episodes = numbered([4, 4], frameskip=5)
    with pytest.raises(GraspPlannerError, match="multiple of the data's 5"):
        Windows(episodes, frameskip=3)
    with pytest.raises(GraspPlannerError, match="history >= 1"):
        Windows(episodes, history=0)
    with pytest.raises(GraspPlannerError, match="'state'"):
        Windows(episodes, keys=("stat",))
    with pytest.raises(GraspPlannerError, match="between 0 and 1"):
        split(episodes, 1.0)
    with pytest.raises(GraspPlannerError, match="two episodes"):
        split(episodes.select([0]))
    with pytest.raises(GraspPlannerError, match="needs 4 rows of 'state', got 3"):
        Episodes.of([{"state": np.zeros((3, 1))}], [np.zeros((3, 1))])


def test_chunks_give_the_rows_of_selected_episodes_only():
    episodes = numbered([3, 2, 4, 1]).select([3, 0, 1])
    rows = np.concatenate(list(episodes.chunks("state", rows=2)))
    assert np.array_equal(episodes.array("state")[episodes.observation_rows], rows)
    np.testing.assert_array_equal(rows, np.concatenate([episodes.episode(i)["state"] for i in range(3)]))
    assert set(np.concatenate(list(episodes.chunks("actions")))[:, 0]) == {0, 1, 3}
