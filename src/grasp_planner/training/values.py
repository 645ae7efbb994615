"""Rewards and values: a reward model from data, and a value function by fitted value iteration in a world model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one, whole
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.frozen import frozen
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel, model_actions
from grasp_planner.data import Episodes, Windows, split
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.progress import progress_bar
from grasp_planner.io.text_files import write_json
from grasp_planner.models.checkpoint import check_kind
from grasp_planner.models.learned_return import LearnedReturn, LearnedReturnConfig
from grasp_planner.training.logs import CSVLog
from grasp_planner.training.regression import regression
from grasp_planner.training.schedules import running_average
from grasp_planner.training.seeding import seeded
from grasp_planner.training.sources import Data, check_action_size, data_sets, describe, joined
from grasp_planner.training.validation import to_tensors

MOST_STEPS = 200_000
"""More model steps of the data are not used."""
_AT_ONCE = 4096  # model steps that are encoded together


@dataclass(frozen=True)
class ValueRecipe:
    """The settings for learning rewards and values.

    Args:
        observations: the observations that the world model encodes, besides ``"reward"``.
        horizon: k, model steps of a plan for the target of a value.
        candidates: n, random plans for each target.
        states: states that get a new target in each iteration.
        iterations: number of iterations.
        updates: optimiser steps of the value in each iteration.
        discount: gamma of a model step.
        reward_steps: optimiser steps of the reward model.
        batch: rows per optimiser step.
        lr: maximum learning rate, reached by a linear warm-up and followed by a cosine to zero.
        average: decay per optimiser step of the running average of the value network. The targets use this average.
        validation: share of the episodes that are held out.
        seed: seed of the initial weights, of the split, of the batches and of the random plans.
        width: units in a hidden layer of both networks.
        depth: hidden layers of both networks.

    Raises:
        GraspPlannerError: a number is out of range.

    Example:
        >>> ValueRecipe(discount=0.95, iterations=100).candidates
        32
    """

    observations: tuple[str, ...] = ("state",)
    horizon: int = 4
    candidates: int = 32
    states: int = 512
    iterations: int = 600
    updates: int = 8
    discount: float = LearnedReturnConfig.discount
    reward_steps: int = 3000
    batch: int = 256
    lr: float = 2e-3
    average: float = 0.95
    validation: float = 0.05
    seed: int = 0
    width: int = LearnedReturnConfig.width
    depth: int = LearnedReturnConfig.depth

    def __post_init__(self) -> None:
        whole(self, 1, "horizon", "candidates", "states", "iterations", "updates", "reward_steps", "batch")
        whole(self, 1, "width", "depth")
        whole(self, 0, "seed")
        at_least(self, 0, "lr")
        between_zero_and_one(self, "discount", "average", "validation")
        if self.discount == 1.0:
            raise GraspPlannerError("ValueRecipe.discount must be below 1, so that values are finite, got 1.0")


@dataclass(frozen=True)
class ValueTraining:
    """The result of :func:`train_value`.

    Attributes:
        folder: the folder with ``config.json``, ``model.safetensors``, ``training.json`` and ``log.csv``.
        seconds: wall-clock time.
        reward_error: mean absolute error of the reward of a model step, on held-out episodes.
        value_error: mean absolute error of the value compared with its target, in states of held-out episodes.

    Example:
        >>> ValueTraining(Path("runs/mine"), seconds=2.5, reward_error=0.1, value_error=1.0).folder.name
        'mine'
    """

    folder: Path
    seconds: float
    reward_error: float
    value_error: float


@dataclass(frozen=True, eq=False)
class Steps:
    """Model steps of a data set: latents, model actions and rewards."""

    states: Float[Tensor, "n s"]
    actions: Float[Tensor, "n a"]
    rewards: Float[Tensor, " n"]

    def drawn(self, count: int, generator: torch.Generator) -> Steps:
        """Draw steps with replacement."""
        rows = torch.randint(len(self.rewards), (count,), generator=generator).to(self.rewards.device)
        return Steps(self.states[rows], self.actions[rows], self.rewards[rows])


def train_value(
    model: WorldModel,
    data: Data | Sequence[Data],
    out: str | Path,
    recipe: ValueRecipe | None = None,
    *,
    progress: bool = True,
) -> ValueTraining:
    """Learn a reward model and a value function for a trained world model, and save them in a folder.

        r:  regression on the rewards of the data
        V:  repeated regression on   max_j  sum_{t<k} gamma^t r(s_t, a_t^j) + gamma^k V'(s_k),   j = 1 .. n

    The plans a^j are random: the first action and the action of all later steps are uniform over 1.5 times the range
    of actions, and then clamped to the bounds, so that a third of them lies on a bound. The world model predicts their
    states from s_0, a state of the data. V' is a running average of V. Targets are clamped to the least and the
    largest sum of discounted rewards that the rewards of the data allow.

    Args:
        model: a world model of context 1 with finite bounds.
        data: a data set's folder, ``Episodes`` in memory, or a sequence of these. Row t + 1 of the key ``"reward"`` is
            the reward of data step t, and row 0 is not read.
        out: the folder for all files; ``LearnedReturn.from_pretrained`` loads the result.
        recipe: the settings; ``None``: ``ValueRecipe()``.
        progress: show progress bars.

    Raises:
        GraspPlannerError: the model has another context or infinite bounds, the data do not fit the model or have no
            rewards, a loss is no longer finite, or ``out`` holds a model of another kind.
        OSError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> from grasp_planner.models import StateModel, StateModelConfig
        >>> walks = [np.cumsum(np.random.default_rng(i).normal(size=(31, 2)), axis=0) for i in range(8)]
        >>> seen = [{"state": walk, "reward": -np.square(walk).sum(1)} for walk in walks]
        >>> data = Episodes.of(seen, [np.diff(walk, axis=0) for walk in walks])
        >>> model = StateModel(StateModelConfig(state_size=2, action_size=2, frameskip=1, substeps=1, width=16))
        >>> quick = ValueRecipe(reward_steps=3, iterations=2, states=8, batch=8, validation=0.25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = train_value(model, data, folder, quick, progress=False)
        ...     LearnedReturn.from_pretrained(folder).value(torch.zeros(5, 2)).shape
        torch.Size([5])

    Source: fitted value iteration (Gordon, ICML 1995), with targets from short plans in a model. Rewards and values in
    the latent space of a world model: TD-MPC (Hansen, Wang and Su, ICML 2022).
    """
    recipe, begun = ValueRecipe() if recipe is None else recipe, time.monotonic()
    if model.context != 1 or not bool(torch.isfinite(torch.stack([model.low, model.high])).all()):
        raise GraspPlannerError(
            "train_value needs a world model of context 1 with finite bounds, got context "
            f"{model.context}, low {model.low.tolist()} and high {model.high.tolist()}"
        )
    check_kind(Path(out), "return")
    keys = (*recipe.observations, "reward")
    episodes = joined(data_sets(data, keys), keys)
    with frozen(model):  # a model in training mode would predict at random, or change its statistics
        training, held_out = (steps_of(model, part, recipe) for part in split(episodes, recipe.validation, recipe.seed))
        folder = make_folder(Path(out))
        fitting = Fitting(model, recipe, training, CSVLog(folder / "log.csv", 0))
        with progress_bar("reward", recipe.reward_steps, show=progress) as advance:
            fitting.fit_reward(advance)
        with progress_bar("value", recipe.iterations, show=progress) as advance:
            learned = fitting.fit_value(advance)
        reward_error, value_error = fitting.errors(learned, held_out)
    learned.save_pretrained(folder)
    done = ValueTraining(folder, round(time.monotonic() - begun, 1), reward_error, value_error)
    numbers = {"seconds": done.seconds, "reward_error": reward_error, "value_error": value_error}
    write_json(folder / "training.json", {"recipe": asdict(recipe), "data": describe(episodes), **numbers})
    return done


@torch.no_grad()
def steps_of(model: WorldModel, episodes: Episodes, recipe: ValueRecipe) -> Steps:
    """Cut the model steps from episodes, at most ``MOST_STEPS``; the rewards within a model step are added up.

    Raises:
        GraspPlannerError: frameskips or actions do not fit together, or rewards, actions or latents are not finite.
    """
    if model.frameskip % episodes.frameskip:
        raise GraspPlannerError(
            f"the model's frameskip {model.frameskip} must be a multiple of the data's, got {episodes.frameskip}"
        )
    check_action_size(model, episodes)
    count = model.frameskip // episodes.frameskip  # data steps in a model step
    windows = Windows(episodes, 1, count, episodes.frameskip, (*recipe.observations, "reward"))
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(windows))[:MOST_STEPS])
    pieces: list[tuple[Tensor, ...]] = []
    for rows in np.array_split(chosen, -(-len(chosen) // _AT_ONCE)):
        batch = to_tensors(windows[rows], model.low.device)
        latents = model.encode({key: batch[key][:, :1] for key in recipe.observations})[:, 0]
        blocks = batch["actions"].flatten(1).unflatten(1, (model.frameskip, -1))
        pieces.append((latents, model_actions(model, blocks), batch["reward"][:, 1:].flatten(1).sum(1)))
    states, actions, rewards = (torch.cat(part) for part in zip(*pieces, strict=True))
    if not all(bool(part.isfinite().all()) for part in (states, actions, rewards)):
        raise GraspPlannerError("the data must be finite, found NaN or infinity in the rewards, actions or latents")
    return Steps(states, actions, rewards)


class Fitting:
    """The networks while they are fitted, with everything that all of their optimiser steps use.

    Args:
        model: the world model.
        recipe: the settings.
        steps: the training data.
        log: the log of the losses.
    """

    def __init__(self, model: WorldModel, recipe: ValueRecipe, steps: Steps, log: CSVLog) -> None:
        self.model, self.recipe, self.steps, self.log = model, recipe, steps, log
        self.generator = torch.Generator().manual_seed(recipe.seed)
        config = LearnedReturnConfig(len(model.scale), len(model.low), recipe.discount, recipe.width, recipe.depth)
        with seeded(recipe.seed):
            self.learned = LearnedReturn(config)
        self.learned.scale.copy_(model.scale)
        self.learned.mean.copy_(steps.rewards.mean())
        self.learned.std.copy_(steps.rewards.std().clamp(min=1e-6))
        self.learned.to(model.low.device)

    def fit_reward(self, advance: Callable[[int], None]) -> None:
        """Fit the reward model to the rewards of the data."""
        recipe, learned = self.recipe, self.learned
        update = regression("reward", learned.reward_network, recipe.lr, recipe.reward_steps, self.log)
        for _ in range(recipe.reward_steps):
            some = self.steps.drawn(recipe.batch, self.generator)
            update((learned.reward(some.states, some.actions) - some.rewards) / learned.std)
            advance(1)
        learned.reward_network.requires_grad_(False)

    def fit_value(self, advance: Callable[[int], None]) -> LearnedReturn:
        """Fit the value to its targets in every iteration, and return the running average of the networks."""
        recipe, learned, average = self.recipe, self.learned, running_average(self.learned, self.recipe.average)
        found = average.module
        assert isinstance(found, LearnedReturn)
        least, most = (float(end) / (1 - recipe.discount) for end in self.steps.rewards.aminmax())
        size = float(learned.std) / (1 - recipe.discount)
        steps = recipe.iterations * recipe.updates
        update = regression("value", learned.value_network, recipe.lr, steps, self.log)
        for _ in range(recipe.iterations):
            states = self.steps.drawn(recipe.states, self.generator).states
            wanted = self.targets(found, states).clamp(least, most)
            for _ in range(recipe.updates):
                rows = torch.randint(recipe.states, (recipe.batch,), generator=self.generator).to(states.device)
                update((learned.value(states[rows]) - wanted[rows]) / size)
                average.update_parameters(learned)
            advance(1)
        return found.eval()

    @torch.no_grad()
    def targets(self, learned: LearnedReturn, states: Float[Tensor, "b s"]) -> Float[Tensor, " b"]:
        """Return the best discounted return of n random plans of k model steps, with the value at their end."""
        count, horizon = self.recipe.candidates, self.recipe.horizon
        problem = Problem.observed(self.model, states[:, None], None, horizon, objective=learned.objective())
        low, shape = problem.low, (len(states) * count, min(2, horizon), problem.action_size)
        share = 1.5 * torch.rand(shape, generator=self.generator).to(low) - 0.25
        drawn = problem.clamp(low + (problem.high - low) * share)
        plans = torch.cat([drawn[:, :1], drawn[:, 1:].expand(-1, horizon - 1, -1)], dim=1)
        many = problem.repeat(count)
        return -many.cost(many.rollout(plans), plans).unflatten(0, (len(states), count)).amin(1)

    @torch.no_grad()
    def errors(self, learned: LearnedReturn, steps: Steps) -> tuple[float, float]:
        """Return the mean absolute error of the reward, and that of the value compared with its target."""
        wrong = learned.reward(steps.states, steps.actions) - steps.rewards
        states = steps.drawn(self.recipe.states, self.generator).states
        return float(wrong.abs().mean()), float((learned.value(states) - self.targets(learned, states)).abs().mean())
