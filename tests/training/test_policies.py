"""Learning of policies: a known policy, pairs of state and goal, plans, symmetry, determinism, files and errors."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from training_data import push_t_like

from grasp_planner import GD, Budget, GraspPlannerError, Problem, plan
from grasp_planner.data import Episodes
from grasp_planner.models import LearnedPolicy, StateModel, StateModelConfig
from grasp_planner.training import PolicyRecipe, train_policy
from grasp_planner.training.policies import hindsight, reached
from grasp_planner.training.symmetry import IMAGES, with_images

QUICK = PolicyRecipe(horizon=4, steps=3, batch=8, width=8, depth=1, validation=0.25)


class Plane:
    """The world model s' = s + 0.3 times the sum of the environment actions (x, y) in a block."""

    context = 1

    def __init__(self, frameskip: int = 1) -> None:
        self.frameskip = frameskip
        self.low, self.high = -torch.ones(2 * frameskip), torch.ones(2 * frameskip)
        self.scale = torch.ones(2)

    def __call__(self, states, actions):
        return states[:, -1] + 0.3 * actions[:, -1].unflatten(-1, (-1, 2)).sum(-2)

    def encode(self, observations):
        return torch.as_tensor(observations["state"]).to(self.low)


def walk(pushes, start=(0.0, 0.0), last_reward=0.0):
    """Return the observations and the actions of an episode with these pushes (t, 2)."""
    states = np.concatenate([[start], 0.3 * np.asarray(pushes)]).cumsum(0)
    rewards = np.zeros(len(states))
    rewards[-1] = last_reward
    return {"state": states, "reward": rewards}, np.asarray(pushes)


def walks(count: int, steps: int = 20, seed: int = 0) -> Episodes:
    """Return random walks in the plane, with pushes that are uniform between the bounds."""
    random = np.random.default_rng(seed)
    drawn = [walk(random.uniform(-1, 1, (steps, 2)), random.uniform(-1, 1, 2)) for _ in range(count)]
    return Episodes.of([seen for seen, _ in drawn], [pushes for _, pushes in drawn])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A policy that was fitted to random walks in a few seconds."""
    folder = tmp_path_factory.mktemp("policy")
    recipe = PolicyRecipe(horizon=8, steps=800, width=64, depth=2, validation=0.2)
    done = train_policy(Plane(), walks(300), folder, recipe, progress=False)
    return done, LearnedPolicy.from_pretrained(folder)


def problems(count: int = 32, horizon: int = 8) -> Problem:
    """Return problems whose goals need half of the largest pushes, or less."""
    random = torch.Generator().manual_seed(1)
    start, way = 2 * torch.rand(2, count, 2, generator=random) - 1
    goal = start + 0.15 * horizon * way
    return Problem.observed(Plane(), {"state": start[:, None]}, {"state": goal[:, None]}, horizon)


def distances(problem: Problem, actions: torch.Tensor) -> torch.Tensor:
    return (problem.rollout(actions)[:, -1] - problem.goal).norm(dim=1)


def test_a_policy_learned_from_random_pushes_reaches_goals_that_random_pushes_miss(fitted):
    _, policy = fitted
    problem = problems()
    random = 2 * torch.rand(32, 8, 2, generator=torch.Generator().manual_seed(2)) - 1
    missed = distances(problem, random)
    assert missed.median() > 0.5, "the test needs goals that are not reached by chance"
    assert distances(problem, policy.actions(problem)).max() < 0.15


def test_the_policy_is_the_mean_of_the_pushes_between_state_and_goal(fitted):
    """Of k independent pushes with a known sum, each is a k-th of the sum on average."""
    done, policy = fitted
    way = torch.tensor([[0.1, 0.0], [0.0, -0.2], [0.25, 0.25]])
    for k in (2, 4, 8):
        pushes = policy(torch.zeros(3, 2), 0.3 * k * way, k)
        torch.testing.assert_close(pushes, way, rtol=0, atol=0.08)
    # The variance that is left is 1 - 1/k. In episodes of 20 steps, 1/k is 0.43 on average.
    assert done.error == pytest.approx(0.57**0.5, abs=0.08)


def test_in_closed_loop_the_policy_corrects_a_model_that_is_wrong(fitted):
    _, policy = fitted
    problem = problems()
    state = problem.start
    for left in range(8, 0, -1):
        state = state + 0.25 * policy(state, problem.goal, left).clamp(-1, 1) + 0.02
    assert (state - problem.goal).norm(dim=1).max() < 0.3
    open_loop = problem.start + (0.25 * policy.actions(problem) + 0.02).sum(1)
    assert (state - problem.goal).norm(dim=1).mean() < 0.7 * (open_loop - problem.goal).norm(dim=1).mean()


def test_planning_from_the_policy_needs_fewer_steps(fitted):
    _, policy = fitted
    problem = problems()
    first = policy.actions(problem)
    enough = 0.05 * problem.cost(problem.rollout(0 * first), 0 * first)
    steps = {}
    for name, start in (("zeros", None), ("policy", first)):
        trace = plan(problem, GD(lr=0.05), Budget(steps=30), warm_start=start).trace
        steps[name] = (trace.cost > enough).sum(0).float().median()
    assert steps["policy"] < 0.5 * steps["zeros"]


@pytest.mark.parametrize(("frameskip", "blocks"), [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_goals_are_later_states_of_the_same_episode(frameskip, blocks):
    """States say their episode and environment step, and so do actions."""
    lengths = (8, 12, 5)  # data steps
    observations, actions = [], []
    for number, length in enumerate(lengths):
        times = np.arange(length + 1) * blocks
        observations.append({"state": np.stack([np.full(length + 1, number), times], axis=1).astype(float)})
        moves = np.arange(length * blocks)
        actions.append(np.stack([100 * number + moves, -moves], axis=1).reshape(length, 2 * blocks).astype(float))
    data = Episodes.of(observations, actions, frameskip=blocks).select([2, 0, 1])
    steps = hindsight(Plane(frameskip), data, dataclasses.replace(QUICK, horizon=3))
    assert len(steps.actions) == sum(length - frameskip // blocks + 1 for length in lengths)
    some = steps.drawn(2000, torch.Generator().manual_seed(0))
    assert torch.equal(some.states[:, 0], some.goals[:, 0])
    assert torch.equal(some.goals[:, 1] - some.states[:, 1], frameskip * some.steps.float())
    assert set(some.steps.tolist()) == {1, 2, 3}
    for episode, length in enumerate(lengths):
        assert some.goals[some.goals[:, 0] == episode, 1].max() <= length * blocks
    expected = some.states[:, 1:] + torch.arange(frameskip)
    assert torch.equal(some.actions[:, 1::2], -expected)
    assert torch.equal(some.actions[:, ::2], 100 * some.states[:, :1] + expected)


def test_the_number_of_steps_to_a_goal_is_uniform():
    steps = hindsight(Plane(), walks(4, steps=20), dataclasses.replace(QUICK, horizon=5))
    some = steps.drawn(20_000, torch.Generator().manual_seed(0))
    far = steps.most == 5
    assert int(far.sum()) == 4 * 16 and steps.most.min() == 1
    counts = torch.bincount(some.steps, minlength=6)[1:] / 20_000
    # From 16 of 20 steps all five numbers are possible, from the other steps only the small ones.
    expected = [(16 / 5 + sum(1 / m for m in range(1, 5) if m >= k)) / 20 for k in range(1, 6)]
    torch.testing.assert_close(counts, torch.tensor(expected), rtol=0, atol=0.015)


def plans() -> Episodes:
    """Return plans with the push (0.5, 0.2) that reached their goal, and as many with (-0.9, 0) that did not."""
    random = np.random.default_rng(0)
    drawn = [
        walk(np.tile(push, (8, 1)), random.uniform(-1, 1, 2), reward)
        for push, reward in (((0.5, 0.2), 1.0), ((-0.9, 0.0), 0.0))
        for _ in range(20)
    ]
    return Episodes.of([seen for seen, _ in drawn], [pushes for _, pushes in drawn])


def test_only_plans_that_reached_their_goal_are_imitated(tmp_path):
    chosen = reached([plans(), plans()], QUICK)
    assert len(chosen) == 40 and all((chosen.episode(i)["actions"] == (0.5, 0.2)).all() for i in range(40))
    recipe = PolicyRecipe(horizon=6, steps=300, lr=3e-3, width=32, plan_share=1.0, validation=0.2)
    done = train_policy(Plane(), walks(20), tmp_path, recipe, plans=plans(), progress=False)
    policy = LearnedPolicy.from_pretrained(tmp_path)
    states = torch.tensor([[0.0, 0.0], [0.5, -0.5]])
    pushes = policy(states, states + 0.3 * 4 * torch.tensor([0.5, 0.2]), 4)
    torch.testing.assert_close(pushes, torch.tensor([[0.5, 0.2]] * 2), rtol=0, atol=0.05)
    summary = json.loads((done.folder / "training.json").read_text())
    assert summary["plans"]["all_episodes"] == 20 and summary["data"]["all_episodes"] == 20


def test_without_a_share_plans_change_nothing(tmp_path):
    recipe = dataclasses.replace(QUICK, plan_share=0.0)
    train_policy(Plane(), walks(8), tmp_path / "one", recipe, progress=False)
    train_policy(Plane(), walks(8), tmp_path / "two", recipe, plans=plans(), progress=False)
    train_policy(Plane(), walks(8), tmp_path / "three", QUICK, plans=plans(), progress=False)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[1] != weights[2]


def test_a_small_share_of_plans_is_at_least_one_row(tmp_path):
    recipe = dataclasses.replace(QUICK, plan_share=0.01)  # of a batch of 8
    train_policy(Plane(), walks(8), tmp_path / "one", recipe, progress=False)
    train_policy(Plane(), walks(8), tmp_path / "two", recipe, plans=plans(), progress=False)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] != weights[1]


def test_a_symmetry_that_does_not_fit_the_data(tmp_path):
    recipe = dataclasses.replace(QUICK, symmetry="push_t")
    with pytest.raises(GraspPlannerError, match="needs states of 7 numbers and actions of 2 numbers, got 2 and 2"):
        train_policy(Plane(), walks(8), tmp_path / "out", recipe, progress=False)
    assert not (tmp_path / "out").exists()


def test_no_random_state_of_a_gpu_is_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("every GPU was seeded"))
    train_policy(Plane(), walks(8), tmp_path, QUICK, progress=False)


def test_a_world_model_is_not_replaced(tmp_path):
    model = StateModel(StateModelConfig(state_size=2, action_size=2, frameskip=1, substeps=1, width=8))
    weights = model.save_pretrained(tmp_path) / "model.safetensors"
    before = weights.read_bytes()
    with pytest.raises(GraspPlannerError, match="holds a model of the kind 'state', whose files a 'policy' would repl"):
        train_policy(model, walks(8), tmp_path, QUICK, progress=False)
    assert weights.read_bytes() == before
    for _ in range(2):  # a policy may replace a policy
        train_policy(model, walks(8), tmp_path / "policy", QUICK, progress=False)


def test_images_of_episodes_follow_the_dynamics():
    """The pusher of these data moves by 30 px times the action and a twentieth of its velocity."""
    data = push_t_like(episodes=3)
    both = with_images(data, "push_t", seed=0)
    assert len(both) == 3 * (1 + IMAGES)
    turned = 0
    for number in range(len(both)):
        image, original = both.episode(number), data.episode(number % 3)
        states = image["state"]
        moved = states[1:, :2] - states[:-1, :2] - 0.05 * states[:-1, 5:]
        np.testing.assert_allclose(moved, 30 * image["actions"], atol=1e-6)
        apart = [np.linalg.norm(one[:, :2] - one[:, 2:4], axis=1) for one in (states, original["state"])]
        np.testing.assert_allclose(*apart, atol=1e-6)
        turned += not np.allclose(image["actions"], original["actions"])
    assert turned >= 6, "one of eight images is the episode itself"


def test_images_of_action_blocks_are_those_of_single_actions():
    data = push_t_like(episodes=2)
    blocks = Episodes.of(
        [{"state": data.episode(i)["state"][::5]} for i in range(2)],
        [data.episode(i)["actions"].reshape(5, 10) for i in range(2)],
        frameskip=5,
    )
    one, other = (with_images(given, "push_t", seed=3) for given in (data, blocks))
    np.testing.assert_allclose(other.actions, one.actions.reshape(-1, 10), atol=1e-9)
    assert other.frameskip == 5


def test_a_policy_of_push_t_with_symmetry(tmp_path):
    model = StateModel(StateModelConfig(state_size=7, action_size=2, features="push_t", width=8, depth=1))
    recipe = dataclasses.replace(QUICK, symmetry="push_t")
    done = train_policy(model, push_t_like(), tmp_path, recipe, progress=False)
    policy = LearnedPolicy.from_pretrained(tmp_path)
    assert policy.counted.tolist() == [1.0] * 6 + [0.0] * 2 and np.isfinite(done.error)
    assert json.loads((tmp_path / "training.json").read_text())["data"]["all_episodes"] == 12
    # Half of the images are mirrored, and turns are random, so the mean action is nearer to zero than the deviation.
    assert (policy.mean.abs() < 0.2 * policy.std).all()


def test_the_same_seed_gives_the_same_policy_and_moves_no_random_state(tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        recipe = dataclasses.replace(QUICK, seed=seed)
        train_policy(Plane(), walks(8), tmp_path / name, recipe, plans=plans(), progress=False)
    assert torch.equal(before, torch.get_rng_state())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[1] != weights[2]


def test_files_of_a_training(tmp_path):
    done = train_policy(Plane(), [walks(8), walks(8, seed=1)], tmp_path / "new" / "policy", QUICK, progress=False)
    assert done.folder == tmp_path / "new" / "policy"
    names = sorted(path.name for path in done.folder.iterdir())
    assert names == ["config.json", "log.csv", "model.safetensors", "training.json"]
    summary = json.loads((done.folder / "training.json").read_text())
    assert summary["recipe"]["steps"] == 3 and summary["error"] == done.error and summary["plans"] is None
    assert len(summary["data"]["joined"]) == 2
    rows = (done.folder / "log.csv").read_text().splitlines()
    assert rows[0] == "part,step,loss" and [row.rpartition(",")[0] for row in rows[1:]] == ["policy,3"]


def test_the_world_model_is_left_as_it_was(tmp_path):
    model = StateModel(StateModelConfig(state_size=2, action_size=2, frameskip=1, substeps=1, width=8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_policy(model, walks(8), tmp_path, QUICK, progress=False)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())


class Remembering(Plane):
    context = 3


def test_a_model_with_a_history_and_episodes_shorter_than_the_horizon(tmp_path):
    recipe = dataclasses.replace(QUICK, horizon=50)
    train_policy(Remembering(), walks(8, steps=6), tmp_path, recipe, progress=False)
    policy = LearnedPolicy.from_pretrained(tmp_path)
    here, there = {"state": torch.zeros(2, 1, 2)}, {"state": torch.ones(2, 1, 2)}
    assert policy.actions(Problem.observed(Remembering(), here, there, 5)).shape == (2, 5, 2)


def spoilt(key: str) -> Episodes:
    data = walks(8)
    data.array(key)[30] = np.nan
    return data


@pytest.mark.parametrize(
    ("model", "data", "given", "words"),
    [
        (Plane(2), walks(8, steps=1), None, "no window fits"),
        (Plane(), Episodes.of([{"state": np.zeros((3, 2))}] * 8, [np.zeros((2, 1))] * 8), None, "2 numbers, and 1 act"),
        (Plane(), spoilt("state"), None, "must be finite, found NaN or infinity in the actions or the latents"),
        (Plane(), spoilt("actions"), None, "must be finite, found NaN or infinity in the actions or the latents"),
        (Plane(), walks(8), walks(8), "no plan of 8 reached its goal"),
        (
            Plane(),
            walks(8),
            Episodes.of([{"state": np.zeros((3, 2))}] * 8, [np.zeros((2, 2))] * 8),
            "unknown observation 'reward'",
        ),
        (Plane(), walks(8), [], "needed at least one data set, got none"),
    ],
)
def test_wrong_data(model, data, given, words, tmp_path):
    with pytest.raises(GraspPlannerError, match=words):
        train_policy(model, data, tmp_path / "out", QUICK, plans=given, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon": 0}, "PolicyRecipe.horizon must be an integer >= 1"),
        ({"plan_share": 1.5}, "PolicyRecipe.plan_share must be a number from 0 to 1"),
        ({"lr": -1.0}, "PolicyRecipe.lr must be a number >= 0"),
        ({"seed": 0.5}, "PolicyRecipe.seed must be an integer"),
        ({"symmetry": "pusht"}, "unknown symmetry 'pusht': did you mean 'push_t'"),
        ({"symmetry": "push_t", "observations": ("pixels",)}, "symmetry needs the observations"),
    ],
)
def test_wrong_recipes(settings, words):
    with pytest.raises(GraspPlannerError, match=words):
        PolicyRecipe(**settings)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    with pytest.raises(GraspPlannerError, match="loss of the policy is no longer finite at step 100: lower lr"):
        train_policy(Plane(), walks(8), tmp_path, dataclasses.replace(QUICK, steps=200, lr=1e30), progress=False)
