"""``grasp train value``: learn rewards and a value for a trained world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grasp_planner.cli.learning import learning_for
from grasp_planner.cli.parsing import parse
from grasp_planner.cli.tables import consoles
from grasp_planner.training import ValueRecipe, train_value


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


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(TrainValue, arguments, "train value")
    console, _ = consoles()
    with learning_for(settings.model, settings.device, settings.out) as model:
        done = train_value(model, settings.data, settings.out, settings.recipe)
    console.print(
        f"mean absolute error on held-out episodes: {done.reward_error:.3g} of the reward, "
        f"{done.value_error:.3g} of the value compared with its target"
    )
    console.print(f"{done.seconds:,.0f} s; the reward and the value are in {done.folder}")
    return 0
