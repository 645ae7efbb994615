"""``grasp train value`` and ``grasp train policy``: learn networks for a trained world model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grasp_planner.cli.checks import check_device
from grasp_planner.cli.folders import leaving_no_empty_folder
from grasp_planner.cli.parsing import parse
from grasp_planner.cli.tables import consoles
from grasp_planner.core.world_model import WorldModel
from grasp_planner.models.registry import load_world_model
from grasp_planner.training import PolicyRecipe, ValueRecipe, train_policy, train_value


@dataclass(frozen=True)
class TrainValue:
    """Learn a reward model and a value function for a trained world model, from data sets with rewards.

    The command writes config.json and model.safetensors (load them with `LearnedReturn.from_pretrained`),
    training.json and log.csv. A training that is stopped begins again from the start.

    Every field of the recipe is a flag, such as `--recipe.discount 0.95`.

    Args:
        model: the world model: a registered name, or a folder that `grasp train` wrote.
        data: folders of data sets with rewards.
        out: the folder for the networks and the log.
        recipe: settings of the training.
        device: cpu, cuda, cuda:1, mps.
    """

    model: str
    data: tuple[Path, ...]
    out: Path
    recipe: ValueRecipe = field(default_factory=ValueRecipe)
    device: str = "cpu"


@dataclass(frozen=True)
class TrainPolicy:
    """Learn a goal-conditioned policy for a trained world model, by imitation of data sets and of plans.

    Goals and rewards are not needed. A policy that was stopped while it was trained begins again from the start.
    `LearnedPolicy.from_pretrained` loads the result, which is config.json and model.safetensors. The command also
    writes training.json and log.csv.

    Settings of the training are flags such as `--recipe.horizon 10`.

    Args:
        data: folders of data sets.
        plans: folders of data sets that a planner collected. Only plans that reached their goal are used.
        model: the world model: a registered name, or a folder that `grasp train` wrote.
        out: the folder for the network and the log.
        device: cpu, cuda, cuda:1, mps.
        recipe: settings of the training.
    """

    data: tuple[Path, ...]
    model: str
    out: Path
    plans: tuple[Path, ...] = ()
    device: str = "cpu"
    recipe: PolicyRecipe = field(default_factory=PolicyRecipe)


def learn_value(arguments: Sequence[str]) -> int:
    """Run ``grasp train value`` and return its exit status."""
    settings = parse(TrainValue, arguments, "train value")
    console, _ = consoles()
    with _model_for(settings) as model:
        done = train_value(model, settings.data, settings.out, settings.recipe)
    console.print(
        f"mean absolute error on held-out episodes: {done.reward_error:.3g} of the reward, "
        f"{done.value_error:.3g} of the value compared with its target"
    )
    console.print(f"{done.seconds:,.0f} s; the reward and the value are in {done.folder}")
    return 0


def learn_policy(arguments: Sequence[str]) -> int:
    """Run ``grasp train policy`` and return its exit status."""
    settings = parse(TrainPolicy, arguments, "train policy")
    console, _ = consoles()
    with _model_for(settings) as model:
        done = train_policy(model, settings.data, settings.out, settings.recipe, plans=settings.plans or None)
    console.print(f"error of the actions on held-out episodes: {done.error:.3g} of their standard deviation")
    console.print(f"{done.seconds:,.0f} s; the policy is in {done.folder}")
    return 0


@contextmanager
def _model_for(settings: TrainValue | TrainPolicy) -> Iterator[WorldModel]:
    """Load the world model, and remove the new folder for the networks if the block fails before writing to it."""
    check_device(settings.device)
    model = load_world_model(settings.model, device=settings.device)
    with leaving_no_empty_folder(settings.out):
        yield model
