"""``grasp plan``: plan episodes of a task with any model, planner and settings, and execute the plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from grasp_planner.bench.running.observing import model_steps
from grasp_planner.bench.running.planning_frames import Recorder
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.cli.checks import check_device, check_show
from grasp_planner.cli.configuration import parse_with_file, write_config
from grasp_planner.cli.drawing import Animation, check_drawing, draw
from grasp_planner.cli.evaluating import evaluate_with_bar
from grasp_planner.cli.folders import output_folder
from grasp_planner.cli.limits import TRANSITIONS, budget_of, threads
from grasp_planner.cli.planner_choices import PLANNER_FIELD, planner_choices
from grasp_planner.cli.python_objects import model_called, named_model
from grasp_planner.cli.results import write_plans, write_results
from grasp_planner.cli.tables import consoles, print_results
from grasp_planner.core.dynamics import Dynamics
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.plans import Budget
from grasp_planner.io.progress import progress_bars
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.protocol import Planner
from grasp_planner.wrappers.chunked import Chunked
from grasp_planner.wrappers.compiled import Compiled

INTERRUPTED = 130


@dataclass(frozen=True)
class PlanSettings:
    """Plan episodes of a task in a world model, execute the plans in the simulator, and show what happened.

    The command prints a table, and writes plan.json (settings and measurements), plan.npz (actions in model and
    environment units, states), planning.png, an animation, and plan.toml, with which --config repeats the run.

    Choose a planner by planner:NAME, and set its fields by flags: `planner:cem --planner.samples 500`. The name may
    also be that of a preset, `planner:grasp/lewm`, or of a planner file, `planner:out/tune/planner.json`. A planner
    inside the planner is chosen in the same way:
    `planner:multi-start planner.planner:grasp --planner.planner.state-lr 0.1 planner.planner.sync:none`. Write the
    name of a planner before its flags. `grasp plan planner:NAME --help` lists the flags of a planner.

    Args:
        task: world, or world/goal source: push_t, wall, point_maze, ball_nav; push_t/random_state.
        model: a packaged name, a folder with config.json and model.safetensors, owner/name on the Hugging Face Hub, or
            FILE.py:NAME, a world model or a function that returns one. None: the model of the task's world.
        horizon: environment steps from start to goal; None: the task's own horizon.
        episodes: number of problems, planned in one batch.
        split: list that the episodes come from: test for results, validation for tuning.
        seed: seed of the planner's noise.
        steps: budget in planner steps. The default budget is --transitions 30000.
        seconds: budget in seconds of wall-clock time for planning.
        transitions: budget in model steps per episode.
        out: the folder for the files.
        show: number of the episode in the picture and the animation.
        animation: format of the animation.
        device: where the model runs: cpu, cuda, cuda:1, mps. A model in a Python file chooses its device itself.
        compile: compile the model first, which takes a minute. Planning is then faster on a GPU and for large models.
        memory: limit in GiB for evaluating the model, which is split into pieces if necessary. None: no limit.
        threads: number of threads of torch; None: torch's default. 1 is best for small models on a busy machine.
        config: TOML file with settings; flags override them.
        planner: the planner.
    """

    task: str = "push_t"
    model: str | None = None
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
    config: Path | None = None
    planner: Planner = field(default_factory=recommended)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parsed(arguments)
    planner = settings.planner
    check_show(settings.show, settings.episodes)
    check_drawing(settings.animation)
    asked_task = task(settings.task, settings.horizon)
    name = model_called(asked_task, settings.model)
    budget = budget_of(settings.steps, settings.seconds, settings.transitions, default=Budget(transitions=TRANSITIONS))
    check_device(settings.device)
    console, progress_console = consoles()
    with threads(settings.threads), output_folder(settings.out) as folder:
        model = named_model(name, settings.device)
        model_steps(model, asked_task.horizon)  # a horizon that the model cannot have is refused before any work
        asked = episodes(asked_task, settings.split, settings.episodes)
        recorder = Recorder(planner, settings.show)
        with progress_bars(progress_console) as bars:
            dynamics = wrapped(model, settings.compile, settings.memory)
            evaluation = evaluate_with_bar(
                asked_task, model, planner, budget, asked, settings.seed, [recorder], bars, dynamics
            )
            recording = recorder.recording(evaluation, model)
            about = {"command": "plan", "model": name, "seed": settings.seed, "split": settings.split}
            write_results(folder / "plan.json", [evaluation], **about)
            write_plans(folder / "plan.npz", evaluation)
            resolved = replace(settings, task=asked_task.name, horizon=asked_task.horizon, model=name, **asdict(budget))
            write_config(folder / "plan.toml", resolved, "plan", PLANNER_FIELD)
            finished = draw([] if recording is None else [recording], folder, settings.animation, bars)
        written = sorted(path.name for path in folder.iterdir())
    print_results(console, [evaluation], name)
    console.print(f"written to {settings.out}: {', '.join(written)}")
    return INTERRUPTED if not finished or evaluation.interrupted else 0


def wrapped(model: Dynamics, compiled: bool, memory: float | None) -> Dynamics:
    """Return the model, compiled or evaluated in pieces if the settings ask for it.

    Raises:
        GraspPlannerError: ``memory`` (GiB) is not positive.
    """
    if memory is not None and not memory > 0:
        raise GraspPlannerError(f"--memory must be GiB > 0, got {memory}")
    fast = Compiled(model) if compiled else model
    return fast if memory is None else Chunked(fast, memory=int(memory * 2**30))


def parsed(arguments: Sequence[str]) -> PlanSettings:
    """Parse the words of the command line to settings.

    Raises:
        GraspPlannerError: a flag, planner or preset is unknown, or a setting is out of range.
    """
    return parse_with_file(PlanSettings, arguments, "plan", planner_choices(arguments), PLANNER_FIELD)
