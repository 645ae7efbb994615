"""``grasp train``: train a world model on data sets. Other words learn a value or a policy for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grasp_planner.cli.checks import check_device
from grasp_planner.cli.choices import Choice, Option
from grasp_planner.cli.configuration import DIGITS, NamedField, parse_with_file, write_config
from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.learning import TrainPolicy, TrainValue, learn_policy, learn_value
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError, known_name, plain_name
from grasp_planner.io.typed_json import from_json, to_json
from grasp_planner.models import StateModelConfig
from grasp_planner.models.latent.model import CONFIGS
from grasp_planner.training import RECIPES, FabricEngine, Recipe, Training, recipe, train
from grasp_planner.training.checkpoints import STATE_FILE

CONFIG_FILE = "train.toml"
LEARNERS = {"value": (TrainValue, learn_value), "policy": (TrainPolicy, learn_policy)}
"""Words that stand for a recipe, as in `grasp train value`, with the settings and the function of their command."""


@dataclass(frozen=True)
class Train:
    """Train a world model by a recipe, on one or several data sets.

    The command writes config.json and model.safetensors (load them with `load_world_model`), training.json, log.csv,
    validation.csv, and train.toml, with which --config repeats the training. If it is stopped, --resume continues it
    with the same result as an uninterrupted training.

    Write the name of the recipe first: `grasp train wall-state --data data/wall --out out/wall`. Every field of the
    recipe is a flag; `grasp train RECIPE --help` lists the flags with the recipe's values.

    `grasp train value` learns rewards and a value for a trained world model, and `grasp train policy` learns a policy;
    see `grasp train value --help` and `grasp train policy --help`.

    Args:
        recipe: the recipe. Recipes whose names contain -pixels, -patches or -lewm train models that read pictures.
        data: folders of data sets.
        out: the folder for the model and the logs.
        resume: continue from the last checkpoint in --out.
        device: cpu, cuda, cuda:1, mps.
        devices: number of devices that share each batch, through lightning-fabric; 1: only --device.
        tensorboard: also write TensorBoard logs.
        wandb: also log to Weights & Biases; the settings of wandb apply, such as WANDB_PROJECT and WANDB_MODE=offline.
        validate_every: optimiser steps between validations.
        checkpoint_every: optimiser steps between checkpoints.
        config: TOML file with settings; flags override them.
    """

    recipe: Recipe
    data: tuple[Path, ...]
    out: Path
    resume: bool = False
    device: str = "cpu"
    devices: int = 1
    tensorboard: bool = False
    wandb: bool = False
    validate_every: int = 2000
    checkpoint_every: int = 1000
    config: Path | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if arguments and (learner := LEARNERS.get(plain_name(arguments[0]))):
        return learner[1](arguments[1:])
    settings = parsed(arguments)
    check_device(settings.device)
    console, _ = consoles()
    for name in ("validate_every", "checkpoint_every", "devices"):
        if getattr(settings, name) < 1:
            raise GraspPlannerError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(settings, name)}")
    with (
        leaving_no_empty_folder(settings.out),
        hint_when_stopped(lambda: how_to_continue(settings.out)),
    ):
        engine = FabricEngine(settings.devices, precision=settings.recipe.precision) if settings.devices > 1 else None
        with storing_settings(settings):
            trained = train(
                settings.recipe,
                settings.data,
                settings.out,
                resume=settings.resume,
                device=settings.device,
                engine=engine,
                tensorboard=settings.tensorboard,
                wandb=settings.wandb,
                validate_every=settings.validate_every,
                checkpoint_every=settings.checkpoint_every,
            )
    console.print(errors_table(trained))
    windows = settings.recipe.windows(trained.steps)
    rate = f"{windows:,} windows, {windows / max(trained.seconds, 1e-9):,.0f} per second"
    console.print(f"{trained.steps:,} steps ({rate}) in {trained.seconds:,.0f} s; the model is in {trained.folder}")
    return 0


@contextmanager
def storing_settings(settings: Train) -> Iterator[None]:
    """Write ``train.toml`` when the block ends, or when Ctrl-C has stopped the training of the block."""
    try:
        yield
    except KeyboardInterrupt:
        if (settings.out / STATE_FILE).is_file():
            write_config(settings.out / CONFIG_FILE, replace(settings, resume=False), "train", RECIPE_FIELD)
        raise
    write_config(settings.out / CONFIG_FILE, replace(settings, resume=False), "train", RECIPE_FIELD)


def how_to_continue(out: Path) -> str:
    """Say how to continue a training that was stopped, depending on whether it has a checkpoint."""
    if (out / STATE_FILE).is_file():
        return "the same command with --resume continues where it stopped"
    return "the training had not begun; run the same command again"


def parsed(arguments: Sequence[str]) -> Train:
    """Parse the words of the command line to settings, with the recipe and its changes.

    Raises:
        GraspPlannerError: the recipe is unknown, or a setting is out of range.
    """
    if arguments and not arguments[0].startswith("-"):  # tyro's message about an unknown recipe names no nearest one
        arguments = [known_name("recipe", arguments[0], [*RECIPES, *LEARNERS]), *arguments[1:]]
    return parse_with_file(Train, arguments, "train", recipe_choice, RECIPE_FIELD)


def recipe_choice(holder: type, hint: Any) -> Choice | None:
    """Return the recipes that a field with the type hint ``Recipe`` can hold, by name; ``None`` for other fields."""
    if hint is not Recipe:
        return None
    options = {
        name: Option(Recipe, f"{type(one.model).__name__.removesuffix('Config')}, {one.steps:,} steps.", one)
        for name, one in RECIPES.items()
    }
    return Choice("recipe", options, named=False)


def read_recipe(value: Any) -> Recipe:
    """Return the recipe of a configuration file: the name of a recipe, or a table.

    The table holds all fields of a recipe, or the name of a recipe and the fields that differ. The table of a model
    has the field ``kind``, the kind of model in ``config.json``: ``"state"``, ``"latent"`` or ``"patches"``.

    Raises:
        GraspPlannerError: the recipe is unknown, a field is missing, unknown or of another type, or settings do not fit
            together.
    """
    if isinstance(value, str):
        return recipe(value)
    if not isinstance(value, Mapping):
        raise GraspPlannerError(f"needed the name of a recipe, or a table of its fields, got {value!r}")
    base = recipe_table(recipe(str(value["name"]))) if "name" in value else {"model": {}}
    table = base | {name: one for name, one in value.items() if name != "name"}
    model = table["model"]
    if not isinstance(model, Mapping):
        raise GraspPlannerError(f"field 'model': needed a table, got {model!r}")
    model = {**base["model"], **model}
    kind = known_name("kind of model", str(model.pop("kind", None)), MODEL_KINDS)
    return from_json(Recipe, table | {"model": from_json(MODEL_KINDS[kind], model, "field 'model'")})


def recipe_table(recipe: Recipe) -> dict[str, Any]:
    """Return all fields of a recipe, for a configuration file."""
    kind = next(name for name, cls in MODEL_KINDS.items() if isinstance(recipe.model, cls))
    content = to_json(recipe, DIGITS)
    return content | {"model": {"kind": kind, **content["model"]}}


MODEL_KINDS: dict[str, type] = {"state": StateModelConfig, **CONFIGS}

RECIPE_FIELD = NamedField(
    name="recipe",
    word=lambda name: name,
    chosen=lambda words: bool(words) and not words[0].startswith("-"),
    read=read_recipe,
    write=recipe_table,
)
"""The recipe of a training, in configuration files."""


def errors_table(trained: Training) -> Any:
    """Return a table of open-loop errors on held-out episodes: a row per measure, a column per horizon."""
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
