"""check_world_model passes good models and names what is wrong with bad ones."""

import pytest
import torch
from torch import nn

from grasp_planner import GraspPlannerError
from grasp_planner.models import StateModel, StateModelConfig, check_world_model


class Good(nn.Module):
    """A model of context 2, three latent coordinates and blocks of two actions; each fault overrides one thing."""

    context, frameskip = 2, 2

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2 * 3 + 2 * 2, 3)
        self.register_buffer("low", -torch.ones(2))
        self.register_buffer("high", torch.ones(2))
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def encode(self, observations):
        return torch.as_tensor(observations["state"])

    def forward(self, states, actions):
        return states[:, -1] + 0.1 * self.layer(torch.cat([states.flatten(1), actions.flatten(1)], dim=-1))


class Sampling(Good):
    def forward(self, states, actions):
        return super().forward(states, actions) + 0.1 * torch.randn_like(states[:, -1])


class HiddenSampling(Good):
    def forward(self, states, actions):
        torch.rand(1)
        return super().forward(states, actions)


class BatchMates(Good):
    def forward(self, states, actions):
        after = super().forward(states, actions)
        return after - after.mean(0)


class Writing(Good):
    def forward(self, states, actions):
        states[:, -1] += 0.1
        return super().forward(states, actions)


class Exploding(Good):
    def forward(self, states, actions):
        return 1e30 * super().forward(states, actions)


class NoGraph(Good):
    def forward(self, states, actions):
        with torch.no_grad():
            return super().forward(states, actions)


class Deaf(Good):
    def forward(self, states, actions):
        return super().forward(states, torch.zeros_like(actions) * actions)


class WrongShape(Good):
    def forward(self, states, actions):
        return super().forward(states, actions)[:, None]


class WrongType(Good):
    def forward(self, states, actions):
        return super().forward(states, actions).double()


class Counting(Good):
    """A model that counts its calls, so that a one-step prediction differs from the rollout."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, states, actions):
        self.calls += 1
        return super().forward(states, actions) + 0.01 * self.calls


class MovingStatistics(Good):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, states, actions):
        self.seen += 1
        return super().forward(states, actions)


class Crashing(Good):
    def forward(self, states, actions):
        raise RuntimeError("only works on Tuesdays")


class UpsideDown(Good):
    def __init__(self):
        super().__init__()
        self.low, self.high = self.high, self.low


class NoChoice(Good):
    def __init__(self):
        super().__init__()
        self.high = self.low.clone()


class FlatScale(Good):
    def __init__(self):
        super().__init__()
        self.scale = torch.tensor([1.0, 0.0, 1.0])


class NoScale(Good):
    def __init__(self):
        super().__init__()
        self.scale = None


class OddFrameskip(Good):
    frameskip = 5


class OneFrame(Good):
    """A model that encodes to one state although its context is two."""

    def encode(self, observations):
        return torch.as_tensor(observations["state"])[:, -1:]


class BadUnits(Good):
    def environment_actions(self, actions):
        return actions.unflatten(-1, (2, 1)) * 3

    def model_actions(self, actions):
        return actions.flatten(-2)


OBSERVATIONS = {"state": torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))}


def test_a_good_model_passes_everything():
    report = check_world_model(Good(), OBSERVATIONS)
    assert report.ok, str(report)
    names = [check.name for check in report.checks]
    assert names[0] == "interface" and names[-1] == "weights untouched" and "encode" in names
    assert "all checks passed" in str(report) and str(report).count("\n") == len(names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", ["plain", "push_t"])
def test_the_state_models_pass(features, dtype):
    size = 7 if features == "push_t" else 3
    model = StateModel(StateModelConfig(state_size=size, action_size=2, features=features, width=8)).to(dtype)
    for buffer in (b for b in model.dynamics.buffers() if b.ndim == 2):
        buffer.copy_(0.01 * torch.ones_like(buffer))
    report = check_world_model(model, {"state": torch.randn(3, 1, size)})
    assert report.ok, str(report)


def test_a_model_without_parameters_and_latents_of_ones_own():
    class Bare:
        context, frameskip = 1, 1
        low, high, scale = -torch.ones(2), torch.ones(2), torch.ones(2)

        def encode(self, observations):
            return observations["state"]

        def __call__(self, states, actions):
            return states[:, -1] + 0.1 * actions[:, -1]

    assert check_world_model(Bare(), states=torch.zeros(2, 1, 2)).ok


@pytest.mark.parametrize(
    ("model", "failing", "words"),
    [
        (Sampling, "determinism", "two results"),
        (HiddenSampling, "determinism", "global random state"),
        (BatchMates, "batch independence", "batch normalisation"),
        (Writing, "inputs untouched", "wrote"),
        (Exploding, "rollout", "from step 2 on"),
        (NoGraph, "gradients", "no graph|autograd"),
        (Deaf, "gradients", "ignores actions"),
        (WrongShape, "shapes", r"must return \(6, 3\), got \(6, 1, 3\)"),
        (WrongType, "shapes", "float64"),
        (Counting, "rollout", "differ"),
        (MovingStatistics, "weights untouched", "seen changed"),
        (Crashing, "shapes", "RuntimeError: only works on Tuesdays"),
        (UpsideDown, "bounds", "low > high"),
        (NoChoice, "bounds", "no choice"),
        (FlatScale, "scale", "> 0"),
        (NoScale, "interface", "missing: scale"),
        (OddFrameskip, "bounds", "frameskip"),
        (OneFrame, "encode", r"\(b, 2, 3\)"),
        (BadUnits, "action units", "there and back"),
    ],
)
def test_what_is_wrong_is_named(model, failing, words):
    report = check_world_model(model(), OBSERVATIONS)
    failed = {check.name: check.detail for check in report.checks if not check.passed}
    assert not report.ok and failing in failed, str(report)
    import re

    assert re.search(words, failed[failing]), failed[failing]


def test_strict_raises_with_the_report():
    assert check_world_model(Good(), OBSERVATIONS, strict=True).ok
    with pytest.raises(GraspPlannerError, match="FAIL  determinism"):
        check_world_model(Sampling(), OBSERVATIONS, strict=True)


def test_training_mode_and_gradients_stay():
    model = Good().train()
    check_world_model(model, OBSERVATIONS)
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_the_same_seed_gives_the_same_report():
    assert check_world_model(Good(), OBSERVATIONS, seed=3).checks[:-1] is not None
    torch.manual_seed(5)
    model = Good()
    assert check_world_model(model, seed=3) == check_world_model(model, seed=3)
