"""``grasp demo``: plan Push-T with four planners, execute the plans, and show the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grasp_planner.bench.running.observing import model_steps
from grasp_planner.bench.running.open_loop import Evaluation
from grasp_planner.bench.running.planning_frames import Recorder, Recording
from grasp_planner.bench.running.task_models import model_for
from grasp_planner.bench.suites.settings import RECOMMENDED
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.cli.checks import check_show
from grasp_planner.cli.drawing import Animation, check_drawing, draw
from grasp_planner.cli.evaluating import evaluate_with_bar
from grasp_planner.cli.folders import output_folder
from grasp_planner.cli.limits import budget_of, threads
from grasp_planner.cli.parsing import parse
from grasp_planner.cli.results import write_plans, write_results
from grasp_planner.cli.tables import consoles, print_results
from grasp_planner.core.plans import Budget
from grasp_planner.io.progress import progress_bars
from grasp_planner.models.registry import load_world_model
from grasp_planner.planners import PLANNERS
from grasp_planner.planners.presets import PRESETS
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.protocol import Planner

INTERRUPTED = 130
TASK, HORIZON = "push_t/dset/v2", 50
SECONDS = 20.0  # for each planner, if no budget is given
COMPARED = (RECOMMENDED, "grasp", "cem", "gd")
PICTURED = (RECOMMENDED, "grasp")


@dataclass(frozen=True)
class Demo:
    """Plan Push-T with the recommended planner, GRASP, CEM and GD, and execute the plans in the simulator.

    All four planners plan the same episodes, 50 environment steps ahead, in the same learned model with the same
    budget. The command prints a table, and writes results.json, the plans (recommended.npz, grasp.npz, cem.npz,
    gd.npz), planning.png (the recommended planner and GRASP) and an animation of the recommended planner. It takes less
    than two minutes on two cores.

    Args:
        out: the folder for the files.
        episodes: number of problems, planned in one batch.
        seconds: budget of each planner in seconds of wall-clock time. Plans then depend on the speed of the machine.
        steps: budget of each planner in planner steps, instead of seconds.
        transitions: budget of each planner in model steps per episode, instead of seconds.
        seed: seed of the planners' noise.
        show: number of the episode in the picture and the animation.
        animation: format of the animation.
        threads: number of threads of torch; 1 is best for a small model.
        model: a packaged name, a folder with config.json and model.safetensors, or owner/name on the Hugging Face Hub.
    """

    out: Path = Path("out/demo")
    episodes: int = 10
    seconds: float | None = None
    steps: int | None = None
    transitions: int | None = None
    seed: int = 0
    show: int = 0
    animation: Animation = "mp4"
    threads: int = 1
    model: str = "pusht-state"


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    demo = parse(Demo, arguments, "demo")
    check_show(demo.show, demo.episodes)
    check_drawing(demo.animation)
    asked_task = task(TASK, HORIZON)
    model_called = model_for(asked_task, demo.model)
    budget = budget_of(demo.steps, demo.seconds, demo.transitions, default=Budget(seconds=SECONDS))
    console, progress_console = consoles()
    with threads(demo.threads), output_folder(demo.out) as folder:
        model = load_world_model(model_called)
        model_steps(model, HORIZON)
        asked = episodes(asked_task, count=demo.episodes)
        evaluations: list[Evaluation] = []
        recordings: list[Recording] = []
        with progress_bars(progress_console) as bars:
            for name in COMPARED:
                planner = settings_of(name)
                recorder = Recorder(planner, demo.show)
                found = evaluate_with_bar(asked_task, model, planner, budget, asked, demo.seed, recorder, bars)
                write_plans(folder / f"{name}.npz", found)
                evaluations.append(found)
                if name in PICTURED and (recording := recorder.recording(found, model)) is not None:
                    recordings.append(recording)
                if found.interrupted:
                    break
            write_results(folder / "results.json", evaluations, command="demo", model=model_called, seed=demo.seed)
            finished = draw(recordings, folder, demo.animation, bars)
        written = sorted(path.name for path in folder.iterdir())
    print_results(console, evaluations, model_called)
    console.print(f"written to {demo.out}: {', '.join(written)}")
    return INTERRUPTED if not finished or evaluations[-1].interrupted else 0


def settings_of(name: str) -> Planner:
    """Return the recommended planner, or a planner with its preset for Push-T or, without preset, its defaults."""
    if name == RECOMMENDED:
        return recommended()
    tuned = f"{name}/push-t"
    return PRESETS[tuned] if tuned in PRESETS else PLANNERS[name]()
