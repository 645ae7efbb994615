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
from grasp_planner.cli.planner_choices import label
from grasp_planner.cli.results import write_plans, write_results
from grasp_planner.cli.tables import consoles, listed, print_results
from grasp_planner.core.plans import Budget
from grasp_planner.core.world_model import WorldModel
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
    gd.npz), planning.png (the recommended planner and GRASP) and an animation of the recommended planner. Without
    --show, both show the first episode that the recommended planner solves and GRASP misses. The command takes less
    than two minutes on two cores.

    Args:
        out: the folder for the files.
        episodes: number of problems, planned in one batch.
        seconds: budget of each planner in seconds of wall-clock time. Plans then depend on the speed of the machine.
        steps: budget of each planner in planner steps, instead of seconds.
        transitions: budget of each planner in model steps per episode, instead of seconds.
        seed: seed of the planners' noise.
        show: number of the episode in the picture and the animation; None: an episode in which planners differ.
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
    show: int | None = None
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
        recorded = range(demo.episodes) if demo.show is None else [demo.show]
        recorders: list[list[Recorder]] = []
        with progress_bars(progress_console) as bars:
            for name in COMPARED:
                planner = settings_of(name)
                recorders.append([Recorder(planner, index) for index in recorded] if name in PICTURED else [])
                found = evaluate_with_bar(asked_task, model, planner, budget, asked, demo.seed, recorders[-1], bars)
                write_plans(folder / f"{name}.npz", found)
                evaluations.append(found)
                if found.interrupted:
                    break
            write_results(folder / "results.json", evaluations, command="demo", model=model_called, seed=demo.seed)
            show = episode_to_show(evaluations) if demo.show is None else demo.show
            finished = draw(recordings_of(show, recorders, evaluations, model), folder, demo.animation, bars)
        written = sorted(path.name for path in folder.iterdir())
    print_results(console, evaluations, model_called)
    console.print(about_episode(show, evaluations))
    console.print(f"written to {demo.out}: {', '.join(written)}")
    return INTERRUPTED if not finished or evaluations[-1].interrupted else 0


def episode_to_show(evaluations: Sequence[Evaluation]) -> int:
    """Return the index of the first episode that the first planner solves and another planner misses.

    The other planners are tried in their order: an episode that the second planner misses is preferred to an earlier
    episode that the third planner misses. If there is no such episode, the first episode is returned.
    """
    first, *others = evaluations
    for other in others:
        if (differs := first.success & ~other.success).any():
            return int(differs.argmax())
    return 0


def recordings_of(
    episode: int, recorders: Sequence[Sequence[Recorder]], evaluations: Sequence[Evaluation], model: WorldModel
) -> list[Recording]:
    """Return the recordings of an episode, one for each planner that was recorded; none if the model does not decode.

    Args:
        episode: index of the episode.
        recorders: the recorders of each planner.
        evaluations: the results of each planner.
        model: the model in which the plans were made.
    """
    recordings = [
        recorder.recording(found, model)
        for found, kept in zip(evaluations, recorders, strict=True)
        for recorder in kept
        if recorder.index == episode
    ]
    return [one for one in recordings if one is not None]


def about_episode(episode: int, evaluations: Sequence[Evaluation]) -> str:
    """Return a sentence that says which episode is shown, which planners solved it, and which missed it."""
    solved = [label(one.planner) for one in evaluations if one.success[episode]]
    missed = [label(one.planner) for one in evaluations if not one.success[episode]]
    outcomes = [f"{listed(names)} {verb} it" for names, verb in ((solved, "solved"), (missed, "missed")) if names]
    return f"Episode {episode} is shown: {'; '.join(outcomes)}."


def settings_of(name: str) -> Planner:
    """Return the recommended planner, or a planner with its preset for Push-T or, without preset, its defaults."""
    if name == RECOMMENDED:
        return recommended()
    tuned = f"{name}/push-t"
    return PRESETS[tuned] if tuned in PRESETS else PLANNERS[name]()
