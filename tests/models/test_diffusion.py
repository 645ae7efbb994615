"""Diffusion models: both modes of a distribution, the mean at the highest noise level, and smoother versions."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from grasp_planner import CEM, GD, Budget, GoalDistance, GraspPlannerError, Problem, Sequential, plan
from grasp_planner.data import Episodes
from grasp_planner.models import (
    DiffusionVersion,
    Smoothable,
    StateModel,
    StateModelConfig,
    check_world_model,
    load_world_model,
)
from grasp_planner.models.denoiser import LEVELS, Denoiser
from grasp_planner.training import Phase, Recipe, train

STEP, MEAN = 0.4, 0.6
CONFIG = StateModelConfig(
    state_size=2, action_size=1, features="plain_diffusion", frameskip=1, substeps=1, width=64, octaves=0
)
RECIPE = Recipe(CONFIG, steps=2500, phases=(Phase(1.0, 1, 512),), lr=3e-3, average=0.99, validation=0.1, horizons=(1,))


def episodes() -> Episodes:
    """Return episodes of a state (x, m): x has steps in the action, and m is 1 or -1 at random.

    x' = x / 2 + a + 0.4 sign(sin(2 pi a)), and m' is 1 with probability 0.8 if a > 0, with probability 0.2 if not.
    """
    rng = np.random.default_rng(0)
    observations, actions = [], []
    for _ in range(60):
        x, path, moves = 0.0, [(0.0, 1.0)], rng.uniform(-2, 2, (100, 1))
        for move in moves[:, 0]:
            x = 0.5 * x + move + STEP * np.sign(np.sin(2 * np.pi * move))
            path.append((x, 1.0 if rng.random() < (0.8 if move > 0 else 0.2) else -1.0))
        observations.append({"state": np.array(path)})
        actions.append(moves)
    return Episodes.of(observations, actions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(RECIPE, episodes(), tmp_path_factory.mktemp("diffusion"), progress=False).folder


@pytest.fixture(scope="module")
def model(folder: Path) -> StateModel:
    found = load_world_model(folder)
    assert isinstance(found, StateModel)
    return found


def after(model: StateModel, version: object, moves: Tensor) -> Tensor:
    """Return the states (n, 2) that follow the state (0, 1) under actions (n,), in the environment's units."""
    start = model.encode({"state": torch.tensor([[[0.0, 1.0]]])}).expand(len(moves), -1, -1)
    with torch.no_grad():
        return model.decode_state(version(start, model.model_actions(moves[:, None, None])[:, None]))  # type: ignore[operator]


def test_noise_chooses_one_of_the_modes_with_their_probabilities(model: StateModel) -> None:
    samples = torch.stack([after(model, model.seeded(seed), torch.tensor([1.2, -1.2]))[:, 1] for seed in range(80)])
    up = (samples > 0).double().mean(0)
    assert 0.6 < float(up[0]) < 0.97 and 0.03 < float(up[1]) < 0.4
    assert ((samples.abs() - 1).abs() < 0.4).double().mean() > 0.8, "samples are near 1 and -1, not between"


def test_the_smoothest_version_predicts_the_conditional_mean(model: StateModel) -> None:
    moves = torch.tensor([-1.6, -1.2, 1.2, 1.6])
    mean = after(model, model.smoothed(1.0), moves)[:, 1]
    assert torch.allclose(mean, MEAN * moves.sign(), atol=0.2), mean
    assert (mean[1] - mean[0]).abs() < 0.2


def test_the_smoothest_version_does_not_depend_on_the_noise(model: StateModel) -> None:
    moves = torch.linspace(-2, 2, 9)
    first, second = (after(model, model.seeded(seed).smoothed(1.0), moves) for seed in (1, 2))
    assert torch.equal(first, second)
    rough = [after(model, model.seeded(seed), moves) for seed in (1, 2)]
    assert not torch.allclose(*rough, atol=1e-2)


def minima(cost: Tensor) -> int:
    """Count the local minima of a curve, without its ends."""
    return int(((cost[1:-1] < cost[:-2]) & (cost[1:-1] < cost[2:])).sum())


def test_the_smoothest_version_has_fewer_local_minima(model: StateModel) -> None:
    moves = torch.linspace(-2, 2, 201)
    rough, smooth = ((after(model, model.smoothed(amount), moves)[:, 0] - 1.6).square() for amount in (0.0, 1.0))
    assert minima(rough) >= 3
    assert minima(smooth) == 1


def problem(model: StateModel, version: object | None = None) -> Problem:
    """Return problems of one step from x = 0 to seven goals; m does not count."""
    start = model.encode({"state": torch.tensor([[[0.0, 1.0]]])}).expand(7, -1, -1)
    goal = model.encode({"state": torch.stack([torch.linspace(-1.8, 1.8, 7), torch.ones(7)], -1)[:, None]})
    objective = GoalDistance(weights=(1.0, 0.0))
    dynamics = model if version is None else version
    return Problem.observed(model, start, goal[:, 0], 1, objective=objective, dynamics=dynamics)  # type: ignore[arg-type]


def test_annealing_finds_what_descent_in_the_model_itself_does_not(model: StateModel) -> None:
    whole = problem(model)
    plain = plan(whole, GD(lr=0.05), Budget(steps=100))
    annealed = plan(whole, Sequential(GD(lr=0.05), GD(lr=0.05), share=0.5, smoothing=1.0), Budget(steps=100))
    assert annealed.cost.sum() < 0.5 * plain.cost.sum()
    rolled_out = whole.cost(whole.rollout(annealed.actions), annealed.actions)
    assert torch.allclose(annealed.cost, rolled_out, atol=1e-5), "a cost of the model itself"


@pytest.mark.parametrize("planner", [CEM(samples=16, elites=4), Sequential(GD(), GD(), share=0.5, smoothing=1.0)])
def test_a_plan_is_a_function_of_the_seeds(model: StateModel, planner: CEM | Sequential) -> None:
    def planned(seed: int) -> Tensor:
        return plan(problem(model, model.seeded(seed)), planner, Budget(steps=5), seeds=3).actions

    assert torch.equal(planned(1), planned(1))
    assert not torch.equal(planned(1), planned(2))


def test_saved_and_loaded_every_version_is_the_same(model: StateModel, tmp_path: Path) -> None:
    again = load_world_model(model.save_pretrained(tmp_path / "again"))
    assert isinstance(again, StateModel) and check_world_model(again).ok
    moves = torch.linspace(-2, 2, 5)
    for amount in (0.0, 0.5, 1.0):
        first, second = (one.seeded(5).smoothed(amount) for one in (model, again))
        assert torch.equal(after(model, first, moves), after(again, second, moves))
    assert isinstance(again, Smoothable) and isinstance(again.seeded(0), Smoothable)


def test_versions_need_a_diffusion_model_and_an_amount_from_0_to_1() -> None:
    plain = StateModel(StateModelConfig(state_size=2, action_size=1))
    assert plain.smoothed(1.0) is plain and plain.denoiser is None
    with pytest.raises(GraspPlannerError, match="seeded needs a diffusion model, got features 'plain'"):
        plain.seeded(1)
    with pytest.raises(GraspPlannerError, match=r"DiffusionVersion\.model must be a diffusion model"):
        DiffusionVersion(plain)
    for amount in (-0.1, 1.1, float("nan")):
        with pytest.raises(GraspPlannerError, match=r"DiffusionVersion\.amount must be a number"):
            StateModel(CONFIG).smoothed(amount)
    for noise in (torch.zeros(1), torch.zeros(1, 2), 0.5):
        with pytest.raises(GraspPlannerError, match=r"DiffusionVersion\.noise must be a tensor \(2,\), got "):
            DiffusionVersion(StateModel(CONFIG), noise=noise)  # type: ignore[arg-type]
    with pytest.raises(GraspPlannerError, match="'push_t_diffusion' need state_size 7"):
        StateModel(StateModelConfig(state_size=6, action_size=2, features="push_t_diffusion", substeps=1))


def test_a_smoother_version_evaluates_the_network_less_often() -> None:
    denoiser, calls = Denoiser(3, 2, 8, 2), []
    denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    for last in range(LEVELS):
        calls.clear()
        assert denoiser(torch.zeros(5, 3), last / (LEVELS - 1), torch.ones(2)).shape == (5, 2)
        assert len(calls) == LEVELS - last


def test_the_best_linear_prediction_of_normal_outputs_has_the_loss_1() -> None:
    denoiser = Denoiser(3, 2, 8, 2)
    with torch.no_grad():
        denoiser.network.last.weight.zero_()
        generator = torch.Generator().manual_seed(0)
        loss = denoiser.loss(torch.zeros(40_000, 3), torch.randn(40_000, 2, generator=generator), generator)
        assert float(loss) == pytest.approx(1.0, abs=0.03)
        twice = [denoiser.loss(torch.ones(8, 3), torch.ones(8, 2), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*twice), "the generator decides"


@pytest.mark.parametrize("features", ["plain_diffusion", "push_t_diffusion"])
def test_the_outputs_of_an_example_lead_to_its_next_latent(features: str) -> None:
    model = StateModel(StateModelConfig(7, 2, features=features, frameskip=3, substeps=1, width=8)).double()
    generator = torch.Generator().manual_seed(0)
    draw = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    low, width = torch.tensor([50.0, 50, 150, 150, 0, -90, -90]), torch.tensor([400.0, 400, 200, 200, 6.28, 180, 180])
    states, actions = low + width * draw(20, 2, 7), draw(20, 6) - 0.5
    model.dynamics.fit(states, actions)
    before, then = model.encode({"state": states}).unbind(1)
    dynamics = model.dynamics
    inputs, outputs = dynamics.example(before, actions, then)  # type: ignore[union-attr]
    found = dynamics.path(before, actions[:, None], lambda _: outputs)[:, 0]
    moved = slice(2, 6) if features == "push_t_diffusion" else slice(None)  # the pusher is linear
    torch.testing.assert_close(found[:, moved], then[:, moved])
    assert model.denoiser is not None and model.denoiser(inputs).shape == outputs.shape
