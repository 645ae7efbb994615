"""The ablation of noise levels in a small form: it trains both models, plans with every arm, and can be resumed."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from grasp_planner import check_world_model
from grasp_planner.data import read

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = "--collected 40 --steps 3 --horizons 10 --episodes 2 --rollouts 14".split()


@pytest.fixture
def script() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("diffusion_levels")
    finally:
        sys.path.remove(str(BENCHMARKS))
        del sys.modules["diffusion_levels"], sys.modules["encoded_pictures"]
        torch.set_num_threads(threads)  # the script plans with one thread


@pytest.mark.parametrize("world", ["push_t", "wall-pixels"])
def test_every_arm_is_measured_once(
    script: ModuleType, world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*SMALL, "--world", world, "--out", str(tmp_path)]
    script.main(small)
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [row["arm"] for row in rows] == list(script.ARMS)
    assert len({row["digest"] for row in rows}) == 1 and all(len(row["success"]) == 2 for row in rows)
    assert all(0 < row["transitions"] <= 14 * 2 for row in rows), "14 rollouts of 2 model steps"
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(rows) and len({line.count("|") for line in table}) == 1

    written = (tmp_path / "records.jsonl").read_bytes()
    script.main(small)
    assert (tmp_path / "records.jsonl").read_bytes() == written, "nothing is measured twice"
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")] == table


def test_only_the_annealed_arm_plans_in_two_versions(script: ModuleType) -> None:
    world = script.WORLDS["push_t"]
    diffusion, deterministic = (script.StateModel(recipe.model) for recipe in (world.diffusion, world.deterministic))
    arms = {name: script.arm(name, diffusion, deterministic) for name in script.ARMS}
    assert {name: smoothing for name, (_, _, smoothing) in arms.items()} == {
        "annealed": 1.0,
        "fixed low": 0.0,
        "fixed high": 0.0,
        "deterministic": 0.0,
    }
    assert arms["annealed"][1] is arms["fixed low"][1] is diffusion and arms["fixed high"][1].amount == 1.0
    assert arms["deterministic"][:2] == (deterministic, deterministic) and deterministic.denoiser is None
    assert diffusion.low.shape == deterministic.low.shape and diffusion.scale.equal(deterministic.scale)


def test_a_model_on_latents_encodes_pictures_and_decodes_as_the_model_of_pictures(
    script: ModuleType, tmp_path: Path
) -> None:
    folder = script.collect("wall", 2, tmp_path, pixels=64, steps=10, workers=1, progress=False)
    pictures = script.load_world_model("wall-pixels")
    data = script.with_latents_as_states(folder, pictures)
    seen = {"pixels": torch.tensor(read(folder, keys=("pixels",)).array("pixels"))[:, None]}
    latents = pictures.encode(seen)
    assert torch.allclose(torch.tensor(data.array("state")), latents[:, 0].double(), atol=1e-5)
    model = script.OnLatents(pictures, script.StateModel(script.WORLDS["wall-pixels"].diffusion.model))
    assert torch.allclose(model.decode_state(model.encode(seen)), pictures.decode_state(latents), atol=1e-3)
    assert model.smoothed(1.0).amount == 1.0
    check_world_model(model, seen)
