import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_env import DRIFT, Walk

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes, read, split
from grasp_planner.data.collecting import collect
from grasp_planner.data.preview import contact_sheet, info
from grasp_planner.data.statistics import Statistic, compute, statistics


@pytest.fixture
def drift(tmp_path):
    return collect(DRIFT, 6, tmp_path / "drift", steps=20, policy=Walk, pixels=64, every=5, workers=1, progress=False)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.floats(-1e6, 1e6), st.integers(0, 9))
def test_joined_moments_are_those_of_all_rows(sizes, offset, seed):
    rng = np.random.default_rng(seed)
    chunks = [rng.normal(offset, 2.0, (size, 3)) for size in sizes]
    if not sum(sizes):
        with pytest.raises(GraspPlannerError, match="at least one row"):
            Statistic.of(chunks)
        return
    rows, found = np.concatenate(chunks), Statistic.of(chunks)
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(0), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(found.low, rows.min(0))
    np.testing.assert_array_equal(found.high, rows.max(0))
    assert found.count == len(rows)


def test_normalising_takes_blocks_and_is_undone(drift):
    episodes = read(drift)
    actions = compute(episodes)["actions"]
    assert actions.mean.shape == (2,)
    normal = actions.normalise(episodes.actions)
    assert normal.shape == episodes.actions.shape
    np.testing.assert_allclose(normal.reshape(-1, 2).std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(actions.restore(normal), episodes.actions, atol=1e-12)
    constant = Statistic.of([np.ones((4, 2))])
    np.testing.assert_array_equal(constant.normalise(np.ones((3, 2))), 0)
    with pytest.raises(GraspPlannerError, match="blocks of as many"):
        actions.normalise(np.zeros((4, 3)))


def test_statistics_of_a_part_are_of_that_part(drift):
    train, held_out = split(read(drift), 0.5)
    np.testing.assert_allclose(
        compute(train)["state"].mean, np.concatenate([train.episode(i)["state"] for i in range(3)]).mean(0)
    )
    assert not np.allclose(compute(train)["state"].mean, compute(held_out)["state"].mean)


def test_statistics_are_kept_and_follow_the_data(drift, monkeypatch):
    first = statistics(drift)
    assert set(first) == {"state", "proprio", "actions"}
    np.testing.assert_array_equal(first["actions"].mean, compute(read(drift))["actions"].mean)
    with monkeypatch.context() as patch:
        patch.setattr("grasp_planner.data.statistics.compute", lambda *args: pytest.fail("computed again"))
        again = statistics(drift)
    for key, one in first.items():
        np.testing.assert_array_equal(one.std, again[key].std)
    import h5py

    with h5py.File(drift / "data" / "main_data.hdf5", "a") as file:
        file["episode_0/actions"][...] = 9.0
    assert statistics(drift)["actions"].high.tolist() == [9.0, 9.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["statistics"]["state"].pop("std"),
        lambda content: content["statistics"]["state"].update(std=[-1.0, 1.0]),
        lambda content: content["statistics"]["state"].update(mean=[0.0]),
        lambda content: content["statistics"]["state"].update(mean=[float("nan"), 0.0]),
        lambda content: content["statistics"].pop("actions"),
        lambda content: content.update(statistics=[]),
    ],
)
def test_broken_statistics_are_named(drift, change):
    statistics(drift)
    file = drift / "statistics.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(GraspPlannerError, match=r"statistics.json: .*delete it"):
        statistics(drift)


def test_info_says_what_the_set_holds(drift):
    found = info(drift)
    assert (found.episodes, found.steps, found.frameskip, found.policy) == (6, 24, 5, "Walk")
    facts = dict(found.facts())
    assert facts["environment steps"] == "120 (5 per data step)"
    assert facts["'pixels'"] == "pictures, uint8"
    rows = {(key, name): rest for key, name, *rest in found.numbers()}
    assert ("state", "y") in rows
    assert rows["actions", "0"][2:] == [found.statistics["actions"].low[0], found.statistics["actions"].high[0]]


def test_contact_sheet_shows_pictures_of_the_data(drift, tmp_path):
    from PIL import Image

    out = contact_sheet(drift, tmp_path / "sheets" / "sheet.png", episodes=2, frames=3)
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (2 * (64 + 4 + 14) + 4, 4 + 3 * 68, 3)
    first = read(drift).episode(0)["pixels"]
    np.testing.assert_array_equal(sheet[18 : 18 + 64, 4 : 4 + 64], first[0])
    np.testing.assert_array_equal(sheet[18 : 18 + 64, 4 + 2 * 68 : 4 + 2 * 68 + 64], first[-1])


def test_contact_sheet_draws_states_where_there_are_no_pictures(tmp_path):
    from PIL import Image

    out = collect(DRIFT, 2, tmp_path / "drift", steps=9, policy=Walk, workers=1, progress=False)
    sheet = np.asarray(Image.open(contact_sheet(out, tmp_path / "sheet.png", frames=2, size=32)))
    assert sheet.shape == (2 * (32 + 4 + 14) + 4, 4 + 2 * 36, 3)
    assert (sheet[18 + 20 : 18 + 30, 4:36] == 200).all()
    with pytest.raises(GraspPlannerError, match="at least one episode"):
        contact_sheet(out, tmp_path / "sheet.png", frames=0)


def test_compute_refuses_unknown_keys():
    episodes = Episodes.of([{"state": np.zeros((2, 1))}], [np.zeros((1, 1))])
    with pytest.raises(GraspPlannerError, match="unknown observation"):
        compute(episodes, ["pixels"])
