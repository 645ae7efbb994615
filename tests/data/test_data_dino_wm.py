import pickle

import numpy as np
import pytest
import torch

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Windows, read
from video_files import shades, write_video

N, T = 3, 8
LENGTHS = [8, 5, 6]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.as_tensor(array), path)


@pytest.fixture
def push_t(tmp_path, rng):
    """Push-T's layout: padded tables, lengths in a pickle, videos."""
    root = tmp_path / "pusht" / "train"
    save(root / "states.pth", rng.uniform(50, 450, (N, T, 5)))
    save(root / "velocities.pth", rng.normal(size=(N, T, 2)))
    save(root / "rel_actions.pth", rng.normal(size=(N, T, 2)) * 20)
    save(root / "abs_actions.pth", rng.uniform(50, 450, (N, T, 2)))
    (root / "seq_lengths.pkl").write_bytes(pickle.dumps(LENGTHS))
    (root / "shapes.pkl").write_bytes(pickle.dumps(["T"] * N))
    for i in range(N):
        write_video(root / "obses" / f"episode_{i:03d}.mp4", shades(rng, LENGTHS[i]))
    return root


@pytest.fixture
def wall(tmp_path, rng):
    """Wall's layout: no lengths, places of wall and door, pictures as tensors with the channels first."""
    root = tmp_path / "wall_single"
    save(root / "states.pth", rng.uniform(5, 60, (N, T, 2)).astype(np.float32))
    save(root / "actions.pth", rng.normal(size=(N, T, 2)).astype(np.float32))
    save(root / "door_locations.pth", np.full((N, T, 2), 30.0, np.float32))
    save(root / "wall_locations.pth", np.full((N, T), 32.0, np.float32))
    for i in range(N):
        save(root / "obses" / f"episode_{i:03d}.pth", shades(rng, T).transpose(0, 3, 1, 2).astype(np.float32))
    return root


def test_push_t_is_read_with_velocities_and_actions_of_100_px(push_t):
    episodes = read(push_t)
    states, velocities = (torch.load(push_t / f"{name}.pth").numpy() for name in ("states", "velocities"))
    actions = torch.load(push_t / "rel_actions.pth").numpy()
    assert episodes.lengths.tolist() == [n - 1 for n in LENGTHS]
    assert set(episodes.keys) == {"state", "proprio", "pixels"}
    for i, n in enumerate(LENGTHS):
        one = episodes.episode(i)
        np.testing.assert_array_equal(one["state"], np.concatenate([states, velocities], -1)[i, :n])
        np.testing.assert_array_equal(one["proprio"], np.concatenate([states[..., :2], velocities], -1)[i, :n])
        np.testing.assert_allclose(one["actions"], actions[i, : n - 1] / 100, rtol=1e-12)
    assert episodes.metadata["shapes"] == ["T"] * N
    assert Windows(episodes, history=2, frameskip=2, keys=("proprio", "pixels"))[0]["pixels"].shape == (3, 32, 32, 3)


def test_videos_are_read_frame_by_frame(push_t):
    rng = np.random.default_rng(5)
    frames = shades(rng, LENGTHS[1])
    write_video(push_t / "obses" / "episode_001.mp4", frames)
    difference = read(push_t).episode(1)["pixels"].astype(int) - frames
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("cache", [True, False])
def test_wall_is_read_with_door_and_pictures_in_order(wall, cache):
    for _ in range(2):
        episodes = read(wall, cache=cache)
        assert episodes.lengths.tolist() == [T - 1] * N
        one = episodes.episode(2)
        np.testing.assert_array_equal(one["state"], torch.load(wall / "states.pth")[2].numpy())
        assert one["proprio"].shape == (T, 2)
        assert one["door_location"].shape == (T, 2)
        assert one["wall_location"].shape == (T,)
        pictures = torch.load(wall / "obses" / "episode_002.pth").numpy()
        np.testing.assert_array_equal(one["pixels"], pictures.transpose(0, 2, 3, 1).astype(np.uint8))


def test_point_maze_keeps_its_lengths_in_a_tensor(tmp_path, rng):
    save(tmp_path / "states.pth", rng.normal(size=(N, T, 4)))
    save(tmp_path / "actions.pth", rng.uniform(-1, 1, (N, T, 2)))
    save(tmp_path / "seq_lengths.pth", np.array(LENGTHS))
    for i in range(N):
        save(tmp_path / "obses" / f"episode_{i:03d}.pth", shades(rng, T))
    episodes = read(tmp_path)
    assert episodes.lengths.tolist() == [n - 1 for n in LENGTHS]
    assert episodes.array("pixels").shape == (sum(LENGTHS), 32, 32, 3)
    assert read(tmp_path, pictures=False).keys == ("state", "proprio")


DAMAGES = {
    "truncated states": (lambda r: cut(r / "states.pth"), r"states.pth: not readable as tensor"),
    "empty states": (lambda r: (r / "states.pth").write_bytes(b""), r"states.pth: .*the file is empty"),
    "text": (lambda r: (r / "rel_actions.pth").write_text("actions"), r"rel_actions.pth: not readable as tensor"),
    "no states": (lambda r: (r / "states.pth").unlink(), r"states.pth: there is no such tensor"),
    "not a tensor": (lambda r: torch.save({"a": 1}, r / "states.pth"), r"states.pth: needed a tensor, got a dict"),
    "flat states": (lambda r: save(r / "states.pth", np.zeros((N, T))), r"states.pth: needed states of shape"),
    "other steps": (
        lambda r: save(r / "rel_actions.pth", np.zeros((N, T - 1, 2))),
        r"rel_actions.pth: has the shape \(3, 7, 2\), needed \(3, 8\) episodes and steps",
    ),
    "no actions": (lambda r: (r / "rel_actions.pth").unlink(), r"actions.pth: there is no such tensor"),
    "cut lengths": (lambda r: cut(r / "seq_lengths.pkl"), r"seq_lengths.pkl: not readable as pickle"),
    "too few lengths": (lambda r: lengths(r, [8, 5]), r"seq_lengths.pkl: holds 2 lengths, states.pth 3 episodes"),
    "too long": (lambda r: lengths(r, [8, 5, 9]), r"seq_lengths.pkl: episode 2 has the length 9, needed 2 to 8"),
    "words": (lambda r: lengths(r, ["a", "b", "c"]), r"seq_lengths.pkl: not readable as list of lengths"),
    "cut video": (lambda r: cut(r / "obses" / "episode_001.mp4"), r"episode_001.mp4: not readable as video"),
    "short video": (
        lambda r: write_video(r / "obses" / "episode_001.mp4", shades(np.random.default_rng(0), 3)),
        r"episode_001.mp4: holds 3 pictures, the episode has 5 states",
    ),
    "no video": (
        lambda r: (r / "obses" / "episode_001.mp4").unlink(),
        r"obses: there is neither episode_001.pth nor episode_001.mp4",
    ),
    "other size": (
        lambda r: write_video(r / "obses" / "episode_001.mp4", shades(np.random.default_rng(0), 8, 64)),
        r"'pixels' of episode 1 is uint8 \(64, 64, 3\), needed uint8 \(32, 32, 3\)",
    ),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lengths(root, values):
    (root / "seq_lengths.pkl").write_bytes(pickle.dumps(values))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_file_gives_one_error_that_names_it(push_t, damage):
    spoil, message = DAMAGES[damage]
    spoil(push_t)
    with pytest.raises(GraspPlannerError, match=message) as caught:
        read(push_t)
    assert str(push_t) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_in_unit_range_are_refused_rather_than_guessed(wall):
    save(wall / "obses" / "episode_000.pth", np.random.default_rng(0).uniform(0, 1, (T, 3, 32, 32)))
    with pytest.raises(GraspPlannerError, match=r"episode_000.pth: needed pictures with values 0 to 255"):
        read(wall)


def test_a_folder_of_two_sets_asks_for_one(push_t):
    with pytest.raises(GraspPlannerError, match="several data sets, read one of them: train"):
        read(push_t.parent)
