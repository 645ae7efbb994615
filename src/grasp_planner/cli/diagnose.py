"""``grasp diagnose``: claims about planning over long horizons, measured and drawn on a model at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasp_planner.cli.folders import output_folder
from grasp_planner.cli.parsing import check_device, command_class, parse, settings_from, task_called
from grasp_planner.cli.results import versions
from grasp_planner.cli.tables import consoles
from grasp_planner.core.errors import GraspPlannerError, unknown_name
from grasp_planner.io.progress import progress_bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grasp_planner.bench.tasks import Episode, Task
    from grasp_planner.core.world_model import WorldModel

RHO = 1.2  # of the linear case: a little unstable, which is where horizons hurt


@dataclass(frozen=True)
class Diagnose:
    """Measure and draw what long horizons do to losses, plans and models.

    horizon: gradient and curvature of the rollout's cost and of the lifted loss as the horizon grows, on the model and
    on a linear one where theory knows the answer. landscape: both losses around a plan. path: the distance to the goal
    along ways that reach it. adversarial: one small step of the state that makes the model predict the goal. wall:
    lifted planning with gradients to the states, through a wall. Writes a PNG and a JSON file for each.

    Args:
        what: horizon, landscape, path, adversarial, wall; none: all of them.
        out: the folder for the files.
        model: a packaged name or a folder with config.json and model.safetensors.
        task: whose starts and goals, with the goal source dset.
        horizon: environment steps, for landscape and path.
        horizons: model steps, for horizon.
        episodes: how many problems the numbers are medians over.
        seed: of random actions and directions.
        device: where the model runs.
    """

    what: tuple[str, ...] = ()
    out: Path = Path("out/diagnose")
    model: str = "pusht-state"
    task: str = "push-t"
    horizon: int = 50
    horizons: tuple[int, ...] = (2, 4, 8, 16, 24)
    episodes: int = 8
    seed: int = 0
    device: str = "cpu"


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parsed: Any = parse(command_class(Diagnose, positional=("what",)), arguments, "diagnose")
    asked = settings_from(Diagnose, parsed)
    for name in asked.what:
        if name not in DIAGNOSES:
            raise unknown_name("diagnosis", name, DIAGNOSES)
    if min(asked.horizons, default=0) < 2 or asked.episodes < 1:
        raise GraspPlannerError(f"--horizons are at least 2 model steps and --episodes at least 1, got {asked}")
    check_device(asked.device)
    console, progress_console = consoles()
    from grasp_planner.bench.tasks import episodes
    from grasp_planner.cli.watching import threads
    from grasp_planner.figures.style import save_picture
    from grasp_planner.models.registry import load_world_model

    task = task_called(asked.task, asked.horizon)
    with threads(1), output_folder(asked.out) as folder, progress_bars(progress_console) as bars:
        model = load_world_model(asked.model, device=asked.device)
        update = bars.task("problems")
        drawn = episodes(task, "validation", asked.episodes)
        update(1.0)
        for name in asked.what or tuple(DIAGNOSES):
            update = bars.task(name)
            found, figure, told = DIAGNOSES[name](asked, task, model, drawn)
            save_picture(figure, folder / f"{name}.png")
            content = {"schema": 1, "model": asked.model, "task": task.name, "versions": versions(), name: found}
            (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            update(1.0)
            console.print(f"[bold]{name}[/]: {told}")
        written = sorted(path.name for path in folder.iterdir())
    console.print(f"written to {asked.out}: {', '.join(written)}")
    return 0


Answer = tuple[Any, "Figure", str]


def _pixels(model: WorldModel) -> int | None:
    """The side of the pictures that a model reads, where it reads any."""
    return getattr(model, "pixels", None)


def _horizon(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.running.observing import problem_of
    from grasp_planner.bench.studies.loss_growth import growth, linear_growth
    from grasp_planner.figures.model_studies import growth_figure

    problem = problem_of(task, model, drawn, pixels=_pixels(model))
    found = [growth(asked.model, problem, asked.horizons, seed=asked.seed), linear_growth(RHO, asked.horizons)]
    told = "; ".join(
        f"{one.name}, T = {one.horizons[0]} to {one.horizons[-1]}: curvature of the rollout "
        f"{one.shooting_curvature[0]:.3g} to {one.shooting_curvature[-1]:.3g}, lifted {one.lifted_curvature[0]:.3g} to "
        f"{one.lifted_curvature[-1]:.3g}"
        for one in found
    )
    return [asdict(one) for one in found], growth_figure(found), told


def _landscape(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.running.observing import problem_of
    from grasp_planner.bench.studies.loss_landscape import landscape
    from grasp_planner.figures.model_studies import landscape_figure

    found = landscape(problem_of(task, model, drawn, pixels=_pixels(model)), seed=asked.seed)
    spans = [max(map(max, values)) / max(min(map(min, values)), 1e-9) for values in (found.shooting, found.lifted)]
    told = f"on the same square the rollout's cost spans a factor {spans[0]:.3g}, the lifted loss {spans[1]:.3g}"
    return asdict(found), landscape_figure(found), told


def _path(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.goal_paths import goal_paths
    from grasp_planner.figures.model_studies import paths_figure

    found = goal_paths(task, model, drawn, _pixels(model))
    detours = sum(value > 1 + 1e-6 for value in found.farther)
    told = (
        f"on ways that reach the goal {100 * found.away:.0f} % of the model steps lead away from it, and "
        f"{detours} of {len(found.farther)} are at some time farther than at the start"
    )
    return asdict(found), paths_figure(found), told


def _adversarial(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.adversarial_states import adversarial
    from grasp_planner.figures.model_studies import adversarial_figure

    found = adversarial(task, model, drawn, pixels=_pixels(model), seed=asked.seed)
    best = min(range(len(found.sizes)), key=lambda i: found.gradient[i])
    told = (
        f"a step of {found.sizes[best]:g} scales along the gradient leaves {100 * found.gradient[best]:.0f} % of the "
        f"predicted distance, a random one {100 * found.chance[best]:.0f} %"
    )
    if found.truth:
        real, nowhere = found.truth[best], found.impossible[best]
        told += (
            "; in the simulator there is no such state" if real is None else f"; in the simulator {100 * real:.0f} %"
        )
        if real is not None and nowhere:
            told += f", where it has such a state ({100 * nowhere:.0f} % of the problems: none)"
    return asdict(found), adversarial_figure(found), told


def _wall(asked: Diagnose, task: Task, model: WorldModel, drawn: Sequence[Episode]) -> Answer:
    from grasp_planner.bench.studies.wall_crossing import wall_crossing
    from grasp_planner.figures.model_studies import wall_crossing_figure

    found = wall_crossing(seed=asked.seed)
    told = "; ".join(
        f"{name}: virtual states through the wall in {100 * found.crossed[name]:.0f} %, goal reached in "
        f"{100 * found.reached[name]:.0f} %"
        for name in found.crossed
    )
    return asdict(found), wall_crossing_figure(found), f"on BallNav, whose dynamics are exact, {told}"


DIAGNOSES: dict[str, Callable[[Diagnose, Task, WorldModel, Sequence[Episode]], Answer]] = {
    "horizon": _horizon,
    "landscape": _landscape,
    "path": _path,
    "adversarial": _adversarial,
    "wall": _wall,
}
