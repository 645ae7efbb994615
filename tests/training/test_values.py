"""Learning of rewards and values: a known value function, action blocks, determinism, files and errors."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from grasp_planner import CEM, GD, Budget, DiscountedReturn, GraspPlannerError, Markov, Problem, plan
from grasp_planner.data import Episodes
from grasp_planner.models import LearnedReturn, LearnedReturnConfig, StateModel, StateModelConfig
from grasp_planner.training import ValueRecipe, train_value
from grasp_planner.training.values import steps_of

QUICK = ValueRecipe(reward_steps=5, iterations=3, updates=2, states=16, candidates=4, batch=8, validation=0.25)


class Line:
    """The world model s' = s + the sum of the environment actions in a block, each divided by 2."""

    context = 1

    def __init__(self, frameskip: int = 1) -> None:
        self.frameskip = frameskip
        self.low, self.high = -2 * torch.ones(frameskip), 2 * torch.ones(frameskip)
        self.scale = torch.ones(1)

    def __call__(self, states, actions):
        return states[:, -1] + 0.5 * actions[:, -1].sum(-1, keepdim=True)

    def encode(self, observations):
        return torch.as_tensor(observations["state"]).to(self.low)


def walks(count: int, steps: int = 20, seed: int = 0) -> Episodes:
    """Random walks on a line, with the reward -s^2 - 0.1 a^2 of a step from s with the action a."""
    random = np.random.default_rng(seed)
    observations, actions = [], []
    for _ in range(count):
        action = random.uniform(-2, 2, (steps, 1))
        states = np.concatenate([random.uniform(-1.5, 1.5, (1, 1)), 0.5 * action]).cumsum(0)
        rewards = -np.square(states[:-1, 0]) - 0.1 * np.square(action[:, 0])
        observations.append({"state": states, "reward": np.concatenate([[99.0], rewards])})
        actions.append(action)
    return Episodes.of(observations, actions)


def regulator(gamma: float) -> float:
    """Return p of the value -p s^2 of the infinite horizon without bounds, for s' = s + u, u = a / 2."""
    p = 0.0
    for _ in range(1000):
        # min_u 0.4 u^2 + gamma p (s + u)^2
        p = 1.0 + 0.4 * gamma * p / (0.4 + gamma * p)
    return p


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Networks that were fitted to the line in a few seconds."""
    folder = tmp_path_factory.mktemp("value")
    recipe = ValueRecipe(
        discount=0.9, horizon=2, candidates=64, states=256, iterations=200, reward_steps=800, width=32, validation=0.1
    )
    done = train_value(Line(), walks(150, steps=6), folder, recipe, progress=False)
    return done, LearnedReturn.from_pretrained(folder)


def test_the_reward_and_the_value_are_learned(fitted):
    done, learned = fitted
    states = torch.linspace(-1.2, 1.2, 13)[:, None]
    actions = torch.linspace(-1.0, 1.5, 13)[:, None]
    wanted = -states[:, 0].square() - 0.1 * actions[:, 0].square()
    torch.testing.assert_close(learned.reward(states, actions), wanted, rtol=0, atol=0.2)
    value = -regulator(0.9) * states[:, 0].square()
    at_zero = learned.value(torch.zeros(1))
    torch.testing.assert_close(learned.value(states) - at_zero, value, rtol=0.15, atol=0.3)
    assert abs(float(at_zero)) < 1.0, "random plans are a little worse than the best plan in every step"
    assert done.reward_error < 0.3 and done.value_error < 0.5


def test_with_the_value_one_step_is_planned_as_with_many(fitted):
    _, learned = fitted
    start, model = torch.tensor([[1.0], [-0.8]]), Markov(lambda s, a: s + 0.5 * a)
    exact = DiscountedReturn(lambda s, a: -s[..., 0].square() - 0.1 * a[..., 0].square(), None, 0.9)
    first = {}
    for name, objective, horizon in (
        ("value", learned.objective(), 1),
        ("no value", DiscountedReturn(learned.reward, None, 0.9), 1),
        ("long", exact, 12),
    ):
        problem = Problem.between(model, start, None, horizon, -2.0, 2.0, objective=objective)
        first[name] = plan(problem, CEM(samples=128, elites=12), Budget(steps=30)).actions[:, 0]
    torch.testing.assert_close(first["value"], first["long"], rtol=0, atol=0.3)
    assert ((first["no value"] - first["long"]).abs() > 0.5).all(), "the last action of a plan without a value is idle"


def test_rewards_and_actions_of_a_block_belong_together():
    data = walks(count=3, steps=7)
    steps = steps_of(Line(frameskip=2), data, ValueRecipe())
    assert steps.states.shape == (3 * 6, 1) and steps.actions.shape == (3 * 6, 2)
    one = data.episode(1)
    for start in range(6):
        row = 6 + start
        np.testing.assert_allclose(steps.states[row], one["state"][start], rtol=1e-6)
        np.testing.assert_allclose(steps.actions[row], one["actions"][start : start + 2, 0], rtol=1e-6)
        np.testing.assert_allclose(steps.rewards[row], one["reward"][start + 1 : start + 3].sum(), rtol=1e-6)


def test_data_in_blocks_are_read_as_they_are():
    """With two environment steps in a data step, a model step of two is one data step."""
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (5, 2))
    seen = {"state": random.normal(size=(6, 1)), "reward": random.normal(size=6)}
    data = Episodes.of([seen], [actions], frameskip=2)
    steps = steps_of(Line(frameskip=2), data, ValueRecipe())
    np.testing.assert_allclose(steps.rewards, seen["reward"][1:], rtol=1e-6)
    np.testing.assert_allclose(steps.actions, actions, rtol=1e-6)
    with pytest.raises(GraspPlannerError, match="frameskip 1 must be a multiple of the data's, got 2"):
        steps_of(Line(), data, ValueRecipe())


def test_the_same_seed_gives_the_same_networks_and_moves_no_random_state(tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        recipe = dataclasses.replace(QUICK, seed=seed)
        train_value(Line(), walks(8), tmp_path / name, recipe, progress=False)
    assert torch.equal(before, torch.get_rng_state())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[1] != weights[2]


def test_files_of_a_training(tmp_path):
    done = train_value(Line(), [walks(8), walks(8, seed=1)], tmp_path / "new" / "value", QUICK, progress=False)
    assert done.folder == tmp_path / "new" / "value"
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "config.json",
        "log.csv",
        "model.safetensors",
        "training.json",
    ]
    summary = json.loads((done.folder / "training.json").read_text())
    assert summary["recipe"]["iterations"] == 3 and summary["reward_error"] == done.reward_error
    rows = (done.folder / "log.csv").read_text().splitlines()
    assert rows[0] == "part,step,loss" and [row.rpartition(",")[0] for row in rows[1:]] == ["reward,5", "value,6"]


def test_the_world_model_is_left_as_it_was(tmp_path):
    model = StateModel(StateModelConfig(state_size=1, action_size=1, frameskip=1, substeps=1, width=8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_value(model, walks(8), tmp_path, QUICK, progress=False)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())


class Dropping(torch.nn.Module):
    """The line with dropout on its actions. A new module is in training mode."""

    context = frameskip = 1

    def __init__(self) -> None:
        super().__init__()
        self.line, self.drop = Line(), torch.nn.Dropout(0.5)
        self.low, self.high, self.scale = self.line.low, self.line.high, self.line.scale

    def forward(self, states, actions):
        return self.line(states, self.drop(actions))

    def encode(self, observations):
        return self.line.encode(observations)


def test_a_model_in_training_mode_is_evaluated_without_dropout(tmp_path):
    model, before = Dropping(), torch.get_rng_state()
    train_value(model, walks(8), tmp_path, QUICK, progress=False)
    assert torch.equal(before, torch.get_rng_state()), "dropout draws from the global random state"
    assert model.training and model.drop.training


def test_no_random_state_of_a_gpu_is_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("every GPU was seeded"))
    train_value(Line(), walks(8), tmp_path, QUICK, progress=False)


def test_a_world_model_is_not_replaced(tmp_path):
    model = StateModel(StateModelConfig(state_size=1, action_size=1, frameskip=1, substeps=1, width=8))
    weights = model.save_pretrained(tmp_path) / "model.safetensors"
    before = weights.read_bytes()
    with pytest.raises(GraspPlannerError, match="holds a model of the kind 'state', whose files a 'return' would repl"):
        train_value(model, walks(8), tmp_path, QUICK, progress=False)
    assert weights.read_bytes() == before


def spoilt(value: float) -> Episodes:
    data = walks(8)
    data.observations["reward"][30] = value
    return data


def spoilt_action() -> Episodes:
    data = walks(8)
    data.actions[30] = np.nan
    return data


class Remembering(Line):
    context = 3


class Unbounded(Line):
    def __init__(self) -> None:
        super().__init__()
        self.high = torch.full((1,), torch.inf)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (Remembering(), walks(8), "world model of context 1 with finite bounds, got context 3"),
        (Unbounded(), walks(8), r"finite bounds, got context 1, low \[-2.0\] and high \[inf\]"),
        (Line(), spoilt(np.nan), "must be finite, found NaN or infinity in the rewards, actions or latents"),
        (Line(), spoilt_action(), "must be finite, found NaN or infinity in the rewards, actions or latents"),
        (
            Line(),
            Episodes.of([{"state": np.zeros((4, 1)), "reward": np.zeros(4)}] * 8, [np.zeros((3, 2))] * 8),
            "an action of the model is 1 numbers, and 1 actions of the data are 2",
        ),
        (
            Line(),
            Episodes.of([{"state": np.zeros((4, 1))}] * 8, [np.zeros((3, 1))] * 8),
            "unknown observation 'reward'",
        ),
    ],
)
def test_wrong_models_and_data(model, data, words, tmp_path):
    with pytest.raises(GraspPlannerError, match=words):
        train_value(model, data, tmp_path / "out", QUICK, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon": 0}, "ValueRecipe.horizon must be an integer >= 1"),
        ({"discount": 1.5}, "ValueRecipe.discount must be a number from 0 to 1"),
        ({"discount": 1.0}, "ValueRecipe.discount must be below 1"),
        ({"lr": -1.0}, "ValueRecipe.lr must be a number >= 0"),
        ({"seed": 0.5}, "ValueRecipe.seed must be an integer"),
    ],
)
def test_wrong_recipes(settings, words):
    with pytest.raises(GraspPlannerError, match=words):
        ValueRecipe(**settings)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    with pytest.raises(GraspPlannerError, match="loss of the reward is no longer finite at step 100: lower lr"):
        recipe = dataclasses.replace(QUICK, reward_steps=200, lr=1e30)
        train_value(Line(), walks(8), tmp_path, recipe, progress=False)


def test_a_horizon_of_one(tmp_path):
    done = train_value(Line(), walks(8), tmp_path, dataclasses.replace(QUICK, horizon=1), progress=False)
    assert np.isfinite(done.value_error)


def test_networks_are_saved_and_loaded(tmp_path):
    learned = LearnedReturn(LearnedReturnConfig(latent_size=3, action_size=2, discount=0.9, width=8))
    learned.std.fill_(3.0)
    learned.scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
    found = LearnedReturn.from_pretrained(learned.save_pretrained(tmp_path))
    states, actions = torch.randn(4, 5, 3), torch.randn(4, 5, 2)
    assert torch.equal(found.reward(states, actions), learned.reward(states, actions))
    assert torch.equal(found.value(states), learned.value(states)) and found.objective().discount == 0.9
    assert not found.training and not any(p.requires_grad for p in found.parameters())
    learned.scale[1] = 0.0
    learned.save_pretrained(tmp_path)
    with pytest.raises(GraspPlannerError, match=r"model\.safetensors: scale must be above 0 in every place, got 0\.0"):
        LearnedReturn.from_pretrained(tmp_path)


def test_networks_keep_the_precision_of_a_problem():
    learned = LearnedReturn(LearnedReturnConfig(latent_size=2, action_size=2, width=8))
    states, actions = torch.randn(4, 2).double(), torch.randn(4, 2).double()
    for found, single in (
        (learned.reward(states, actions), learned.reward(states.float(), actions.float())),
        (learned.value(states), learned.value(states.float())),
    ):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), single)
    model = Markov(lambda state, action: state + 0.1 * action)
    problem = Problem.between(model, states, None, 3, -torch.ones(2).double(), 1.0, objective=learned.objective())
    assert plan(problem, GD(), Budget(steps=2)).cost.isfinite().all()


def test_states_and_actions_of_other_sizes():
    learned = LearnedReturn(LearnedReturnConfig(latent_size=3, action_size=2, width=8))
    with pytest.raises(GraspPlannerError, match="latents of 3 and model actions of 2 numbers, got 3 and 1: learn them"):
        learned.reward(torch.zeros(5, 3), torch.zeros(5, 1))
    with pytest.raises(GraspPlannerError, match="latents of 3 and model actions of 2 numbers, got 4: learn them"):
        learned.value(torch.zeros(5, 4))
    with pytest.raises(GraspPlannerError, match="are on cpu, and the states are on meta: load the networks"):
        learned.value(torch.zeros(5, 3, device="meta"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latent_size": 0}, "LearnedReturnConfig.latent_size must be an integer >= 1"),
        ({"discount": 1.0}, "LearnedReturnConfig.discount must be below 1"),
        ({"discount": -0.1}, "LearnedReturnConfig.discount must be a number >= 0"),
    ],
)
def test_wrong_configurations(settings, words):
    with pytest.raises(GraspPlannerError, match=words):
        LearnedReturnConfig(**{"latent_size": 3, "action_size": 1, **settings})
