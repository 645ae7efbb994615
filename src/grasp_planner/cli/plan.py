"""``grasp plan``: plan episodes of a task with any model, planner and settings, and carry the plans out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from dataclasses import field as new_field
from pathlib import Path
from typing import Annotated, Any, Literal

from grasp_planner.bench.running.planning_frames import Recorder
from grasp_planner.bench.tasks import episodes
from grasp_planner.cli.drawing import Animation, check_drawing, draw
from grasp_planner.cli.folders import output_folder
from grasp_planner.cli.parsing import (
    check_device,
    check_show,
    command_class,
    parse,
    settings_from,
    task_called,
    word_after,
)
from grasp_planner.cli.planner_flags import (
    choices,
    flags_of,
    inner_planners,
    name_of,
    planner_class,
    planner_from,
)
from grasp_planner.cli.results import write_plans, write_results
from grasp_planner.cli.tables import consoles, print_results
from grasp_planner.cli.watching import budget_of, threads, watched
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget
from grasp_planner.io.progress import progress_bars
from grasp_planner.models.registry import load_world_model
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import preset
from grasp_planner.planning.protocol import Planner
from grasp_planner.wrappers.chunked import Chunked
from grasp_planner.wrappers.compiled import Compiled

INTERRUPTED = 130
TRANSITIONS = 30_000  # for each episode, where no budget was given


@dataclass(frozen=True)
class PlanSettings:
    """Plan episodes of a task in a world model, execute the plans in the simulator, and show what happened.

    Prints a table, and writes plan.json (settings and measurements), plan.npz (actions in model and environment
    units, states), planning.png and an animation. Every setting of the planner is a flag; which ones there are depends
    on --planner and --planner.sync, so name them before asking for --help.

    Args:
        task: environment, or environment/goal source: push-t, wall, point-maze, ball-nav; push-t/random-state.
        model: a packaged name, ball-nav, or a folder with config.json and model.safetensors.
        horizon: environment steps from start to goal; None: the task's own.
        episodes: how many problems, planned all at once.
        split: which list of episodes: test for results, validation for tuning.
        seed: of the planner's noise.
        steps: budget: planner steps. With no budget given: --transitions 30000.
        seconds: budget: wall-clock of planning.
        transitions: budget: model steps for each episode.
        out: the folder for the files.
        show: the episode in the picture and the animation.
        animation: its format.
        device: where the model runs: cpu, cuda, cuda:1, mps.
        compile: compile the model first (a minute); pays on a GPU, and for large models.
        memory: GiB that evaluating the model may take; what does not fit is evaluated in pieces. None: no limit.
        threads: of torch; None: its own choice. 1 is best for small models on a busy machine.
        preset: published settings to begin with, such as grasp/lewm or cem/dino-wm; names the planner, too.
    """

    task: str = "push-t"
    model: str = "pusht-state"
    horizon: int | None = None
    episodes: int = 10
    split: Literal["test", "validation"] = "test"
    seed: int = 0
    steps: int | None = None
    seconds: float | None = None
    transitions: int | None = None
    out: Path = Path("out/plan")
    show: int = 0
    animation: Animation = "mp4"
    device: str = "cpu"
    compile: bool = False
    memory: float | None = None
    threads: int | None = None
    preset: str | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings, planner = parsed(arguments)
    check_show(settings.show, settings.episodes)
    check_drawing(settings.animation)
    task = task_called(settings.task, settings.horizon)
    budget = budget_of(settings.steps, settings.seconds, settings.transitions, default=Budget(transitions=TRANSITIONS))
    check_device(settings.device)
    console, progress_console = consoles()
    with threads(settings.threads), output_folder(settings.out) as folder:
        model = load_world_model(settings.model, device=settings.device)
        asked = episodes(task, settings.split, settings.episodes)
        recorder = Recorder(planner, settings.show)
        with progress_bars(progress_console) as bars:
            dynamics = as_run(model, settings.compile, settings.memory)
            evaluation = watched(task, model, planner, budget, asked, settings.seed, recorder, bars, dynamics)
            recording = recorder.recording(evaluation, model)
            about = {"command": "plan", "model": settings.model, "seed": settings.seed, "split": settings.split}
            write_results(folder / "plan.json", [evaluation], **about)
            write_plans(folder / "plan.npz", evaluation)
            finished = draw([] if recording is None else [recording], folder, settings.animation, bars)
        written = sorted(path.name for path in folder.iterdir())
    print_results(console, [evaluation], settings.model)
    console.print(f"written to {settings.out}: {', '.join(written)}")
    return INTERRUPTED if not finished or evaluation.interrupted else 0


def as_run(model: Dynamics, compiled: bool, memory: float | None) -> Dynamics:
    """The model as it is to be run: compiled, in pieces, both, or as it is.

    Raises:
        GraspPlannerError: ``memory`` (GiB) is not positive.
    """
    if memory is not None and not memory > 0:
        raise GraspPlannerError(f"--memory must be GiB > 0, got {memory}")
    fast = Compiled(model) if compiled else model
    return fast if memory is None else Chunked(fast, memory=int(memory * 2**30))


def parsed(arguments: Sequence[str]) -> tuple[PlanSettings, Planner]:
    """What the words ask for: everything but the planner, and the planner.

    The planner and what stands inside it are looked for first, since they decide which flags there are.

    Raises:
        GraspPlannerError: an unknown planner or preset, one that contradicts the other, or a setting out of range.
    """
    import tyro

    name, published = word_after(arguments, "--planner"), word_after(arguments, "--preset")
    defaults = preset(published) if published is not None else planner_class(name or "grasp")()
    if name is not None and planner_class(name) is not type(defaults):
        raise GraspPlannerError(f"preset {published!r} is one of {name_of(defaults)}, but --planner says {name!r}")
    flags = [f"--planner.{one.name}" for one in fields(type(defaults))]  # type: ignore[arg-type]
    inside = {flag.rpartition(".")[2]: word for flag in flags if (word := word_after(arguments, flag)) is not None}
    chosen = flags_of(defaults, inner_planners(defaults, inside))

    which = tyro.conf.arg(help="which planner plans", metavar=choices(PLANNERS))
    nested = tyro.conf.arg(name="planner")
    more = [
        ("planner", Annotated[str, which], name_of(defaults)),
        ("planner_settings", Annotated[chosen, nested], new_field(default_factory=chosen)),
    ]
    found: Any = parse(command_class(PlanSettings, more=more), arguments, "plan")
    return settings_from(PlanSettings, found), planner_from(type(defaults), found.planner_settings)
