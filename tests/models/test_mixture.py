"""Mixtures of experts in the state-based model: the gate, one expert, regimes, rows, precision, files."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grasp_planner import GraspPlannerError
from grasp_planner.data import Episodes
from grasp_planner.models import StateModel, StateModelConfig, check_world_model, load_world_model
from grasp_planner.models.mixture import Mixture
from grasp_planner.models.mlp import MLP
from grasp_planner.models.state.push_t import PushTDynamics
from grasp_planner.training import Phase, Recipe, train

PLAIN = StateModelConfig(state_size=3, action_size=2, frameskip=4, substeps=4, width=16, depth=3, experts=3)
PUSH_T = StateModelConfig(state_size=7, action_size=2, features="push_t", width=16, depth=3, experts=3)
every_config = pytest.mark.parametrize("config", [PLAIN, PUSH_T], ids=["plain", "push_t"])


def build(config: StateModelConfig) -> StateModel:
    """Return a model whose gate and experts have weights of the size of trained weights."""
    torch.manual_seed(0)
    model = StateModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if isinstance(model.dynamics, PushTDynamics):
        model.dynamics.pusher.copy_(0.1 * torch.randn(7, 4))
    return model


def inputs(model: StateModel, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(rows, 1, model.config.state_size, generator=generator)
    if model.config.features == "push_t":
        states = 250 + 60 * states
    return model.encode({"state": states})[:, 0], torch.randn(rows, len(model.low), generator=generator).to(model.low)


def size(config: StateModelConfig) -> int:
    return sum(parameter.numel() for parameter in StateModel(config).parameters())


@every_config
class TestEveryMixture:
    def test_the_weights_of_the_experts_sum_to_one_and_depend_on_state_and_action(self, config):
        model = build(config)
        states, actions = inputs(model, 50)
        _, gates = model.path_and_gates(states, actions)
        assert gates.shape == (50, config.substeps, 3)
        assert bool((gates > 0).all()) and torch.allclose(gates.sum(-1), torch.ones(50, config.substeps), atol=1e-6)
        assert bool((gates.std(0) > 1e-3).all()), "the gate reads the state"
        _, others = model.path_and_gates(states, actions + 1.0)
        assert not torch.allclose(gates[:, 0], others[:, 0], atol=1e-3), "the gate reads the action"

    def test_equal_experts_are_the_single_network(self, config):
        """With equal experts, the gate has no effect: the mixture is the model with one network."""
        single, mixture = build(dataclasses.replace(config, experts=1)), build(config)
        assert not any(".gate." in name for name in single.state_dict())
        weights = mixture.state_dict()
        for name, tensor in single.state_dict().items():
            if ".network." in name:
                name = name.replace(".network.", ".network.experts.")
                tensor = (tensor.mT if tensor.ndim == 2 else tensor[None]).expand_as(weights[name])
            weights[name] = tensor
        mixture.load_state_dict(weights)
        states, actions = inputs(single, 20)
        path, gates = single.path_and_gates(states, actions)
        assert torch.allclose(mixture.path(states, actions), path, rtol=1e-4, atol=1e-5)
        assert gates.shape == (20, config.substeps, 1) and bool((gates == 1).all())

    def test_rows_do_not_depend_on_each_other(self, config):
        model = build(config).double()
        states, actions = inputs(model, 9)
        whole = model(states[:, None], actions[:, None])
        for rows in ([4], [7, 0, 3]):
            assert torch.allclose(model(states[rows, None], actions[rows, None]), whole[rows], rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_predictions_and_weights_keep_the_precision(self, config, dtype):
        model = build(config).to(dtype)
        path, gates = model.path_and_gates(*inputs(model, 4))
        assert path.dtype == gates.dtype == dtype
        report = check_world_model(model)
        assert report.ok, str(report)

    def test_the_number_of_operations_does_not_grow_with_the_experts(self, config):
        """The experts are evaluated together, not one after another."""

        class Operations(TorchDispatchMode):
            count = 0

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                self.count += 1
                return func(*args, **(kwargs or {}))

        counts = []
        for experts in (2, 8):
            model = build(dataclasses.replace(config, experts=experts))
            states, actions = inputs(model, 5)
            with torch.no_grad(), Operations() as operations:
                model.path(states, actions)
            counts.append(operations.count)
        assert counts[0] == counts[1] > 0

    def test_saved_and_loaded_it_is_the_same(self, config, tmp_path):
        model = build(config)
        folder = model.save_pretrained(tmp_path / "mixture")
        loaded = load_world_model(folder)
        assert isinstance(loaded, StateModel) and loaded.config == config
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name]), name
        states, actions = inputs(model, 6)
        assert torch.equal(model.path(states, actions), loaded.path(states, actions))
        content = json.loads((folder / "config.json").read_text())
        for experts, problem in ((2, "weight must be"), (1, "tensors are missing"), (10**30, "at most 64")):
            (folder / "config.json").write_text(json.dumps(content | {"experts": experts}))
            with pytest.raises(GraspPlannerError, match=problem):
                load_world_model(folder)


def test_a_checkpoint_without_the_field_holds_one_network(tmp_path):
    model = build(dataclasses.replace(PLAIN, experts=1))
    folder = model.save_pretrained(tmp_path / "single")
    content = json.loads((folder / "config.json").read_text())
    del content["experts"]
    (folder / "config.json").write_text(json.dumps(content))
    loaded = load_world_model(folder)
    assert isinstance(loaded, StateModel) and loaded.config == model.config


def test_under_vmap_as_in_a_batch():
    model = build(PLAIN).double()
    states, actions = inputs(model, 7)
    rows = torch.func.vmap(lambda state, action: model.path(state[None], action[None])[0])(states, actions)
    assert torch.allclose(rows, model.path(states, actions), rtol=1e-10, atol=1e-12)


def test_the_mixture_is_the_weighted_sum_of_what_the_experts_return():
    """The head, here the square, belongs to each expert: the mixture is the mean of the squares."""
    mixture, x = Mixture(4, 2, width=8, depth=2, head=torch.square, experts=3).double(), torch.randn(5, 4).double()
    y, weights = mixture.weighed(x)
    assert torch.allclose(weights, torch.softmax(mixture.gate(x), dim=-1))
    expected = sum(weights[:, k, None] * mixture.experts(x)[k] for k in range(3))
    assert torch.allclose(y, expected) and torch.equal(mixture(x), y)
    assert bool((mixture.experts(x) >= 0).all())


@pytest.mark.parametrize("copies", [1, 4])
def test_copies_of_a_network_are_networks_with_weights_of_their_own(copies):
    together = MLP(5, 2, width=8, depth=3, copies=copies)
    x = torch.randn(6, 5)
    found = together(x)
    assert found.shape == (copies, 6, 2)
    for k in range(copies):
        alone = MLP(5, 2, width=8, depth=3)
        weights = {name: tensor[k] for name, tensor in together.state_dict().items()}
        alone.load_state_dict({name: w.mT if "weight" in name else w[0] for name, w in weights.items()})
        assert torch.allclose(alone(x), found[k], atol=1e-6)
    assert not torch.allclose(found[0], found[-1]) or copies == 1, "the copies begin with different weights"


def test_copies_begin_with_the_distribution_of_a_single_network():
    torch.manual_seed(0)
    single = MLP(50, 3, width=64, depth=2).state_dict()
    for name, tensor in MLP(50, 3, width=64, depth=2, copies=4).state_dict().items():
        assert float(tensor.std()) == pytest.approx(float(single[name].std()), rel=0.25, abs=1e-9), name


def test_a_gate_finds_the_regimes_of_a_piecewise_linear_map(tmp_path):
    """The action has opposite effects left and right of 0. Two experts predict this better than one equal network."""
    rng = np.random.default_rng(0)
    starts, moves = rng.uniform(-1, 1, (600, 1)), rng.uniform(-1, 1, (600, 1))
    ends = starts + 0.3 * np.sign(starts) * moves
    data = Episodes.of(
        [{"state": np.stack(pair)} for pair in zip(starts, ends, strict=True)], [move[None] for move in moves]
    )
    single = StateModelConfig(state_size=1, action_size=1, frameskip=1, substeps=1, width=24, depth=1, octaves=0)
    mixture = dataclasses.replace(single, width=7, experts=2)
    assert size(mixture) <= size(single)
    errors, models = [], []
    for config in (single, mixture):
        how = Recipe(config, steps=800, phases=(Phase(1.0, 1, 128),), lr=2e-2, average=0.99, horizons=(1,))
        done = train(how, data, tmp_path / str(config.experts), progress=False)
        errors.append(done.errors["state_0"]["1"]["mean"])
        models.append(load_world_model(done.folder))
    assert errors[1] < 0.7 * errors[0], errors
    sides = models[1].encode({"state": torch.tensor([[[-0.5]], [[0.5]]])})[:, 0]
    _, gates = models[1].path_and_gates(sides, torch.zeros(2, 1))
    assert float((gates[0, 0] - gates[1, 0]).abs().max()) > 0.8, "each side has an expert of its own"


@pytest.mark.parametrize(("experts", "message"), [(0, "integer >= 1"), (True, "integer >= 1"), (65, "at most 64")])
def test_numbers_of_experts_that_make_no_sense(experts, message):
    with pytest.raises(GraspPlannerError, match=rf"experts must be .*{message}.* got {experts}"):
        dataclasses.replace(PLAIN, experts=experts)


@pytest.mark.parametrize("features", ["plain_diffusion", "push_t_diffusion"])
def test_diffusion_models_have_no_experts(features):
    with pytest.raises(GraspPlannerError, match=rf"experts must be 1 for the features '{features}', got 3"):
        dataclasses.replace(PUSH_T, features=features)
