"""The benchmark of mixtures: probes at the contact, derivatives of the simulator, and a tiny run with its tables."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytest.importorskip("pymunk")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("contact_mixture", "contact_probes", "event_verifier")


@pytest.fixture(scope="module")
def modules():
    """Yield contact_mixture.py and contact_probes.py."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield tuple(importlib.import_module(name) for name in NAMES[:2])
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def mixture(modules) -> ModuleType:
    return modules[0]


@pytest.fixture
def contact(modules) -> ModuleType:
    return modules[1]


def test_probes_touch_the_block_where_the_depth_is_positive(contact):
    where = contact.probes(6, seed=1)
    found = contact.responses_of(where)
    moved = (found.ends - contact.pose_of(where.starts.double())).norm(dim=-1)
    depth = torch.tensor(contact.DEPTHS, dtype=torch.float64)[where.depth]
    assert (moved[depth <= -2] < 1e-9).all() and (found.jacobian[depth <= -5].abs() < 1e-9).all()
    assert (moved[depth >= 2] > 0.5).all() and (found.jacobian[depth >= 5].norm(dim=(1, 2)) > 0.1).all()
    deep = moved[depth == 20].mean()
    assert moved[depth == 2].mean() < moved[depth == 5].mean() < moved[depth == 10].mean() < deep
    assert deep < 3 * 20


def test_the_gradient_of_the_simulator_points_to_the_goal(contact):
    """A small step against the gradient brings the block nearer to the goal in the simulator."""
    where = contact.probes(4, seed=2)
    found = contact.responses_of(where)
    gradient = found.gradient(where.goals)
    at = torch.tensor(contact.DEPTHS)[where.depth] == 10
    step = (gradient / gradient.norm(dim=-1, keepdim=True).clamp(min=1e-9)).unflatten(1, (contact.STEPS, 2))
    for i in torch.nonzero(at)[:, 0].tolist():
        ends = [
            contact.simulated(where.starts[i].double().numpy(), (where.actions[i] - size * step[i]).numpy())
            for size in (0.0, 0.03)
        ]
        before, after = (contact.pose_of(torch.from_numpy(end)) - where.goals[i] for end in ends)
        assert after.norm() < before.norm()


def test_the_gradient_is_that_of_the_squared_distance(contact):
    ends, goals = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[0.0, 2, 3, 4]])
    jacobian = torch.arange(8.0).reshape(1, 4, 2)
    assert contact.Responses(ends, jacobian).gradient(goals).tolist() == [[0.0, 2.0]]


def test_contact_is_near_or_moving(mixture):
    far = torch.tensor([60.0, 60, 300, 300, 0, 0, 0]).expand(3, 7)
    near = far.clone()
    near[:, :2] = torch.tensor([300.0, 284.5])  # half a px from the outer edge of the bar
    moving = far.clone()
    moving[2, 2] += 1.0
    assert mixture.touched(torch.stack([far, near, moving])).tolist() == [False, True, True]


def test_entropy_is_a_share_of_equal_weights(mixture):
    assert mixture.entropy(torch.full((2, 3, 4), 0.25)) == pytest.approx(1)
    assert mixture.entropy(torch.eye(4)) == pytest.approx(0)
    assert mixture.entropy(torch.ones(5, 1)) == 0 and mixture.entropy(torch.ones(0, 3)) is None


def test_mixtures_have_at_most_the_size_of_the_single_network(mixture):
    found = mixture.recipes(mixture.Settings(), seed=3)
    sizes = {kind: mixture.parameters(how.model) for kind, how in found.items()}
    assert 0.98 * sizes["single"] < sizes["mixture"] == sizes["balanced"] <= sizes["single"]
    assert [how.model.experts for how in found.values()] == [1, 4, 4]
    assert [how.balance for how in found.values()] == [0, 0, 0.001]
    assert {(how.steps, how.seed, how.phases) for how in found.values()} == {(4000, 3, found["single"].phases)}


def test_a_tiny_run_writes_every_part_once(mixture, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    words = ["--tiny", "--out", str(tmp_path)]
    mixture.main(words)
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    kinds = ("single", "mixture", "balanced")
    assert rows[0]["part"] == "settings"
    parts = [(row["part"], row["kind"], row.get("planner")) for row in rows[1:]]
    measured = [("training", None), ("open_loop", None), ("derivatives", None)]
    measured += [("planning", "recommended"), ("planning", "GD")]
    assert parts == [(part, kind, planner) for kind in kinds for part, planner in measured]
    for row in rows:
        if row["part"] == "open_loop":
            assert sum(cell["windows"] for cell in row["cells"] if cell["model_steps"] == 1) == 2 * 20
            assert {cell["contact"] for cell in row["cells"]} == {True, False}
            weights = [sum(cell["weights"]) for cell in row["cells"] if cell["weights"] is not None]
            assert np.allclose(weights, 1, atol=1e-5)
    for title in ("Training", "Open-loop error, block_px", "Gate in windows", "Planning", "Derivatives at the contact"):
        assert f"\n{title}" in printed
    assert "nan" not in printed

    first = (tmp_path / "results.jsonl").read_text()
    (tmp_path / "results.jsonl").write_text("".join(line + "\n" for line in first.splitlines()[:-2]))
    mixture.main(words)
    again = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    seconds = "processor_seconds"
    assert [row | {seconds: 0} for row in again] == [row | {seconds: 0} for row in rows], (
        "it continues where it stopped"
    )
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("done: planning")] == [
        "done: planning, balanced, 0, recommended, 40",
        "done: planning, balanced, 0, GD, 40",
    ]
    with pytest.raises(SystemExit, match="results of other settings"):
        mixture.main([*words, "--steps", "5"])
