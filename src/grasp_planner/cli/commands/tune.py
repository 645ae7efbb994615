"""``grasp tune``: search settings of planners for a task and a model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from grasp_planner.bench.records import versions
from grasp_planner.bench.running.observing import model_steps
from grasp_planner.bench.running.planner_tuning import Losses, Tuned, TunedPlanner, tune_planners
from grasp_planner.bench.running.task_losses import TaskLosses
from grasp_planner.bench.running.task_models import check_actions
from grasp_planner.bench.tasks import digest, episodes, task
from grasp_planner.cli.checks import check_device
from grasp_planner.cli.configuration import parse_with_file, write_config
from grasp_planner.cli.folders import hint_when_stopped, json_text, leaving_no_empty_folder, output_folder
from grasp_planner.cli.limits import TRANSITIONS, budget_of, threads
from grasp_planner.cli.python_objects import content_hash, is_python_object, model_called, named_model, python_object
from grasp_planner.cli.tables import consoles
from grasp_planner.control.planner_files import DIGITS, save_planner
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget
from grasp_planner.io.progress import progress_bars
from grasp_planner.io.typed_json import to_json

SCHEMA = 1
EPISODES = 10  # of a packaged task, if no number is given
CONFIG_FILE, BEST_FILE = "tune.toml", "planner.json"


@dataclass(frozen=True)
class Tune:
    """Search settings of planners for a task and a model, with the same number of trials for every planner.

    Each trial plans the same validation episodes with the same budget and executes the plans. Optuna suggests the
    settings. The command prints a table, and writes planner.json (the best planner), planner-NAME.json (the best
    settings of each planner), tune.json (all trials), trials.db (the storage of Optuna), and tune.toml, with which
    --config repeats the run. Use the best planner with `grasp plan planner:OUT/planner.json`, or `load_planner`.

    If the command is stopped or killed, run it again: it continues where it stopped. A larger --trials continues a
    finished run.

    Args:
        task: world, or world/goal source; or FILE.py:NAME, a function of your own that returns the losses of a planner:
            NAME(planner, budget, seed) -> a loss for each validation episode.
        model: a packaged name, a folder with config.json and model.safetensors, or FILE.py:NAME, a world model or a
            function that returns one. None: the model of the task's world.
        horizon: environment steps from start to goal; None: the task's own horizon.
        episodes: number of validation episodes; None: 10.
        planners: planners to tune: cem, icem, mppi, gd, latco, grasp, gauss_newton.
        trials: number of trials of each planner. The first trials are known good settings.
        steps: budget in planner steps. The default budget is --transitions 30000.
        seconds: budget in seconds of wall-clock time. The trials then depend on the speed of the machine.
        transitions: budget in model steps per episode.
        seed: seed of the suggestions and of the planners' noise.
        out: the folder for the files.
        device: where the model runs: cpu, cuda, cuda:1, mps. A model in a Python file chooses its device itself.
        threads: number of threads of torch; None: torch's default. 1 is best for small models on a busy machine.
        config: TOML file with settings; flags override them.
    """

    task: str = "push_t"
    model: str | None = None
    horizon: int | None = None
    episodes: int | None = None
    planners: tuple[str, ...] = ("gauss_newton", "grasp", "gd", "cem")
    trials: int = 20
    steps: int | None = None
    seconds: float | None = None
    transitions: int | None = None
    seed: int = 0
    out: Path = Path("out/tune")
    device: str = "cpu"
    threads: int | None = None
    config: Path | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_with_file(Tune, arguments, "tune")
    check_device(settings.device)
    budget = budget_of(settings.steps, settings.seconds, settings.transitions, default=Budget(transitions=TRANSITIONS))
    settings = replace(settings, config=None, **asdict(budget))
    console, progress_console = consoles()
    shown: dict[str, Callable[..., None]] = {}
    with (
        threads(settings.threads),
        leaving_no_empty_folder(settings.out),
        hint_when_stopped(lambda: "run the same command again to continue where it stopped"),
        progress_bars(progress_console) as bars,
    ):
        prepare = own_losses if is_python_object(settings.task) else task_losses
        losses, about, settings = prepare(settings)

        def watch(name: str, done: int, remark: str) -> None:
            if name not in shown:
                shown[name] = bars.task(f"tuning {name}")
            shown[name](min(1.0, done / settings.trials), f"{done} of {settings.trials} trials  {remark}")

        tuned = tune_planners(
            losses,
            settings.planners,
            settings.trials,
            budget,
            settings.out,
            seed=settings.seed,
            about=about,
            watch=watch,
        )
    write_tuned(settings, tuned, about)
    console.print(table_of(tuned, solved=isinstance(losses, TaskLosses)))
    written = ", ".join(sorted(path.name for path in settings.out.iterdir()))
    for line in [*failures(tuned), f"written to {settings.out}: {written}", how_to_measure(settings)]:
        console.out(line)  # without wrapping or markup: commands are copied, and errors may hold brackets
    return 0


def task_losses(settings: Tune) -> tuple[Losses, dict[str, Any], Tune]:
    """Prepare the tuning on a packaged task.

    Returns:
        The losses; JSON values that identify the task, its episodes and the model; the settings with these values
        instead of ``None`` and of short names.
    """
    asked = task(settings.task, settings.horizon)
    name = model_called(asked, settings.model)
    model = named_model(name, settings.device)
    model_steps(model, asked.horizon)  # what does not fit is refused before any work
    check_actions(asked, model)
    found = episodes(asked, "validation", EPISODES if settings.episodes is None else settings.episodes)
    chosen = {"task": asked.name, "horizon": asked.horizon, "model": name}
    about = {**chosen, "episodes": digest(found), "model_hash": content_hash(name)}
    return TaskLosses(asked, model, found), about, replace(settings, **chosen, episodes=len(found))


def own_losses(settings: Tune) -> tuple[Losses, dict[str, Any], Tune]:
    """Prepare the tuning on a function of losses in the user's file.

    Returns:
        The losses; JSON values that identify the file; the settings.

    Raises:
        GraspPlannerError: the file has no such function, or a setting is given that belongs to the file.
    """
    for name in ("model", "horizon", "episodes", "device"):
        if getattr(settings, name) != getattr(Tune, name):
            raise GraspPlannerError(f"--{name} is for packaged tasks; the {name} of {settings.task} is set in its file")
    losses: Losses = python_object(settings.task)
    if not callable(losses):
        raise GraspPlannerError(
            f"{settings.task}: needed a function NAME(planner, budget, seed) that returns a loss for each validation "
            f"episode, got {type(losses).__name__}"
        )
    return losses, {"task": settings.task, "task_hash": content_hash(settings.task)}, settings


def how_to_measure(settings: Tune) -> str:
    """Say how to measure the best planner on test episodes."""
    path = settings.out / BEST_FILE
    if is_python_object(settings.task):
        return f"The best planner is in {path}: load it with load_planner, and measure it on test episodes."
    words = ["grasp", "plan"]
    for name in ("task", "horizon", "model", "steps", "seconds", "transitions", "device"):
        if (value := getattr(settings, name)) not in (None, Tune.device):
            words += [f"--{name}", f"{value}"]
    return f"The best planner is in {path}. To measure it on test episodes: {shlex.join([*words, f'planner:{path}'])}"


def write_tuned(settings: Tune, tuned: Tuned, about: dict[str, Any]) -> None:
    """Write the best planners, all trials and the resolved settings of the run."""
    with output_folder(settings.out) as folder:
        for one in tuned.planners:
            if (planner := one.planner) is not None and one.best is not None:
                origin = {**about, "trial": one.best.number, "trials": len(one.trials), "loss": one.best.loss}
                save_planner(planner, folder / f"planner-{one.name}.json", origin)
                if one is tuned.planners[0]:
                    save_planner(planner, folder / BEST_FILE, origin)
        write_config(folder / CONFIG_FILE, settings, "tune")
        content = {
            "schema": SCHEMA,
            "command": "tune",
            "about": about,
            "settings": to_json(settings, DIGITS),
            "versions": versions(),
            "best": tuned.planners[0].name,
            "planners": [planner_json(one) for one in tuned.planners],
        }
        (folder / "tune.json").write_text(json_text(content), encoding="utf-8")


def planner_json(tuned: TunedPlanner) -> dict[str, Any]:
    """Return the trials of a planner as JSON values."""
    best = tuned.best
    return {
        "name": tuned.name,
        "best_trial": None if best is None else best.number,
        "loss": None if best is None else best.loss,
        "failed": tuned.failed,
        "trials": [{**to_json(one, DIGITS), "loss": one.loss} for one in tuned.trials],
    }


def table_of(tuned: Tuned, solved: bool) -> Any:
    """Return a table with a row for each planner, the best planner first."""
    from rich.table import Table

    table = Table(title="tuning on validation episodes", title_justify="left")
    table.add_column("planner")
    for column in ["solved"] * solved + ["mean loss", "best trial", "trials", "failed", "seconds"]:
        table.add_column(column, justify="right")
    for one in tuned.planners:
        best = one.best
        counts = [f"{len(one.trials)}", f"{one.failed}", f"{sum(trial.seconds for trial in one.trials):.1f}"]
        if best is None:
            table.add_row(one.name, *["-"] * (2 + solved), *counts)
            continue
        won = [f"{sum(loss < 1 for loss in best.losses)} / {len(best.losses)}"] * solved
        table.add_row(one.name, *won, f"{best.loss:.4g}", f"{best.number}", *counts)
    return table


def failures(tuned: Tuned) -> list[str]:
    """Return a line for each planner with failed trials: how many failed, and why the first one failed."""
    lines = []
    for one in tuned.planners:
        if one.failed:
            first = next(trial for trial in one.trials if trial.error)
            lines.append(
                f"{one.name}: {one.failed} of {len(one.trials)} trials failed; trial {first.number}: {first.error}"
            )
    return lines
