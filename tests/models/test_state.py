"""The trainable state-based model: units, shapes, and exactness where it is promised."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner import GraspPlannerError, Problem
from grasp_planner.core.world_model import goal_objective
from grasp_planner.models import ActionUnits, StateDecoder, StateModel, StateModelConfig, WorldModel

PLAIN = StateModelConfig(state_size=3, action_size=2, frameskip=4, substeps=4, width=16)
BLOCK = StateModelConfig(state_size=3, action_size=2, frameskip=4, substeps=1, width=16)
PUSH_T = StateModelConfig(state_size=7, action_size=2, features="push_t", width=16)
PLAIN_DIFFUSION = StateModelConfig(
    state_size=3, action_size=2, features="plain_diffusion", frameskip=4, substeps=4, width=16, octaves=0
)
PUSH_T_DIFFUSION = StateModelConfig(state_size=7, action_size=2, features="push_t_diffusion", substeps=1, width=16)
CONFIGS = {
    "plain": PLAIN,
    "block": BLOCK,
    "push_t": PUSH_T,
    "plain_diffusion": PLAIN_DIFFUSION,
    "push_t_diffusion": PUSH_T_DIFFUSION,
}


def build(config: StateModelConfig) -> StateModel:
    torch.manual_seed(0)
    model = StateModel(config)
    for buffer in ("mean", "linear", "pusher"):
        if hasattr(model.dynamics, buffer):
            tensor = getattr(model.dynamics, buffer)
            tensor.copy_(0.1 * torch.randn_like(tensor))
    model.action_mean.copy_(torch.tensor([0.1, -0.2]))
    model.action_std.copy_(torch.tensor([0.5, 2.0]))
    return model


def push_t_states(count: int, seed: int = 0) -> torch.Tensor:
    draw = torch.rand(count, 7, generator=torch.Generator().manual_seed(seed))
    low = torch.tensor([50.0, 50, 100, 100, 0, -100, -100])
    high = torch.tensor([450.0, 450, 400, 400, 6.28, 100, 100])
    return low + draw * (high - low)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
class TestEveryModel:
    def test_is_a_world_model_with_units_and_a_decoder(self, config):
        model = build(config)
        assert isinstance(model, WorldModel) and isinstance(model, ActionUnits) and isinstance(model, StateDecoder)
        assert (model.context, model.frameskip) == (1, config.frameskip)
        assert model.low.shape == model.high.shape == (config.action_size * config.frameskip,)
        assert model.scale.shape == model.goal_weights.shape == (model.dynamics.latent_size,)

    def test_predicting_along_a_rollout_gives_it_back(self, config):
        model = build(config).double()
        start = model.encode({"state": torch.rand(5, 1, config.state_size) * 100})
        problem = Problem.between(model, start[:, 0], start[:, 0], 6, model.low, model.high)
        actions = torch.randn(5, 6, len(model.low), dtype=torch.float64)
        states = problem.rollout(actions)
        before = torch.cat([start, states[:, :-1]], dim=1)
        assert torch.allclose(problem.predict(before, actions), states, atol=1e-12)
        assert states.dtype == torch.float64

    def test_a_path_passes_through_the_model_steps(self, config):
        model = build(config)
        latent = model.encode({"state": torch.rand(2, 1, config.state_size) * 100})
        actions = torch.randn(2, 3, len(model.low))
        path = model.path(latent[:, 0], actions.flatten(1))
        assert path.shape == (2, 3 * config.substeps, model.dynamics.latent_size)
        for t in range(3):
            latent = model(latent, actions[:, t : t + 1])[:, None]
            assert torch.allclose(latent[:, 0], path[:, (t + 1) * config.substeps - 1], atol=1e-5)

    def test_action_units_there_and_back(self, config):
        model = build(config)
        blocks = torch.randn(3, 6, config.frameskip, 2)
        assert torch.allclose(model.environment_actions(model.model_actions(blocks)), blocks, atol=1e-6)

    def test_the_order_in_a_block_is_time(self, config):
        model = build(config)
        block = torch.zeros(config.frameskip, 2)
        block[0] = torch.tensor([1.0, 2.0])
        first, rest = model.model_actions(block).split((2, len(model.low) - 2))
        assert torch.allclose(first, torch.tensor([(1 - 0.1) / 0.5, (2 + 0.2) / 2.0]))
        assert torch.allclose(rest.unflatten(0, (-1, 2)), torch.tensor([-0.2, 0.1]).expand(config.frameskip - 1, 2))

    def test_every_action_of_a_block_matters_and_has_a_finite_gradient(self, config):
        model = build(config)
        latent = model.encode({"state": torch.rand(2, 1, config.state_size) * 100})
        actions = torch.randn(2, 1, len(model.low), requires_grad=True)
        (gradient,) = torch.autograd.grad(model(latent, actions).square().sum(), actions)
        assert bool(gradient.isfinite().all()) and bool((gradient != 0).all())

    def test_saved_and_loaded_it_is_the_same(self, config, tmp_path):
        model = build(config)
        loaded = StateModel.from_pretrained(model.save_pretrained(tmp_path / "there"))
        assert loaded.config == config
        assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["config.json", "model.safetensors"]
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name]), name
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())

    def test_encode_says_what_it_needs(self, config):
        model = build(config)
        with pytest.raises(GraspPlannerError, match=r"got the keys \['pixels'\]"):
            model.encode({"pixels": torch.zeros(1, 1, 64, 64, 3)})
        with pytest.raises(GraspPlannerError, match=rf"\(b, h, {config.state_size}\), got \(1, 9\)"):
            model.encode({"state": torch.zeros(1, 9)})


class TestPushT:
    @given(
        theta=st.floats(0, 6.28),
        numbers=st.lists(st.floats(-600, 600), min_size=6, max_size=6),
    )
    def test_decoding_undoes_encoding(self, theta, numbers):
        state = torch.tensor([*numbers[:4], theta, *numbers[4:]], dtype=torch.float64)
        model = build(PUSH_T).double()
        again = model.decode_state(model.encode({"state": state.expand(1, 1, 7)}))[0, 0]
        turn = (again[4] - state[4] + math.pi) % (2 * math.pi) - math.pi
        assert torch.allclose(again[:4], state[:4]) and torch.allclose(again[5:], state[5:])
        assert abs(float(turn)) < 1e-9 and 0 <= float(again[4]) <= 2 * math.pi

    def test_twenty_pixels_weigh_as_much_as_twenty_degrees(self):
        model = build(PUSH_T)
        state = torch.tensor([256.0, 256, 256, 256, 1, 0, 0])
        moved, turned = state.clone(), state.clone()
        moved[2] += 20
        turned[4] += math.radians(20)
        start, moved, turned = model.encode({"state": torch.stack([state, moved, turned])[:, None]})[:, 0]
        phi = goal_objective(model)
        shift = float(phi.terminal(moved / model.scale, start / model.scale))
        turn = float(phi.terminal(turned / model.scale, start / model.scale))
        assert shift == pytest.approx(turn, rel=0.02)

    def test_velocity_does_not_count_towards_a_goal(self):
        model = build(PUSH_T)
        one, other = push_t_states(2)
        other = torch.cat([one[:5], other[5:]])
        one, other = model.encode({"state": torch.stack([one, other])[:, None]})[:, 0]
        assert float(goal_objective(model).terminal(one, other)) == pytest.approx(0, abs=1e-9)

    def test_fit_recovers_a_linear_pusher_exactly(self):
        generator = torch.Generator().manual_seed(1)
        model = build(PUSH_T).double()
        states, actions = push_t_states(500).double(), torch.randn(500, 2, generator=generator).double()
        after = states.clone()
        after[:, :2] += 0.06 * states[:, 5:] + 7 * actions + torch.tensor([1.0, -2.0])
        after[:, 5:] = 0.2 * states[:, 5:] + 30 * actions
        model.dynamics.fit(torch.stack([states, after], dim=1), actions)
        predicted = model.dynamics.path(model.dynamics.encode(states), actions[:, None])
        predicted = model.decode_state(predicted[:, 0])
        assert torch.allclose(predicted[:, [0, 1, 5, 6]], after[:, [0, 1, 5, 6]], atol=1e-8)

    def test_an_untrained_block_hardly_moves_and_its_heading_stays_on_the_circle(self):
        model = build(PUSH_T)
        latent = model.encode({"state": push_t_states(20)[:, None]})
        after = model(latent, torch.randn(20, 1, 10)).detach()
        assert float((after[:, 2:4] - latent[:, 0, 2:4]).norm(dim=-1).max()) < 1.0
        assert torch.allclose(after[:, 4:6].norm(dim=-1), torch.ones(20), atol=1e-5)

    @pytest.mark.parametrize("length", [0.0, 1e-6, 0.5, 30.0])
    def test_virtual_states_off_the_circle_are_finite_with_finite_gradients(self, length):
        model = build(PUSH_T)
        latent = model.encode({"state": push_t_states(4)[:, None]})
        latent[..., 4:6] *= length
        latent.requires_grad_(True)
        after = model(latent, torch.randn(4, 1, 10))
        (gradient,) = torch.autograd.grad(after.square().sum(), latent)
        assert bool(after.isfinite().all()) and bool(gradient.isfinite().all())

    def test_other_states_are_refused(self):
        with pytest.raises(GraspPlannerError, match="state_size 7"):
            StateModel(StateModelConfig(state_size=5, action_size=2, features="push_t"))
        with pytest.raises(GraspPlannerError, match="substeps equal to frameskip"):
            StateModel(StateModelConfig(state_size=7, action_size=2, features="push_t", substeps=1))


def test_plain_linear_dynamics_are_exact_after_the_fit():
    generator = torch.Generator().manual_seed(2)
    model = StateModel(PLAIN).double()
    torch.nn.init.zeros_(model.dynamics.network.last.weight)
    states = torch.randn(400, 3, generator=generator).double() * torch.tensor([1.0, 50.0, 300.0])
    actions = torch.randn(400, 2, generator=generator).double()
    matrix = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.8, 0.0], [0.0, 0.01, 1.0]], dtype=torch.float64)
    after = states @ matrix + actions @ torch.ones(2, 3, dtype=torch.float64) + 5
    model.dynamics.fit(torch.stack([states, after], dim=1), actions)
    predicted = model.decode_state(model.dynamics.path(model.dynamics.encode(states), actions[:, None])[:, 0])
    assert torch.allclose(predicted, after, rtol=1e-6, atol=1e-6)


def test_a_coordinate_that_never_changes_is_no_trouble():
    model = StateModel(PLAIN)
    states = torch.randn(50, 2, 3)
    states[..., 1] = 7.0
    model.dynamics.fit(states, torch.randn(50, 2))
    after = model(model.encode({"state": states[:, :1]}), torch.zeros(50, 1, 8))
    assert bool(after.isfinite().all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "push-t"}, "did you mean 'push_t'"),
        ({"width": 0}, "width must be an integer >= 1, got 0"),
        ({"depth": True}, "depth must be an integer >= 1, got True"),
        ({"octaves": -1}, "octaves"),
        ({"substeps": 3}, r"1 or frameskip \(5\), got 3"),
    ],
)
def test_configurations_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        StateModelConfig(**{"state_size": 2, "action_size": 2, **change})


def test_goal_weights_must_fit_the_latent():
    with pytest.raises(GraspPlannerError, match="4 latent coordinates, got 2"):
        StateModel(StateModelConfig(state_size=4, action_size=2, goal_weights=(1.0, 0.0)))
    model = StateModel(StateModelConfig(state_size=4, action_size=2, goal_weights=(1.0, 1.0, 0.0, 0.0)))
    assert model.goal_weights.tolist() == [1, 1, 0, 0]
