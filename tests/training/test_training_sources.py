"""Training on several data sets, joined into one."""

import dataclasses

import numpy as np
import pytest
from training_data import CART, cart, push_t_like

from grasp_planner import GraspPlannerError
from grasp_planner.training import train
from grasp_planner.training.sources import JOINED, data_sets, describe, joined


def test_joined_data_hold_every_episode_in_order():
    one, other = cart(4, seed=1).select([3, 0]), cart(3, steps=20, seed=2)
    both = joined(data_sets([one, other], ("state",)), ("state",))
    assert len(both) == 5 and both.steps == 2 * 30 + 3 * 20
    for index, (part, at) in enumerate([(one, 0), (one, 1), (other, 0), (other, 1), (other, 2)]):
        for key, array in part.episode(at).items():
            assert np.array_equal(both.episode(index)[key], array)
    assert [part["all_episodes"] for part in describe(both)[JOINED]] == [2, 3]


def test_a_list_of_one_is_that_one():
    data = cart(2)
    for given in ([data], data):
        (only,) = data_sets(given, ("state",))
        assert only is data and joined([only], ("state",)) is data


def test_data_that_do_not_go_together():
    with pytest.raises(GraspPlannerError, match="same frameskip and sizes"):
        joined([cart(2), push_t_like(2)], ("state",))
    with pytest.raises(GraspPlannerError, match="same frameskip and sizes"):
        joined([cart(2), dataclasses.replace(cart(2), frameskip=1, actions=np.zeros((60, 2)))], ("state",))
    with pytest.raises(GraspPlannerError, match="at least one data set"):
        data_sets([], ("state",))


def test_training_on_two_data_sets(tmp_path):
    result = train(CART, [cart(seed=1), cart(10, steps=12, seed=2)], tmp_path, progress=False)
    assert result.steps == CART.steps
