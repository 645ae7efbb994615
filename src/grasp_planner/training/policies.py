"""Policies: imitation of the actions between two states of an episode, and of plans that reached their goals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.core.checks import at_least, between_zero_and_one, whole
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.core.surroundings import planning_mode
from grasp_planner.core.world_model import WorldModel, goal_objective, model_actions
from grasp_planner.data import Episodes, Windows, split
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.progress import progress_bar
from grasp_planner.io.text_files import write_json
from grasp_planner.models.checkpoint import check_kind
from grasp_planner.models.learned_policy import LearnedPolicy, LearnedPolicyConfig
from grasp_planner.training.logs import CSVLog
from grasp_planner.training.regression import regression
from grasp_planner.training.schedules import running_average
from grasp_planner.training.seeding import seeded
from grasp_planner.training.sources import Data, check_action_size, data_sets, describe, joined
from grasp_planner.training.symmetry import SYMMETRIES, with_images
from grasp_planner.training.validation import to_tensors

_AT_ONCE = 4096  # rows that are encoded together
_MEASURED = 4096  # held-out pairs of state and goal


@dataclass(frozen=True)
class PolicyRecipe:
    """The settings for learning a policy.

    Args:
        observations: the observations that the world model encodes.
        horizon: K, the largest number of model steps from a state to its goal; at least the horizon of later problems.
        symmetry: name of the symmetry that augments the data, see ``training.symmetry``; ``None``: no augmentation.
        plan_share: share of each batch that comes from plans, if there are plans; above 0, it is at least one row.
        validation: share of the episodes that are held out.
        seed: seed of the initial weights, of the split, of the symmetry and of the batches.
        width: units in a hidden layer.
        depth: hidden layers.
        steps: optimiser steps.
        batch: pairs of state and goal per optimiser step.
        lr: maximum learning rate, reached by a linear warm-up and followed by a cosine to zero.
        average: decay per optimiser step of the running average of the network, which is saved.

    Raises:
        GraspPlannerError: a number is out of range, the symmetry is unknown, or a symmetry is given with other
            observations than states.

    Example:
        >>> PolicyRecipe(horizon=10, symmetry="push_t").steps
        10000
    """

    observations: tuple[str, ...] = ("state",)
    horizon: int = 16
    symmetry: str | None = None
    plan_share: float = 0.5
    validation: float = 0.05
    seed: int = 0
    width: int = LearnedPolicyConfig.width
    depth: int = LearnedPolicyConfig.depth
    steps: int = 10_000
    batch: int = 256
    lr: float = 1e-3
    average: float = 0.999

    def __post_init__(self) -> None:
        whole(self, 1, "horizon", "steps", "batch", "width", "depth")
        whole(self, 0, "seed")
        at_least(self, 0, "lr")
        between_zero_and_one(self, "average", "plan_share", "validation")
        if self.symmetry is not None and self.symmetry not in SYMMETRIES:
            raise unknown_name("symmetry", self.symmetry, SYMMETRIES)
        if self.symmetry is not None and self.observations != ("state",):
            raise GraspPlannerError(
                f"PolicyRecipe.symmetry needs the observations ('state',), got {self.symmetry!r} with "
                f"{self.observations}"
            )


@dataclass(frozen=True)
class PolicyTraining:
    """The result of :func:`train_policy`.

    Attributes:
        folder: the folder with ``config.json``, ``model.safetensors``, ``training.json`` and ``log.csv``.
        seconds: wall-clock time.
        error: root mean squared error of the model actions on held-out episodes, in units of their standard deviation.
            It does not fall to 0 if many actions lead from a state to a goal.

    Example:
        >>> PolicyTraining(Path("runs/mine"), seconds=2.5, error=0.4).folder.name
        'mine'
    """

    folder: Path
    seconds: float
    error: float


class Examples(NamedTuple):
    """Pairs of state and goal, the number of model steps between the two, and the first model action."""

    states: Float[Tensor, "n s"]
    goals: Float[Tensor, "n s"]
    steps: Int[Tensor, " n"]
    actions: Float[Tensor, "n a"]


@dataclass(frozen=True, eq=False)
class Hindsight:
    """The model steps of episodes, with all later states of the same episode as goals.

    Attributes:
        latents: all observations, encoded.
        actions: the model action of each model step.
        first: the row of ``latents`` from which each model step starts.
        most: the largest number of model steps from there to a goal.
        stride: rows of ``latents`` in a model step.
    """

    latents: Float[Tensor, "rows s"]
    actions: Float[Tensor, "n a"]
    first: Int[Tensor, " n"]
    most: Int[Tensor, " n"]
    stride: int

    def drawn(self, count: int, generator: torch.Generator) -> Examples:
        """Draw model steps with replacement, and for each a goal from 1 to ``most`` model steps later."""
        rows = torch.randint(len(self.actions), (count,), generator=generator).to(self.first.device)
        share = torch.rand(count, generator=generator).to(self.first.device)
        here, most = self.first[rows], self.most[rows]
        steps = torch.minimum(1 + (share * most).long(), most)  # the product can be rounded up to `most`
        return Examples(self.latents[here], self.latents[here + steps * self.stride], steps, self.actions[rows])


def train_policy(
    model: WorldModel,
    data: Data | Sequence[Data],
    out: str | Path,
    recipe: PolicyRecipe | None = None,
    *,
    plans: Data | Sequence[Data] | None = None,
    progress: bool = True,
) -> PolicyTraining:
    """Learn a goal-conditioned policy for a trained world model by imitation, and save it in a folder.

        minimise  E | (pi(s_t, s_{t+k}, k) - a_t) / std |^2,    k uniform over 1 .. min(K, model steps left)

    Every later state of an episode serves as a goal that was reached (hindsight), so the data need no goals and no
    rewards, and can come from random actions. The actions of plans are better examples: data that a planner collected
    are given as ``plans``, and only the plans that reached their goal are used.

    Args:
        model: the world model, of any context.
        data: a data set's folder, ``Episodes`` in memory, or a sequence of these.
        out: the folder for all files; ``LearnedPolicy.from_pretrained`` loads the result.
        recipe: the settings; ``None``: ``PolicyRecipe()``.
        plans: data sets of executed plans, such as ``PlannerPolicy`` collects, with the key ``"reward"``. An episode is
            used if the reward of its last step is above 0, which in the environments of this package means that the
            episode ends at its goal.
        progress: show a progress bar.

    Raises:
        GraspPlannerError: the data do not fit the model, no plan reached its goal, the loss is no longer finite, or
            ``out`` holds a model of another kind.
        OSError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> from grasp_planner.models import StateModel, StateModelConfig
        >>> walks = [np.cumsum(np.random.default_rng(i).normal(size=(31, 2)), axis=0) for i in range(8)]
        >>> data = Episodes.of([{"state": walk} for walk in walks], [np.diff(walk, axis=0) for walk in walks])
        >>> model = StateModel(StateModelConfig(state_size=2, action_size=2, frameskip=1, substeps=1, width=16))
        >>> quick = PolicyRecipe(horizon=5, steps=3, batch=8, validation=0.25, width=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = train_policy(model, data, folder, quick, progress=False)
        ...     LearnedPolicy.from_pretrained(folder)(torch.zeros(1, 2), torch.ones(1, 2), 3).shape
        torch.Size([1, 2])

    Source: goal-conditioned supervised learning (Ghosh et al., ICLR 2021). Training on plans that were made from the
    policy is a round of expert iteration (Anthony, Tian and Barber, NeurIPS 2017).
    """
    recipe, begun = PolicyRecipe() if recipe is None else recipe, time.monotonic()
    check_kind(Path(out), "policy")
    episodes = joined(data_sets(data, recipe.observations), recipe.observations)
    known, held = split(episodes, recipe.validation, recipe.seed)
    training, held_out = hindsight(model, _augmented(known, recipe), recipe), hindsight(model, held, recipe)
    planned = None if plans is None else reached(plans, recipe)
    experts = None if planned is None else hindsight(model, _augmented(planned, recipe), recipe)
    folder = make_folder(Path(out))
    with progress_bar("policy", recipe.steps, show=progress) as advance:
        policy = _fitted(_new_policy(model, training, recipe), training, experts, recipe, folder, advance)
    error = error_of(policy, held_out, recipe)
    policy.save_pretrained(folder)
    done = PolicyTraining(folder, round(time.monotonic() - begun, 1), error)
    sources = {"data": describe(episodes), "plans": None if planned is None else describe(planned)}
    numbers = {"seconds": done.seconds, "error": done.error}
    write_json(folder / "training.json", {"recipe": asdict(recipe), **sources, **numbers})
    return done


def reached(plans: Data | Sequence[Data], recipe: PolicyRecipe) -> Episodes:
    """Select the episodes of executed plans whose last reward is above 0.

    Raises:
        GraspPlannerError: there is no such episode, or there are no rewards.
    """
    keys = (*recipe.observations, "reward")
    episodes = joined(data_sets(plans, keys), keys)
    last = episodes.array("reward")[episodes.observation_starts + episodes.lengths]
    chosen = np.flatnonzero(last.reshape(len(episodes), -1).sum(1) > 0)
    if not len(chosen):
        raise GraspPlannerError(
            f"no plan of {len(episodes)} reached its goal, that is, ends with a reward above 0: give the planner a "
            "larger budget, or train without plans"
        )
    return episodes.select(chosen)


def hindsight(model: WorldModel, episodes: Episodes, recipe: PolicyRecipe) -> Hindsight:
    """Encode all observations of episodes, and cut the model steps.

    Raises:
        GraspPlannerError: frameskip or actions do not fit the model, or the data or latents are not finite.
    """
    check_action_size(model, episodes)
    windows, device = Windows(episodes, 1, 1, model.frameskip, ()), model.low.device
    numbers = np.arange(len(windows))
    episode, start = windows.locate(numbers)
    counts = episodes.lengths + 1
    latents: list[Tensor] = []
    actions: list[Tensor] = []
    with planning_mode(device, model):
        for rows in _pieces(episodes.observation_rows):
            seen = to_tensors({key: episodes.array(key)[rows] for key in recipe.observations}, device)
            latents.append(model.encode({key: part[:, None] for key, part in seen.items()})[:, 0].float())
        for some in _pieces(numbers):
            blocks = to_tensors(windows[some], device)["actions"].flatten(1).unflatten(1, (model.frameskip, -1))
            actions.append(model_actions(model, blocks).float())
    found = Hindsight(
        torch.cat(latents),
        torch.cat(actions),
        torch.from_numpy((np.cumsum(counts) - counts)[episode] + start).to(device),
        torch.from_numpy(np.minimum((episodes.lengths[episode] - start) // windows.stride, recipe.horizon)).to(device),
        windows.stride,
    )
    if not bool(found.latents.isfinite().all() and found.actions.isfinite().all()):
        raise GraspPlannerError("the data must be finite, found NaN or infinity in the actions or the latents")
    return found


@torch.no_grad()
def error_of(policy: LearnedPolicy, steps: Hindsight, recipe: PolicyRecipe) -> float:
    """Return the root mean squared error of the model actions, in units of their standard deviation."""
    some = steps.drawn(_MEASURED, torch.Generator().manual_seed(recipe.seed))
    return float(_errors(policy, some).square().mean().sqrt())


def _errors(policy: LearnedPolicy, some: Examples) -> Float[Tensor, "n a"]:
    return (policy(some.states, some.goals, some.steps) - some.actions) / policy.std


def _new_policy(model: WorldModel, training: Hindsight, recipe: PolicyRecipe) -> LearnedPolicy:
    config = LearnedPolicyConfig(len(model.scale), len(model.low), recipe.horizon, recipe.width, recipe.depth)
    with seeded(recipe.seed):
        policy = LearnedPolicy(config)
    policy.scale.copy_(model.scale)
    policy.counted.copy_(goal_objective(model).weights_like(model.scale) > 0)
    policy.mean.copy_(training.actions.mean(0))
    policy.std.copy_(training.actions.std(0, correction=0).clamp(min=1e-6))
    return policy.to(model.low.device)


def _fitted(
    policy: LearnedPolicy,
    training: Hindsight,
    experts: Hindsight | None,
    recipe: PolicyRecipe,
    folder: Path,
    advance: Callable[[int], None],
) -> LearnedPolicy:
    """Fit the policy, and return its running average."""
    generator, average = torch.Generator().manual_seed(recipe.seed), running_average(policy, recipe.average)
    update = regression("policy", policy.network, recipe.lr, recipe.steps, CSVLog(folder / "log.csv", 0))
    share = 0.0 if experts is None else recipe.plan_share
    planned = max(round(share * recipe.batch), int(share > 0))
    for _ in range(recipe.steps):
        some = training.drawn(recipe.batch - planned, generator)
        if experts is not None:
            both = zip(some, experts.drawn(planned, generator), strict=True)
            some = Examples(*(torch.cat(parts) for parts in both))
        update(_errors(policy, some))
        average.update_parameters(policy)
        advance(1)
    found = average.module
    assert isinstance(found, LearnedPolicy)
    return found.eval()


def _augmented(episodes: Episodes, recipe: PolicyRecipe) -> Episodes:
    return episodes if recipe.symmetry is None else with_images(episodes, recipe.symmetry, recipe.seed)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.array_split(rows, -(-len(rows) // _AT_ONCE))
