import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scripted_env
from scripted_env import DRIFT, ENDING, Failing, Walk

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import read
from grasp_planner.data.collecting import collect

HERE = Path(__file__).parent


def gather(out, episodes=7, steps=20, env=DRIFT, policy=Walk, **rest):
    return collect(env, episodes, out, steps=steps, policy=policy, progress=False, **{"workers": 1, **rest})


def same(one, other):
    a, b = read(one, cache=False), read(other, cache=False)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    np.testing.assert_array_equal(a.actions, b.actions)
    assert a.keys == b.keys
    for key in a.keys:
        np.testing.assert_array_equal(a.array(key), b.array(key))


def test_minari_opens_what_was_collected(tmp_path):
    import minari

    out = gather(tmp_path / "drift", pixels=64, every=5)
    data = minari.MinariDataset(out / "data")
    assert (data.total_episodes, data.total_steps, data.id) == (7, 28, "drift-v0")
    ours = read(out)
    for i, episode in enumerate(data.iterate_episodes()):
        mine = ours.episode(i)
        assert "total_steps=4" in repr(episode)
        np.testing.assert_array_equal(episode.actions, mine["actions"])
        for key in ("state", "proprio", "pixels"):
            np.testing.assert_array_equal(episode.observations[key], mine[key])
            assert data.observation_space[key].contains(episode.observations[key][0])
        assert data.action_space.contains(episode.actions[0])
        np.testing.assert_array_equal(episode.rewards, [5.0] * 4)
        assert episode.truncations.tolist() == [False] * 3 + [True]
        assert not episode.terminations.any()
    env = minari.MinariDataset(gather(tmp_path / "plain") / "data").recover_environment()
    assert isinstance(env.unwrapped, scripted_env.Drift)


def test_a_folder_may_be_named_relative_to_the_present_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gather("here", episodes=2)
    assert len(read("here", cache=False)) == 2


def test_minari_finds_it_by_name_in_its_root(tmp_path, monkeypatch):
    import minari

    gather(tmp_path / "walks" / "drift-v3")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "walks"))
    assert minari.load_dataset("drift-v3").total_episodes == 7
    assert list(minari.list_local_datasets()) == ["drift-v3"]
    assert len(read("drift-v3")) == 7


def test_blocks_hold_the_actions_between_two_observations(tmp_path):
    fine = read(gather(tmp_path / "fine", seed=3))
    coarse = read(gather(tmp_path / "coarse", seed=3, every=5, pixels=64))
    assert (coarse.frameskip, coarse.action_dim, coarse.steps) == (5, 2, 28)
    np.testing.assert_array_equal(coarse.actions.reshape(-1, 2), fine.actions)
    for i in range(7):
        one, other = coarse.episode(i), fine.episode(i)
        np.testing.assert_array_equal(one["state"], other["state"][::5])
        np.testing.assert_array_equal([scripted_env.decoded(p) for p in one["pixels"]], one["state"])


def test_data_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 40)
    same(gather(tmp_path / "one", workers=1), gather(tmp_path / "two", workers=2))


def test_episodes_depend_on_seed_and_index_only(tmp_path):
    few, many = read(gather(tmp_path / "few", episodes=2)), read(gather(tmp_path / "many", episodes=5))
    np.testing.assert_array_equal(few.actions, many.actions[:40])
    other = read(gather(tmp_path / "other", episodes=2, seed=1))
    assert not np.isin(other.array("state"), few.array("state")).any()
    assert len(np.unique(many.array("state"), axis=0)) == 105


def test_reset_with_the_kept_seed_gives_the_start_and_goal(tmp_path):
    import minari

    data = minari.MinariDataset(gather(tmp_path / "drift") / "data")
    env = scripted_env.Drift()
    for notes, episode in zip(data.storage.get_episode_metadata(range(7)), data):
        observation, info = env.reset(seed=notes["seed"])
        np.testing.assert_array_equal(observation["state"], episode.observations["state"][0])
        np.testing.assert_array_equal(info["goal"], notes["goal"])


def test_metadata_say_where_the_data_come_from(tmp_path):
    own = read(gather(tmp_path / "drift", every=4, seed=9)).metadata["grasp_planner"]
    assert (own["environment"], own["policy"], own["seed"], own["frameskip"]) == (DRIFT, "Walk", 9, 4)
    assert own["version"]
    assert own["state_names"] == ["x", "y"]
    assert np.shape(own["statistics"]["actions"]["mean"]) == (2,)
    assert own["statistics"]["state"]["count"] == 7 * 6


def test_an_episode_that_terminates_is_shorter(tmp_path):
    import minari

    out = gather(tmp_path / "ending", env=ENDING)
    assert read(out).lengths.tolist() == [7] * 7
    assert minari.MinariDataset(out / "data")[0].terminations.tolist() == [False] * 6 + [True]
    assert read(gather(tmp_path / "blocks", env=ENDING, every=5)).lengths.tolist() == [1] * 7
    with pytest.raises(GraspPlannerError, match="ended within its first 10 steps"):
        gather(tmp_path / "none", env=ENDING, every=10)


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import grasp_planner.data.shards as shards
shards.SHARD_STEPS = 20
from grasp_planner.data.collecting import collect
from scripted_env import DRIFT, Slow
if __name__ == "__main__":
    collect(DRIFT, 30, {out!r}, steps=20, policy=Slow, workers={workers}, progress=False)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_loses_and_doubles_nothing(tmp_path, monkeypatch, workers):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 20)
    out = tmp_path / "killed"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(HERE), out=str(out), workers=workers))
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("collecting/*.hdf5"))) < 3 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        children = _children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("collecting/*.hdf5")}
    assert 3 <= len(kept) < 30
    assert not (out / "data").exists()
    _await_end(children)
    with pytest.raises(GraspPlannerError, match="unfinished"):
        read(out)
    redone = []
    from grasp_planner.data import collecting

    real = collecting.collect_shard
    monkeypatch.setattr(collecting, "collect_shard", lambda *a: (redone.append(a[2].start), real(*a))[1])
    gather(out, episodes=30, policy=scripted_env.Slow)
    assert len(redone) <= 30 - len(kept)
    assert sorted(path.name for path in out.iterdir()) == ["data"]
    same(out, gather(tmp_path / "whole", episodes=30))


def _children(pid):
    """Return the child processes of `pid`: workers and the resource tracker."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def _await_end(pids):
    """Wait for the end of processes, and fail if they outlive their killed parent."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and _state(pid) not in "ZX"]
        if not alive:
            return
        time.sleep(0.02)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"processes {alive} outlived their parent")


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_a_damaged_shard_is_collected_again(tmp_path, monkeypatch):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 40)
    out = tmp_path / "damaged"
    with monkeypatch.context() as patch:
        patch.setattr("grasp_planner.data.collecting.assemble", _power_cut)
        with pytest.raises(RuntimeError, match="power"):
            gather(out)
    shards = sorted(out.glob("collecting/*.hdf5"))
    assert len(shards) == 4
    shards[1].write_bytes(shards[1].read_bytes()[:500])
    shards[2].write_bytes(b"")
    half_written = out / "collecting" / "data"
    half_written.mkdir()
    (half_written / "metadata.json").write_text("{")
    same(gather(out), gather(tmp_path / "whole"))


def _power_cut(*args):
    raise RuntimeError("power cut")


def test_a_kill_between_the_last_move_and_the_clean_up_is_harmless(tmp_path):
    out = gather(tmp_path / "drift")
    (out / "collecting").mkdir()
    (out / "collecting" / "recipe.json").write_text("{}")
    before = (out / "data" / "main_data.hdf5").stat().st_mtime_ns
    assert gather(out) == out
    assert not (out / "collecting").exists()
    assert (out / "data" / "main_data.hdf5").stat().st_mtime_ns == before


def test_folders_of_other_data_are_left_alone(tmp_path):
    out = gather(tmp_path / "drift")
    with pytest.raises(GraspPlannerError, match=r"drift: holds another data set already \(seed 0 there, 1 here"):
        gather(out, seed=1)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(GraspPlannerError, match="letters: needed a new or empty folder"):
        gather(tmp_path / "letters")
    metadata = out / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"version": "', '"version": "9'))
    assert gather(out) == out
    unfinished = tmp_path / "unfinished" / "collecting"
    unfinished.mkdir(parents=True)
    (unfinished / "recipe.json").write_text(json.dumps({"seed": 5}))
    with pytest.raises(GraspPlannerError, match="another unfinished collection"):
        gather(tmp_path / "unfinished")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 0}, "episodes >= 1"),
        ({"every": 3}, "every=3 divides, got steps=20"),
        ({"pixels": 65}, "pixels must be None or one of"),
        ({"seed": -1}, "seed >= 0"),
        ({"workers": -1}, "workers >= 1"),
        ({"policy": "push"}, "did you mean 'push_t'"),
        ({"policy": None}, "no published policy"),
        ({"steps": None}, "needed steps="),
        ({"env": "PushTea-v1"}, "did you mean 'PushT-v1'"),
        ({"env": "no_such_module:Env-v0"}, "no_such_module"),
        ({"env": "CartPole-v1"}, "dictionary with a 'state'"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(GraspPlannerError, match=message):
        gather(tmp_path / "drift", **change)
    assert not list(tmp_path.glob("drift/data"))


def test_a_failing_policy_is_reported_as_it_failed(tmp_path):
    with pytest.raises(ZeroDivisionError, match="the policy failed"):
        gather(tmp_path / "drift", policy=Failing)


def test_a_process_that_dies_is_reported_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 20)
    with pytest.raises(GraspPlannerError, match="process died.*run the same again"):
        gather(tmp_path / "drift", policy=scripted_env.Dying, workers=2)


def test_several_processes_need_a_policy_that_can_be_imported(tmp_path, monkeypatch):
    monkeypatch.setattr("grasp_planner.data.shards.SHARD_STEPS", 20)
    with pytest.raises(GraspPlannerError, match="can be imported"):
        gather(tmp_path / "drift", policy=lambda: Walk(), workers=2)


def test_progress_counts_environment_steps(tmp_path, capsys):
    collect(DRIFT, 4, tmp_path / "drift", steps=25, policy=Walk, workers=1, progress=True)
    assert "100/100" in capsys.readouterr().err
