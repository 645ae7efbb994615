"""``grasp diagnose``: measure and draw the effects of long horizons on a given model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from grasp_planner.cli.checks import check_device
from grasp_planner.cli.folders import json_text, output_folder
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.results import versions
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError, known_name
from grasp_planner.io.progress import progress_bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grasp_planner.bench.tasks import Episode, Task
    from grasp_planner.core.world_model import WorldModel

RHO = 1.2  # spectral radius of the linear model: slightly unstable, so errors grow with the horizon


@dataclass(frozen=True)
class Diagnose:
    """Measure and draw the effects of long horizons on losses, plans and models.

    horizon: gradient and curvature of the rollout's cost and of the lifted loss as the horizon grows, on the model and
        on a linear model whose growth is known. landscape: both losses around a plan. path: the distance to the goal
        along paths that reach the goal. adversarial: the effect of a small change of the state on the predicted
        distance to the goal. wall: virtual states across a wall, with and without gradients to the states. Each
        diagnosis writes a PNG and a JSON file.

    Args:
        what: horizon, landscape, path, adversarial, wall; without a name, all of them.
        out: the folder for the files.
        model: a packaged name, a folder with config.json and model.safetensors, or owner/name on the Hugging Face Hub.
            None: the model of the task's world.
        task: the task that starts and goals come from, with the goal source dset.
        horizon: horizon in environment steps, for landscape and path.
        horizons: horizons in model steps, for horizon.
        episodes: number of problems; the reported numbers are medians over them.
        seed: seed of random actions and directions.
        device: where the model runs.
    """

    what: Annotated[tuple[str, ...], POSITIONAL] = ()
    out: Path = Path("out/diagnose")
    model: str | None = None
    task: str = "push_t"
    horizon: int = 50
    horizons: tuple[int, ...] = (2, 4, 8, 16, 24)
    episodes: int = 8
    seed: int = 0
    device: str = "cpu"


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    asked = parse(Diagnose, arguments, "diagnose")
    what = [known_name("diagnosis", name, DIAGNOSES) for name in asked.what] or list(DIAGNOSES)
    if min(asked.horizons, default=0) < 2 or asked.episodes < 1:
        raise GraspPlannerError(f"--horizons are at least 2 model steps and --episodes at least 1, got {asked}")
    check_device(asked.device)
    console, progress_console = consoles()
    from grasp_planner.bench import tasks
    from grasp_planner.bench.running.observing import model_steps
    from grasp_planner.bench.running.task_models import model_for
    from grasp_planner.cli.limits import threads
    from grasp_planner.figures.style import save_picture
    from grasp_planner.models.registry import load_world_model

    task = tasks.task(asked.task, asked.horizon)
    model_called = model_for(task, asked.model)
    model = load_world_model(model_called, device=asked.device)
    model_steps(model, task.horizon)  # a horizon that the model cannot have is refused before any work
    with threads(1), output_folder(asked.out) as folder, progress_bars(progress_console) as bars:
        update = bars.task("problems")
        drawn = tasks.episodes(task, "validation", asked.episodes)
        update(1.0)
        for name in what:
            update = bars.task(name)
            found, figure, summary = DIAGNOSES[name](asked, task, model, drawn)
            save_picture(figure, folder / f"{name}.png")
            content = {"schema": 1, "model": model_called, "task": task.name, "versions": versions(), name: found}
            (folder / f"{name}.json").write_text(json_text(content), encoding="utf-8")
            update(1.0)
            console.print(f"[bold]{name}[/]: {summary}")
        written = sorted(path.name for path in folder.iterdir())
    console.print(f"written to {asked.out}: {', '.join(written)}")
    return 0


Answer = tuple[Any, "Figure", str]


def _pixels(model: WorldModel) -> int | None:
    """Return the side length of the pictures that a model reads, or ``None`` if it reads none."""
    return getattr(model, "pixels", None)


def _horizon(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.running.observing import problem_of
    from grasp_planner.bench.running.task_models import model_for
    from grasp_planner.bench.studies.loss_growth import growth, linear_growth
    from grasp_planner.figures.model_studies import growth_figure

    problem = problem_of(task, model, drawn, pixels=_pixels(model))
    name = model_for(task, asked.model)
    found = [growth(name, problem, asked.horizons, seed=asked.seed), linear_growth(RHO, asked.horizons)]
    summary = "; ".join(
        f"{one.name}, T = {one.horizons[0]} to {one.horizons[-1]}: curvature of the rollout "
        f"{one.shooting_curvature[0]:.3g} to {one.shooting_curvature[-1]:.3g}, lifted {one.lifted_curvature[0]:.3g} to "
        f"{one.lifted_curvature[-1]:.3g}"
        for one in found
    )
    return [asdict(one) for one in found], growth_figure(found), summary


def _landscape(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.running.observing import problem_of
    from grasp_planner.bench.studies.loss_landscape import landscape
    from grasp_planner.figures.model_studies import landscape_figure

    found = landscape(problem_of(task, model, drawn, pixels=_pixels(model)), seed=asked.seed)
    spans = [max(map(max, values)) / max(min(map(min, values)), 1e-9) for values in (found.shooting, found.lifted)]
    summary = (
        f"over the same square, the rollout's cost varies by a factor {spans[0]:.3g}, the lifted loss by {spans[1]:.3g}"
    )
    return asdict(found), landscape_figure(found), summary


def _path(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.goal_paths import goal_paths
    from grasp_planner.figures.model_studies import paths_figure

    found = goal_paths(task, model, drawn, _pixels(model))
    detours = sum(value > 1 + 1e-6 for value in found.farther)
    summary = (
        f"on paths that reach the goal, {100 * found.away:.0f} % of the model steps lead away from it; "
        f"{detours} of {len(found.farther)} paths are at some time farther from the goal than at the start"
    )
    return asdict(found), paths_figure(found), summary


def _adversarial(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.adversarial_states import adversarial
    from grasp_planner.figures.model_studies import adversarial_figure

    found = adversarial(task, model, drawn, pixels=_pixels(model), seed=asked.seed)
    best = min(range(len(found.sizes)), key=lambda i: found.gradient[i])
    summary = (
        f"a step of {found.sizes[best]:g} scales along the gradient leaves {100 * found.gradient[best]:.0f} % of the "
        f"predicted distance, a step in a random direction {100 * found.chance[best]:.0f} %"
    )
    if found.truth:
        real, nowhere = found.truth[best], found.impossible[best]
        summary += (
            "; no state of the simulator is like this"
            if real is None
            else f"; in the simulator {100 * real:.0f} % remain"
        )
        if real is not None and nowhere:
            summary += f" (in {100 * nowhere:.0f} % of the problems, no state of the simulator is like this)"
    return asdict(found), adversarial_figure(found), summary


def _wall(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.wall_crossing import wall_crossing
    from grasp_planner.figures.model_studies import wall_crossing_figure

    found = wall_crossing(seed=asked.seed)
    summary = "; ".join(
        f"{name}: virtual states pass through the wall in {100 * found.crossed[name]:.0f} % of the problems, the plan "
        f"reaches the goal in {100 * found.reached[name]:.0f} %"
        for name in found.crossed
    )
    return asdict(found), wall_crossing_figure(found), f"on BallNav, whose dynamics are exact, {summary}"


DIAGNOSES: dict[str, Callable[[Diagnose, Task, WorldModel, Sequence[Episode]], Answer]] = {
    "horizon": _horizon,
    "landscape": _landscape,
    "path": _path,
    "adversarial": _adversarial,
    "wall": _wall,
}
