"""``grasp train``: a world model from a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as new_field
from pathlib import Path
from typing import Annotated, Any

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import check_device, command_class, parse, settings_from
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.training import RECIPES, FabricEngine, Recipe, Training, recipe, train


@dataclass(frozen=True)
class Train:
    """Train a world model by a recipe, on one data set or several.

    Writes config.json and model.safetensors (open them with `load_world_model`), training.json, log.csv and
    validation.csv. After a stop, --resume goes on exactly as if nothing had happened. Every field of the recipe is a
    flag below; name the recipe before asking for --help, for its own defaults.

    Args:
        recipe: pusht-state, wall-state, pointmaze-state; with pictures: pusht-pixels, wall-pixels, pointmaze-pixels.
        data: folders of data sets.
        out: the folder for the model and the logs.
        resume: go on from the last checkpoint in --out.
        device: cpu, cuda, cuda:1, mps.
        devices: how many devices to share each batch between, through lightning-fabric; 1: --device alone.
        tensorboard: log for TensorBoard, too.
        validate_every: steps from one validation to the next.
        checkpoint_every: steps from one checkpoint to the next.
    """

    recipe: str
    data: tuple[Path, ...]
    out: Path
    resume: bool = False
    device: str = "cpu"
    devices: int = 1
    tensorboard: bool = False
    validate_every: int = 2000
    checkpoint_every: int = 1000


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings, chosen = parsed(arguments)
    check_device(settings.device)
    console, _ = consoles()
    for name in ("validate_every", "checkpoint_every", "devices"):
        if getattr(settings, name) < 1:
            raise GraspPlannerError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(settings, name)}")
    with (
        leaving_no_empty_folder(settings.out),
        hint_when_stopped("the same command with --resume goes on where it stopped"),
    ):
        engine = FabricEngine(settings.devices, precision=chosen.precision) if settings.devices > 1 else None
        trained = train(
            chosen,
            settings.data,
            settings.out,
            resume=settings.resume,
            device=settings.device,
            engine=engine,
            tensorboard=settings.tensorboard,
            validate_every=settings.validate_every,
            checkpoint_every=settings.checkpoint_every,
        )
    console.print(errors_table(trained))
    console.print(f"{trained.steps:,} steps in {trained.seconds:,.0f} s; the model is in {trained.folder}")
    return 0


def parsed(arguments: Sequence[str]) -> tuple[Train, Recipe]:
    """What the words ask for: everything but the recipe, and the recipe with its changes.

    Raises:
        GraspPlannerError: an unknown recipe, or a setting out of range.
    """
    import tyro

    named = bool(arguments) and not arguments[0].startswith("-")
    base = recipe(arguments[0]) if named else next(iter(RECIPES.values()))
    flags = command_class(Recipe, **{name: getattr(base, name) for name in base.__dataclass_fields__})
    nested = (
        "changed",
        Annotated[flags, tyro.conf.arg(name="")],
        new_field(default_factory=flags),
    )
    found: Any = parse(command_class(Train, positional=("recipe",), more=[nested]), arguments, "train")
    return settings_from(Train, found), settings_from(Recipe, found.changed)


def errors_table(trained: Training) -> Any:
    """Open-loop errors on held-out episodes: one row a measure, one column a horizon."""
    from rich.table import Table

    table = Table(title="open-loop errors on held-out episodes, mean (median)", title_justify="left")
    table.add_column("after environment steps")
    horizons = sorted({horizon for errors in trained.errors.values() for horizon in errors}, key=int)
    for horizon in horizons:
        table.add_column(horizon, justify="right")
    for name, errors in trained.errors.items():
        cells = [f"{errors[h]['mean']:.3g} ({errors[h]['median']:.3g})" if h in errors else "-" for h in horizons]
        table.add_row(name, *cells)
    return table
