import ast
import json
import pickle
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Windows, cache, read

LENGTHS = (5, 9, 3)


def written_by_minari(folder, space, observe, rewards=lambda rng, t: np.zeros(t), **options):
    """Write a data set with Minari's own writer, as other authors publish data sets."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    storage = MinariStorage.new(folder / "data", space, spaces.Box(-1, 1, (2,)), **options)
    made = []
    for t in LENGTHS:
        buffer = EpisodeBuffer(
            observations=observe(rng, t + 1),
            actions=rng.uniform(-1, 1, (t, 2)).astype(np.float32),
            rewards=list(rewards(rng, t)),
            terminations=list(np.zeros(t, bool)),
            truncations=list(np.zeros(t, bool)),
        )
        made.append(buffer)
    storage.update_episodes(made)
    storage.update_metadata({"dataset_id": "other-v0", "minari_version": "0.5.0"})
    return made


def maze_space():
    box = spaces.Box(-np.inf, np.inf, (4,), np.float64)
    return spaces.Dict(observation=box, achieved_goal=spaces.Box(-9, 9, (2,)), desired_goal=spaces.Box(-9, 9, (2,)))


def maze(rng, rows):
    state = rng.normal(size=(rows, 4))
    return {"observation": state, "achieved_goal": state[:, :2], "desired_goal": rng.normal(size=(rows, 2))}


@pytest.mark.parametrize("cache", [True, False])
def test_a_set_like_minaris_pointmaze_is_read_as_it_is(tmp_path, cache):
    made = written_by_minari(tmp_path, maze_space(), maze)
    for _ in range(2):
        episodes = read(tmp_path, cache=cache)
        assert set(episodes.keys) == {"state", "achieved_goal", "desired_goal"}
        assert episodes.lengths.tolist() == list(LENGTHS)
        assert episodes.frameskip == 1
        for i, buffer in enumerate(made):
            np.testing.assert_array_equal(episodes.episode(i)["state"], buffer.observations["observation"])
            np.testing.assert_array_equal(episodes.episode(i)["actions"], buffer.actions)
    assert Windows(episodes, history=2, frameskip=2)[0]["state"].shape == (3, 4)
    assert (tmp_path / ".arrays").exists() == cache


def test_observations_of_one_array_are_the_state(tmp_path):
    made = written_by_minari(tmp_path, spaces.Box(-9, 9, (3,)), lambda rng, n: rng.normal(size=(n, 3)))
    episodes = read(tmp_path / "data")
    assert episodes.keys == ("state",)
    np.testing.assert_array_equal(episodes.episode(1)["state"], made[1].observations)


def test_keys_can_be_chosen_and_renamed(tmp_path):
    written_by_minari(tmp_path, maze_space(), maze)
    episodes = read(tmp_path, keys=["place", "state"], rename={"achieved_goal": "place"})
    assert episodes.keys == ("place", "state")
    assert read(tmp_path, rename={"achieved_goal": "state"}).array("state").shape[1] == 2
    with pytest.raises(GraspPlannerError, match="did you mean 'state'"):
        read(tmp_path, keys=["stat"])
    with pytest.raises(GraspPlannerError, match="did you mean 'achieved_goal'"):
        read(tmp_path, rename={"achieved_gaol": "state"})
    with pytest.raises(GraspPlannerError, match="same name"):
        read(tmp_path, rename={"achieved_goal": "desired_goal"})


@pytest.mark.parametrize("jpeg", [True, False])
def test_pictures_are_unpacked_only_where_asked_for(tmp_path, jpeg):
    space = spaces.Dict(
        state=spaces.Box(-9, 9, (2,)), camera=spaces.Dict(top=spaces.Box(0, 255, (32, 40, 3), np.uint8))
    )

    def observe(rng, rows):
        shade = rng.integers(0, 255, (rows, 1, 1, 3)).astype(np.uint8)
        return {"state": rng.normal(size=(rows, 2)), "camera": {"top": np.tile(shade, (1, 32, 40, 1))}}

    made = written_by_minari(tmp_path, space, observe, jpeg_encoding=jpeg)
    assert read(tmp_path, pictures=False).keys == ("state",)
    assert [path.name for path in (tmp_path / ".arrays").iterdir()] == ["vectors"]
    pictures = read(tmp_path).array("camera/top")
    expected = np.concatenate([buffer.observations["camera"]["top"] for buffer in made])
    assert pictures.shape == expected.shape
    assert pictures.dtype == np.uint8
    assert np.abs(pictures.astype(int) - expected).max() <= (3 if jpeg else 0)
    assert not pictures.flags.writeable
    np.testing.assert_array_equal(read(tmp_path, cache=False).array("camera/top"), pictures)


def test_unpacked_arrays_follow_the_data(tmp_path):
    written_by_minari(tmp_path / "set", maze_space(), maze)
    before = read(tmp_path / "set")
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "a") as file:
        file["episode_1/observations/observation"][0] = 7.0
    assert (read(tmp_path / "set").episode(1)["state"][0] == 7.0).all()
    assert not (before.episode(1)["state"][0] == 7.0).any()
    elsewhere = read(tmp_path / "set", cache=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "vectors").exists()
    assert elsewhere.steps == sum(LENGTHS)


def test_a_broken_unpacked_array_is_named(tmp_path):
    written_by_minari(tmp_path, maze_space(), maze)
    read(tmp_path)
    file = max((tmp_path / ".arrays" / "vectors").glob("*.npy"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:140])
    with pytest.raises(GraspPlannerError, match=f"{file.name}: not readable as numpy array"):
        read(tmp_path)


def edit_metadata(folder, **changes):
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def h5(folder):
    return h5py.File(folder / "data" / "main_data.hdf5", "a")


def replaced(file, name, data):
    del file[name]
    file[name] = data


def truncated(folder):
    path = folder / "data" / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:-4000])


def no_longer(folder):
    (folder / "data" / "main_data.hdf5").write_bytes(b"")


def with_file(change):
    def edit(folder):
        with h5(folder) as file:
            change(file)

    return edit


DAMAGES = {
    "truncated": (truncated, r"main_data.hdf5: not readable as HDF5: .*truncated"),
    "empty file": (no_longer, r"main_data.hdf5: not readable as HDF5: the file is empty"),
    "another format": (
        lambda f: (f / "data" / "main_data.hdf5").write_text("picture,action\n" * 50),
        r"main_data.hdf5: not readable as HDF5",
    ),
    "no main file": (lambda f: (f / "data" / "main_data.hdf5").unlink(), r"main_data.hdf5: .*missing"),
    "no metadata": (lambda f: (f / "data" / "metadata.json").unlink(), r"metadata.json: there is no such JSON"),
    "cut metadata": (
        lambda f: (f / "data" / "metadata.json").write_text('{"total_'),
        r"metadata.json: not readable as JSON",
    ),
    "other metadata": (
        lambda f: (f / "data" / "metadata.json").write_text('{"name": "mine"}'),
        r"metadata.json: not the metadata of a Minari data set: total_episodes, total_steps missing",
    ),
    "a list": (lambda f: (f / "data" / "metadata.json").write_text("[1]"), r"metadata.json: needed a JSON object"),
    "no episodes": (lambda f: edit_metadata(f, total_episodes=0), r"holds no episodes"),
    "an episode too few": (with_file(lambda h: h.__delitem__("episode_1")), r"holds 2 episodes, metadata.json says 3"),
    "episodes misnumbered": (with_file(lambda h: h.move("episode_1", "episode_7")), r"episode_1 is missing"),
    "steps miscounted": (lambda f: edit_metadata(f, total_steps=99), r"holds 17 steps, the metadata say 99"),
    "an observation too few": (
        with_file(lambda h: replaced(h, "episode_2/observations/observation", np.zeros((3, 4)))),
        r"'observation' of episode 2 has the shape \(3, 4\), needed 4 rows",
    ),
    "another width": (
        with_file(lambda h: replaced(h, "episode_2/observations/observation", np.zeros((4, 5)))),
        r"'observation' of episode 2 have the shape \(5,\), those of episode 0 \(4,\)",
    ),
    "a key less": (
        with_file(lambda h: h.__delitem__("episode_1/observations/achieved_goal")),
        r"episode 1 and episode 0 differ in the keys \['achieved_goal'\]",
    ),
    "not a number": (
        with_file(lambda h: h["episode_1/observations/observation"].__setitem__((4, 0), np.nan)),
        r"'observation' of episode 1 holds a value that is not finite, in row 4",
    ),
    "an empty episode": (
        with_file(lambda h: replaced(h, "episode_0/actions", np.zeros((0, 2)))),
        r"episode 0 is empty",
    ),
    "discrete actions": (
        with_file(lambda h: replaced(h, "episode_0/actions", np.zeros(5, int))),
        r"discrete actions are not supported",
    ),
    "a wrong frameskip": (
        lambda f: edit_metadata(f, grasp_planner={"frameskip": 5}),
        r"no multiple of the frameskip 5",
    ),
}


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_minari_set_gives_one_error_that_names_the_file(tmp_path, damage, cache):
    written_by_minari(tmp_path, maze_space(), maze)
    spoil, message = DAMAGES[damage]
    spoil(tmp_path)
    with pytest.raises(GraspPlannerError, match=message) as caught:
        read(tmp_path, cache=cache)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".arrays/*"))


def test_looking_for_a_data_set_leaves_the_home_folder_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(GraspPlannerError, match="no Minari data set of this name"):
        read("D4RL/pointmaze/umaze-v2")
    assert not list(tmp_path.iterdir())
    written_by_minari(
        _folder(tmp_path / ".minari" / "datasets" / "D4RL" / "pointmaze" / "umaze-v2"), maze_space(), maze
    )
    assert len(read("D4RL/pointmaze/umaze-v2")) == 3


def _folder(path):
    path.mkdir(parents=True)
    return path


def test_what_is_no_data_set_is_named(tmp_path):
    with pytest.raises(GraspPlannerError, match=r"nowhere: there is no such folder, and no Minari data set"):
        read(tmp_path / "nowhere")
    with pytest.raises(GraspPlannerError, match="the folder is empty"):
        read(tmp_path)
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(GraspPlannerError, match="the folder holds no data set"):
        read(tmp_path)
    with pytest.raises(GraspPlannerError, match=r"notes.txt: needed the folder of a data set, got a file"):
        read(tmp_path / "notes.txt")


def test_modules_can_be_imported_without_torch_or_optional_packages():
    import grasp_planner.data

    allowed = {"numpy", "grasp_planner", *sys.stdlib_module_names}
    files = list(Path(grasp_planner.data.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, file.name


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    from grasp_planner.io.pickles import read_plain_pickle

    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    (tmp_path / "seq_lengths.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(GraspPlannerError, match=r"seq_lengths.pkl: .*builtins.print, which is refused"):
        read_plain_pickle(tmp_path / "seq_lengths.pkl")
    for protocol in (2, 4, 5):
        (tmp_path / "fine.pkl").write_bytes(pickle.dumps([1, np.int64(2), np.arange(3), "T"], protocol))
        assert read_plain_pickle(tmp_path / "fine.pkl")[3] == "T"


def test_processes_that_unpack_the_same_arrays_wait_for_each_other(tmp_path):
    """Two processes of a training that replaced each other's arrays would each find that the data have changed."""
    place, source, builds = tmp_path / ".arrays" / "vectors", {"data.hdf5": [10, 20]}, []
    begun, go_on = threading.Event(), threading.Event()

    def build(writer):
        builds.append(writer.folder)
        begun.set()
        assert go_on.wait(30)
        writer.write("x", (3,), np.int64, [np.arange(3)])
        return {}

    threads = [threading.Thread(target=cache.store, args=(place, source, build), daemon=True) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    time.sleep(0.2)
    assert threads[1].is_alive() and len(builds) == 1
    go_on.set()
    for thread in threads:
        thread.join(30)
    arrays, _ = cache.stored(place, source)
    assert len(builds) == 1 and arrays["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("cache", [True, False])
def test_rewards_have_a_row_for_each_observation(tmp_path, cache):
    made = written_by_minari(tmp_path, maze_space(), maze, rewards=lambda rng, t: rng.normal(size=t))
    for _ in range(2):
        episodes = read(tmp_path, keys=["state", "reward"], cache=cache)
        assert episodes.keys == ("state", "reward")
        for i, buffer in enumerate(made):
            np.testing.assert_array_equal(episodes.episode(i)["reward"], [0.0, *buffer.rewards])
    assert "reward" not in read(tmp_path, cache=cache).keys
    windows = Windows(episodes, history=1, future=2, keys=("state", "reward"))
    np.testing.assert_array_equal(windows[0]["reward"][1:], made[0].rewards[:2])


def test_rewards_that_are_missing_or_not_finite_matter_only_to_those_who_read_them(tmp_path):
    written_by_minari(tmp_path / "nan", maze_space(), maze, rewards=lambda rng, t: np.full(t, np.nan))
    written_by_minari(tmp_path / "none", maze_space(), maze)
    with h5py.File(tmp_path / "none" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/rewards"]
    for name, words in (("nan", "rewards of episode 0 holds a value that is not finite"), ("none", "episode 1 has no")):
        assert len(read(tmp_path / name)) == len(LENGTHS)
        for kept in (True, False):
            with pytest.raises(GraspPlannerError, match=words):
                read(tmp_path / name, keys=["state", "reward"], cache=kept)


def test_an_observation_called_reward_is_not_replaced(tmp_path):
    box = spaces.Box(-9, 9, (2,))
    made = written_by_minari(
        tmp_path,
        spaces.Dict(state=box, reward=box),
        lambda rng, n: {"state": rng.normal(size=(n, 2)), "reward": rng.normal(size=(n, 2))},
    )
    np.testing.assert_array_equal(read(tmp_path).episode(0)["reward"], made[0].observations["reward"])
