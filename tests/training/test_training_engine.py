"""Several devices, through lightning-fabric."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_data import CART, cart

from grasp_planner import GraspPlannerError
from grasp_planner.core.errors import MissingExtraError
from grasp_planner.training import FabricEngine, SingleDevice, train


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"grasp-planner\[train\]"):
        FabricEngine()


@pytest.mark.filterwarnings("ignore")  # deprecations in other packages
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


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from training_data import CART, cart
from grasp_planner.training import FabricEngine, train
if __name__ == "__main__":
    engine = FabricEngine(2, "cpu")
    result = train(CART, cart(), sys.argv[1], engine=engine, progress=False)
    print(f"rank {{engine.rank}} of {{engine.processes}}: {{result.errors['state_1']['10']['mean']}}")
"""


@pytest.mark.slow
def test_two_processes_share_each_step(tmp_path):
    pytest.importorskip("lightning_fabric")
    script = tmp_path / "two.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank "))
    assert [line.split(":")[0] for line in lines] == ["rank 0 of 2", "rank 1 of 2"]
    assert lines[0].split(":")[1] == lines[1].split(":")[1], "the processes ended with different models"
    single = train(CART, cart(), tmp_path / "single", progress=False)
    both = torch.load(tmp_path / "out" / "training_state.pt", weights_only=True)
    alone = torch.load(single.folder / "training_state.pt", weights_only=True)
    assert any(not torch.equal(both["learner"][k], alone["learner"][k]) for k in both["learner"]), "rank 1 drew nothing"
