"""LeRobot data sets are read as LeRobot describes them, in one table per episode and in tables of several episodes."""

import sys

import numpy as np
import pytest

from grasp_planner.core.errors import GraspPlannerError, MissingExtraError
from grasp_planner.data import Windows, info, lerobot_reading, read
from lerobot_files import FEATURES, FRAMES, column, frames, table_of, version_2, version_3, write_info, write_table
from video_files import shades, write_video

pytest.importorskip("pyarrow", reason="the extra `lerobot` is not installed")


@pytest.fixture
def made():
    """The frames of each episode."""
    return frames()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("write", [version_2, version_3])
def test_frames_are_read_as_episodes(tmp_path, made, write, cache):
    write(tmp_path)
    for _ in range(2):
        episodes = read(tmp_path, cache=cache)
        assert set(episodes.keys) == {"state", "environment_state"}
        assert episodes.lengths.tolist() == [count - 1 for count in FRAMES] and episodes.frameskip == 1
        for i, one in enumerate(made):
            found = episodes.episode(i)
            np.testing.assert_array_equal(found["state"], one["observation.state"])
            np.testing.assert_array_equal(found["environment_state"][:, 0], one["observation.environment_state"])
            np.testing.assert_array_equal(found["actions"], one["action"][:-1])  # the last one has no next state
    assert Windows(episodes, history=1, future=2, keys=("state",))[0]["actions"].shape == (2, 2)
    assert (tmp_path / ".arrays").exists() == cache


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_rows_that_are_unpacked_at_once_change_nothing(tmp_path, monkeypatch, rows):
    version_3(tmp_path)
    expected = read(tmp_path, cache=False)
    monkeypatch.setattr(lerobot_reading, "ROWS", rows)
    found = read(tmp_path, cache=False)
    for key in ("state", "environment_state", "actions"):
        np.testing.assert_array_equal(found.array(key), expected.array(key))


def test_names_are_chosen_and_changed(tmp_path):
    version_3(tmp_path)
    episodes = read(tmp_path, keys=["state"], rename={"environment_state": "state", "state": "joints"})
    assert episodes.keys == ("state",) and episodes.array("state").shape == (sum(FRAMES), 1)
    with pytest.raises(GraspPlannerError, match="did you mean 'state'"):
        read(tmp_path, keys=["stat"])


@pytest.mark.parametrize("write", [version_2, version_3])
def test_rewards_are_those_of_the_actions(tmp_path, made, write):
    write(tmp_path)
    episodes = read(tmp_path, keys=["state", "reward"])
    for i, one in enumerate(made):
        np.testing.assert_array_equal(episodes.episode(i)["reward"], [0.0, *one["next.reward"][:-1]])
    write_info(tmp_path, "v3.0", features={name: FEATURES[name] for name in FEATURES if name != "next.reward"})
    with pytest.raises(GraspPlannerError, match="episode 0 has no rewards"):
        read(tmp_path, keys=["state", "reward"])


NAME = "observation.images.top"


def videos_of_episodes(root, shown):
    version_2(root)
    for i, pictures in enumerate(shown):
        write_video(root / "videos" / "chunk-000" / NAME / f"episode_{i:06d}.mp4", pictures)


def videos_of_many_episodes(root, shown):
    """The second episode begins in the first file and ends in the second file."""
    version_3(root)
    joined = np.concatenate(shown)
    for file, part in {"file-999.mp4": joined[:9], "file-1000.mp4": joined[9:]}.items():
        write_video(root / "videos" / NAME / "chunk-000" / file, part)


@pytest.fixture
def shown():
    """The pictures of each episode."""
    rng = np.random.default_rng(1)
    return [shades(rng, count) for count in FRAMES]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("write", [videos_of_episodes, videos_of_many_episodes])
def test_videos_are_read_as_pictures(tmp_path, shown, write, cache):
    write(tmp_path, shown)
    for _ in range(2):
        episodes = read(tmp_path, rename={"images.top": "pixels"}, cache=cache)
        assert set(episodes.keys) == {"state", "environment_state", "pixels"}
        for i, wanted in enumerate(shown):
            found = episodes.episode(i)["pixels"]
            assert found.shape == wanted.shape and found.dtype == np.uint8
            assert np.abs(found.astype(int) - wanted).max() <= 4, "colours change slightly in a video"
    assert set(read(tmp_path, pictures=False).keys) == {"state", "environment_state"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shown: [shown[0], shown[1][:-1], shown[2]], "_000001.mp4: holds 9 frames, the episode has 10"),
        (lambda shown: [shown[0], shown[1], shown[1]], "_000002.mp4: holds 5 or more frames, the episode has 4"),
        (lambda shown: shown[:2], "needed a video for each of 3 episodes, found 2"),
    ],
)
def test_videos_of_episodes_have_a_picture_for_each_frame(tmp_path, shown, change, message):
    videos_of_episodes(tmp_path, change(shown))
    assert set(read(tmp_path, keys=["state"]).keys) == {"state"}, "a broken video does not matter if it is not read"
    with pytest.raises(GraspPlannerError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shown: [shown[0], shown[1], shown[2][:-1]], "file-1000.mp4: the videos end inside of episode 2"),
        (lambda shown: [*shown, shown[0]], "file-1000.mp4: the videos have more frames than the 20 of the tables"),
    ],
)
def test_videos_of_many_episodes_have_a_picture_for_each_frame(tmp_path, shown, change, message):
    videos_of_many_episodes(tmp_path, change(shown))
    with pytest.raises(GraspPlannerError, match=message):
        read(tmp_path)


def test_a_broken_video_is_named(tmp_path, shown):
    videos_of_episodes(tmp_path, shown)
    path = tmp_path / "videos" / "chunk-000" / NAME / "episode_000001.mp4"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(GraspPlannerError, match=r"episode_000001.mp4: not readable as video"):
        read(tmp_path)


def test_the_summary_counts_episodes_and_steps(tmp_path):
    version_2(tmp_path)
    found = info(tmp_path)
    assert (found.episodes, found.steps, found.shortest, found.longest) == (3, 17, 3, 9)
    assert found.shapes == {"state": "float32 3", "environment_state": "float64 1", "actions": "float32 2"}


def replaced(root, episode, **columns):
    """Write the table of an episode again, with other columns; ``None`` leaves a column out."""
    table = {**frames()[episode], **{name.replace("__", "."): values for name, values in columns.items()}}
    write_table(table_of(root, episode), [{name: values for name, values in table.items() if values is not None}])


def cut(root):
    table = table_of(root, 1)
    table.write_bytes(table.read_bytes()[:-40])


def uneven(root):
    import pyarrow
    from pyarrow import parquet

    rows = {name: column(values, fixed=True) for name, values in frames()[1].items()}
    rows["action"] = pyarrow.array([[0.5] * (1 + row % 2) for row in range(FRAMES[1])])
    parquet.write_table(pyarrow.table(rows), table_of(root, 1))


DAMAGES = {
    "another version": (lambda root: write_info(root, "v1.6"), r"info.json: needed .*v3.0, got .*'v1.6'"),
    "no version": (lambda root: write_info(root, None), r"info.json: needed .*got codebase_version None"),
    "no count": (lambda root: write_info(root, "v3.0", total_frames="20"), r"total_frames must be .*got '20'"),
    "no features": (lambda root: write_info(root, "v3.0", features=None), r"info.json: not readable as description"),
    "no actions": (
        lambda root: write_info(root, "v3.0", features={"timestamp": FEATURES["timestamp"]}),
        r"info.json: needed the feature 'action', a vector of numbers, got timestamp",
    ),
    "cut description": (lambda root: (root / "meta" / "info.json").write_text("{"), r"info.json: not readable as JSON"),
    "no tables": (lambda root: [table_of(root, i).unlink() for i in range(3)], r"needed tables of frames"),
    "a missing table": (lambda root: table_of(root, 1).unlink(), r"_000002.parquet: needed episode 1, got episode 2"),
    "no last table": (
        lambda root: table_of(root, 2).unlink(),
        r"info.json: says 3 episodes and 20 frames, the tables hold 2 and 16",
    ),
    "frames out of order": (
        lambda root: replaced(root, 1, frame_index=np.arange(FRAMES[1])[::-1]),
        r"_000001.parquet: the frames of episode 1 are not numbered from 0 to 9",
    ),
    "a missing column": (
        lambda root: replaced(root, 0, observation__state=None),
        r"_000000.parquet: the columns \['observation.state'\] are missing",
    ),
    "not a table": (lambda root: table_of(root, 1).write_text("rows"), r"_000001.parquet: not readable as Parquet"),
    "an empty file": (lambda root: table_of(root, 1).write_text(""), r"_000001.parquet: .*the file is empty"),
    "a cut table": (cut, r"_000001.parquet: not readable as Parquet"),
    "rows of other lengths": (uneven, r"_000001.parquet: not readable as Parquet"),
    "an episode of other lengths": (
        lambda root: replaced(root, 1, action=np.zeros((FRAMES[1], 1))),
        r"the actions of episode 1 have the shape \(1,\), those of episode 0 \(2,\)",
    ),
    "words": (
        lambda root: replaced(root, 1, action=np.array(["left"] * FRAMES[1])),
        r"not readable as Parquet: the column 'action' does not hold a number",
    ),
    "not a number": (
        lambda root: replaced(root, 1, observation__environment_state=np.r_[np.zeros(9), np.nan]),
        r"'environment_state' of episode 1 holds a value that is not finite, in row 9",
    ),
    "discrete actions": (
        lambda root: [replaced(root, i, action=np.zeros((FRAMES[i], 2), int)) for i in range(3)],
        r"discrete actions are not supported",
    ),
}


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_data_set_gives_one_error_that_names_the_file(tmp_path, damage, cache):
    version_2(tmp_path)
    spoil, message = DAMAGES[damage]
    spoil(tmp_path)
    with pytest.raises(GraspPlannerError, match=message) as caught:
        read(tmp_path, cache=cache)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".arrays/*"))


def test_a_small_file_cannot_fill_the_memory(tmp_path, made, monkeypatch):
    """Equal numbers need no room in a Parquet file, so a small file can hold any number of them."""
    version_2(tmp_path)
    many = {name: np.zeros((20_000, *values.shape[1:]), values.dtype) for name, values in made[0].items()}
    write_table(table_of(tmp_path, 0), [{**many, "frame_index": np.arange(20_000)}])
    monkeypatch.setattr(lerobot_reading, "MOST_UNPACKED", 10_000)
    monkeypatch.setattr(lerobot_reading, "MOST_RATIO", 0)
    with pytest.raises(GraspPlannerError, match=r"it asks for more than 10,000 bytes of numbers"):
        read(tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    version_2(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'grasp-planner\[lerobot\]'"):
        read(tmp_path)


def test_an_error_about_an_unknown_folder_names_the_file_of_each_format(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(GraspPlannerError, match=r"metadata.json .*LeRobot's meta/info.json, or DINO-WM's states.pth"):
        read(tmp_path)
