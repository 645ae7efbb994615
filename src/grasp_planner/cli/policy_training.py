"""``grasp train policy``: learn a goal-conditioned policy for a trained world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grasp_planner.cli.learning import learning_for
from grasp_planner.cli.parsing import parse
from grasp_planner.cli.tables import consoles
from grasp_planner.training import PolicyRecipe, train_policy


@dataclass(frozen=True)
class TrainPolicy:
    """Learn a goal-conditioned policy for a trained world model, by imitation of data sets and of plans.

    The command writes config.json and model.safetensors (load them with `LearnedPolicy.from_pretrained`),
    training.json and log.csv. A training that is stopped begins again from the start.

    Every field of the recipe is a flag, such as `--recipe.horizon 10`.

    Args:
        model: the world model: a registered name, or a folder that `grasp train` wrote.
        data: folders of data sets; goals and rewards are not needed.
        out: the folder for the network and the log.
        plans: folders of data sets that a planner collected. Only plans that reached their goal are used.
        recipe: settings of the training.
        device: cpu, cuda, cuda:1, mps.
    """

    model: str
    data: tuple[Path, ...]
    out: Path
    plans: tuple[Path, ...] = ()
    recipe: PolicyRecipe = field(default_factory=PolicyRecipe)
    device: str = "cpu"


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(TrainPolicy, arguments, "train policy")
    with learning_for(settings.model, settings.device, settings.out) as model:
        done = train_policy(model, settings.data, settings.out, settings.recipe, plans=settings.plans or None)
    console, _ = consoles()
    console.print(f"error of the actions on held-out episodes: {done.error:.3g} of their standard deviation")
    console.print(f"{done.seconds:,.0f} s; the policy is in {done.folder}")
    return 0
