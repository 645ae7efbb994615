"""Several devices, through lightning-fabric."""

import sys

import pytest
import torch
from toy_data import CART, cart

from grasp_planner import GraspPlannerError
from grasp_planner.errors import MissingExtraError
from grasp_planner.training import FabricEngine, SingleDevice, train


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"grasp-planner\[train\]"):
        FabricEngine()


@pytest.mark.filterwarnings("ignore")  # other people's deprecations
def test_one_device_through_fabric_trains_the_same_model(tmp_path):
    pytest.importorskip("lightning_fabric")
    plain = train(CART, cart(), tmp_path / "plain", engine=SingleDevice("cpu"), progress=False)
    fabric = train(CART, cart(), tmp_path / "fabric", engine=FabricEngine(1, "cpu"), progress=False)
    assert plain.errors == fabric.errors
    one, other = (torch.load(r.folder / "training_state.pt", weights_only=True) for r in (plain, fabric))
    assert all(torch.equal(one["average"][name], other["average"][name]) for name in one["average"])
    resumed = train(CART, cart(), tmp_path / "fabric", engine=FabricEngine(1, "cpu"), resume=True, progress=False)
    assert resumed.errors == plain.errors


def test_numbers_that_make_no_sense():
    pytest.importorskip("lightning_fabric")
    with pytest.raises(GraspPlannerError, match="devices >= 1"):
        FabricEngine(devices=0)
