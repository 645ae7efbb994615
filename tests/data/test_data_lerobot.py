"""LeRobot data sets are read as LeRobot describes them, in one table per episode and in tables of several episodes."""

import json
import sys

import numpy as np
import pytest

from grasp_planner.core.errors import GraspPlannerError, MissingExtraError
from grasp_planner.data import Windows, info, lerobot_reading, read

pa = pytest.importorskip("pyarrow", reason="the extra `lerobot` is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

FRAMES = (6, 10, 4)  # of each episode
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [3], "names": ["x", "y", "angle"]},
    "observation.environment_state": {"dtype": "float64", "shape": [1], "names": None},
    "observation.images.top": {"dtype": "video", "shape": [96, 96, 3], "names": ["height", "width", "channel"]},
    "observation.grid": {"dtype": "float32", "shape": [2, 2], "names": None},
    "action": {"dtype": "float32", "shape": [2], "names": ["left", "right"]},
    "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "task": {"dtype": "string", "shape": [1], "names": None},
}


@pytest.fixture
def made():
    """The frames of each episode, as arrays."""
    rng = np.random.default_rng(0)
    return [
        {
            "observation.state": rng.normal(size=(count, 3)).astype(np.float32),
            "observation.environment_state": rng.normal(size=count),
            "observation.grid": rng.normal(size=(count, 2, 2)).astype(np.float32),
            "action": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
            "next.reward": rng.normal(size=count).astype(np.float32),
            "timestamp": (np.arange(count) / 10).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, index),
            "task": np.array(["push"] * count),
        }
        for index, count in enumerate(FRAMES)
    ]


def column(values, fixed):
    """Vectors are lists of a fixed length in tables of LeRobot, and lists of any length in tables of some others."""
    if values.ndim == 2:
        items = pa.array(values.reshape(-1))
        ends = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
        return (
            pa.FixedSizeListArray.from_arrays(items, values.shape[1])
            if fixed
            else pa.ListArray.from_arrays(ends, items)
        )
    return pa.array(values.tolist() if values.ndim > 2 else values)


def write_table(path, episodes, fixed=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    joined = {name: np.concatenate([one[name] for one in episodes]) for name in episodes[0]}
    table = pa.table({name: column(values, fixed) for name, values in joined.items()})
    parquet.write_table(table, path, row_group_size=7)


def write_info(root, version, **changes):
    (root / "meta").mkdir(parents=True, exist_ok=True)
    content = {
        "codebase_version": version,
        "robot_type": "so101",
        "fps": 10,
        "total_episodes": len(FRAMES),
        "total_frames": sum(FRAMES),
        "features": FEATURES,
    }
    (root / "meta" / "info.json").write_text(json.dumps({**content, **changes}))


def version_2(root, made):
    """One table for each episode."""
    write_info(root, "v2.1")
    for index, episode in enumerate(made):
        write_table(root / "data" / "chunk-000" / f"episode_{index:06d}.parquet", [episode], fixed=False)


def version_3(root, made):
    """Several episodes in a table; the second episode begins in the first table and ends in the second table."""
    begin = {name: values[:7] for name, values in made[1].items()}
    end = {name: values[7:] for name, values in made[1].items()}
    write_info(root, "v3.0")
    write_table(root / "data" / "chunk-000" / "file-999.parquet", [made[0], begin])
    write_table(root / "data" / "chunk-000" / "file-1000.parquet", [end, made[2]])  # sorted by number, not by letters


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("write", [version_2, version_3])
def test_frames_are_read_as_episodes(tmp_path, made, write, cache):
    write(tmp_path, made)
    for _ in range(2):
        episodes = read(tmp_path, cache=cache)
        assert set(episodes.keys) == {"state", "environment_state"}
        assert episodes.lengths.tolist() == [count - 1 for count in FRAMES] and episodes.frameskip == 1
        for i, frames in enumerate(made):
            found = episodes.episode(i)
            np.testing.assert_array_equal(found["state"], frames["observation.state"])
            np.testing.assert_array_equal(found["environment_state"][:, 0], frames["observation.environment_state"])
            np.testing.assert_array_equal(found["actions"], frames["action"][:-1])  # the last one has no next state
    assert Windows(episodes, history=1, future=2, keys=("state",))[0]["actions"].shape == (2, 2)
    assert (tmp_path / ".arrays").exists() == cache


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_rows_that_are_unpacked_at_once_change_nothing(tmp_path, made, monkeypatch, rows):
    version_3(tmp_path, made)
    expected = read(tmp_path, cache=False)
    monkeypatch.setattr(lerobot_reading, "ROWS", rows)
    found = read(tmp_path, cache=False)
    for key in ("state", "environment_state", "actions"):
        np.testing.assert_array_equal(found.array(key), expected.array(key))


def test_names_are_chosen_and_changed(tmp_path, made):
    version_3(tmp_path, made)
    episodes = read(tmp_path, keys=["state"], rename={"environment_state": "state", "state": "joints"})
    assert episodes.keys == ("state",) and episodes.array("state").shape == (sum(FRAMES), 1)
    with pytest.raises(GraspPlannerError, match="did you mean 'state'"):
        read(tmp_path, keys=["stat"])


@pytest.mark.parametrize("write", [version_2, version_3])
def test_rewards_are_those_of_the_actions(tmp_path, made, write):
    write(tmp_path, made)
    episodes = read(tmp_path, keys=["state", "reward"])
    for i, frames in enumerate(made):
        np.testing.assert_array_equal(episodes.episode(i)["reward"], [0.0, *frames["next.reward"][:-1]])
    write_info(tmp_path, "v3.0", features={name: FEATURES[name] for name in FEATURES if name != "next.reward"})
    with pytest.raises(GraspPlannerError, match="episode 0 has no rewards"):
        read(tmp_path, keys=["state", "reward"])


def test_the_summary_counts_episodes_and_steps(tmp_path, made):
    version_2(tmp_path, made)
    found = info(tmp_path)
    assert (found.episodes, found.steps, found.shortest, found.longest) == (3, 17, 3, 9)
    assert found.shapes == {"state": "float32 3", "environment_state": "float64 1", "actions": "float32 2"}


DAMAGES = {
    "another version": (lambda root, made: write_info(root, "v1.6"), r"info.json: needed .*v3.0, got .*'v1.6'"),
    "no version": (lambda root, made: write_info(root, None), r"info.json: needed .*got codebase_version None"),
    "no count": (lambda root, made: write_info(root, "v3.0", total_frames="20"), r"total_frames must be .*got '20'"),
    "no features": (lambda root, made: write_info(root, "v3.0", features=None), r"info.json: not readable as desc"),
    "no actions": (
        lambda root, made: write_info(root, "v3.0", features={"timestamp": FEATURES["timestamp"]}),
        r"info.json: needed the feature 'action', a vector of numbers, got timestamp",
    ),
    "cut description": (lambda root, made: (root / "meta" / "info.json").write_text("{"), r"not readable as JSON"),
    "no tables": (lambda root, made: [one.unlink() for one in root.glob("data/*/*")], r"needed tables of frames"),
    "a table is missing": (
        lambda root, made: (root / "data" / "chunk-000" / "episode_000001.parquet").unlink(),
        r"episode_000002.parquet: needed episode 1, got episode 2",
    ),
    "the last table is missing": (
        lambda root, made: (root / "data" / "chunk-000" / "episode_000002.parquet").unlink(),
        r"info.json: says 3 episodes and 20 frames, the tables hold 2 and 16",
    ),
    "frames out of order": (
        lambda root, made: write_table(
            root / "data" / "chunk-000" / "episode_000001.parquet",
            [{**made[1], "frame_index": made[1]["frame_index"][::-1]}],
        ),
        r"episode_000001.parquet: the frames of episode 1 are not numbered from 0 to 9",
    ),
    "a column is missing": (
        lambda root, made: write_table(
            root / "data" / "chunk-000" / "episode_000000.parquet",
            [{name: made[0][name] for name in made[0] if name != "observation.state"}],
        ),
        r"episode_000000.parquet: the columns \['observation.state'\] are missing",
    ),
    "not a table": (
        lambda root, made: (root / "data" / "chunk-000" / "episode_000001.parquet").write_text("rows"),
        r"episode_000001.parquet: not readable as Parquet",
    ),
    "a cut table": (
        lambda root, made: [
            one.write_bytes(one.read_bytes()[:-40]) for one in root.glob("data/*/episode_000001.parquet")
        ],
        r"episode_000001.parquet: not readable as Parquet",
    ),
    "vectors of other lengths": (
        lambda root, made: write_table(
            root / "data" / "chunk-000" / "episode_000001.parquet", [{**made[1], "action": made[1]["action"][:, :1]}]
        ),
        r"the actions of episode 1 have the shape \(1,\), those of episode 0 \(2,\)",
    ),
    "words": (
        lambda root, made: write_table(
            root / "data" / "chunk-000" / "episode_000001.parquet", [{**made[1], "action": made[1]["task"]}]
        ),
        r"not readable as Parquet: the column 'action' does not hold a number",
    ),
    "not a number": (
        lambda root, made: write_table(
            root / "data" / "chunk-000" / "episode_000001.parquet",
            [{**made[1], "observation.environment_state": np.r_[np.zeros(9), np.nan]}],
        ),
        r"'environment_state' of episode 1 holds a value that is not finite, in row 9",
    ),
}


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_data_set_gives_one_error_that_names_the_file(tmp_path, made, damage, cache):
    version_2(tmp_path, made)
    spoil, message = DAMAGES[damage]
    spoil(tmp_path, made)
    with pytest.raises(GraspPlannerError, match=message) as caught:
        read(tmp_path, cache=cache)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".arrays/*"))


def test_rows_of_different_lengths_are_refused(tmp_path, made):
    version_2(tmp_path, made)
    rows = {name: column(values, True) for name, values in made[0].items()}
    rows["action"] = pa.array([[0.5] * (1 + row % 2) for row in range(FRAMES[0])])
    parquet.write_table(pa.table(rows), tmp_path / "data" / "chunk-000" / "episode_000000.parquet")
    with pytest.raises(GraspPlannerError, match=r"episode_000000.parquet: not readable as Parquet"):
        read(tmp_path)


def test_a_small_file_cannot_fill_the_memory(tmp_path, made, monkeypatch):
    """Equal numbers need no room in a Parquet file, so that a small file can hold any number of them."""
    many = {name: np.zeros((20_000, *values.shape[1:]), values.dtype) for name, values in made[0].items()}
    many["frame_index"] = np.arange(20_000)
    version_2(tmp_path, made)
    write_table(tmp_path / "data" / "chunk-000" / "episode_000000.parquet", [many])
    monkeypatch.setattr(lerobot_reading, "MOST_UNPACKED", 10_000)
    monkeypatch.setattr(lerobot_reading, "MOST_RATIO", 0)
    with pytest.raises(GraspPlannerError, match=r"it asks for more than 10,000 bytes of numbers"):
        read(tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path, made, monkeypatch):
    version_2(tmp_path, made)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'grasp-planner\[lerobot\]'"):
        read(tmp_path)


def test_an_empty_folder_names_the_file_of_each_format(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(GraspPlannerError, match=r"metadata.json .*LeRobot's meta/info.json, or DINO-WM's states.pth"):
        read(tmp_path)
