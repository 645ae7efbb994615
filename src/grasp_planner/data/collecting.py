"""Collecting data: scripted policies in several processes, into one Minari data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.faults import broken, read_json
from grasp_planner.data.minari_writing import assemble
from grasp_planner.data.recipe import Recipe, default_steps, environment_id, resolve_policy
from grasp_planner.data.rollouts import make_environment
from grasp_planner.data.shards import collect_shard, finished, shards
from grasp_planner.domains.domain import Policy
from grasp_planner.io.processes import WorkerPool, WorkersLostError, usable_cores
from grasp_planner.io.progress import progress_bar

UNFINISHED = "collecting"
RECIPE = "recipe.json"


def collect(
    env_name: str,
    episodes: int,
    out: str | Path,
    *,
    steps: int | None = None,
    pixels: int | None = None,
    every: int = 1,
    seed: int = 0,
    workers: int | None = None,
    policy: str | Callable[[], Policy] | None = None,
    progress: bool = True,
) -> Path:
    """Collect a Minari data set in the folder `out`; a collection that was stopped goes on where it stopped.

    Episode ``i`` is a function of the recipe (all arguments but `out`, `workers`, `progress`) and ``i``: the
    data do not depend on the number of processes or on interruptions, even by ``kill -9``. Finished episodes
    are kept in ``out/collecting`` until all are there; then ``out/data`` appears, complete. Calling again
    does nothing.

    With ``every=k`` a data step is an action block: k environment actions end to end, and the observation at
    the block's end; only there are pictures drawn.

    Minari opens the result with ``minari.MinariDataset(out / "data")``, and by its id (the folder's name,
    with ``-v0`` if it has no version) where the folder lies in Minari's own root. Pictures are stored
    without loss.

    Args:
        env_name: an environment of this package in any spelling (``"push_t"``, ``"PushT-v1"``), or the id of
            another with the same interface, ``"module:id"`` if a module must be imported for it.
        episodes: how many.
        out: a new or empty folder, or that of an earlier run.
        steps: environment steps per episode, a multiple of `every`; None: the published number.
        pixels: side of the pictures under ``"pixels"``, 64 or 224; None: none.
        every: environment steps per data step.
        seed: the seed that all episodes follow from.
        workers: processes; None: one per core. More than one need a main module that can be imported
            (``if __name__ == "__main__":`` in scripts).
        policy: name or class; None: the published one of the environment.
        progress: show a bar.

    Returns:
        `out`.

    Raises:
        GraspPlannerError: unknown names, impossible numbers, `out` holds something else, a process died.
        MissingExtraError: a package is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = collect("wall", 3, f"{folder}/walks-v0", seed=1, workers=1, progress=False)
    ...     sorted(path.name for path in (out / "data").iterdir())
    ['main_data.hdf5', 'metadata.json']
    """
    from importlib.metadata import version

    environment = environment_id(env_name)
    policy_name, make_policy = resolve_policy(policy, environment)
    recipe = Recipe(
        environment=environment,
        policy=policy_name,
        episodes=episodes,
        steps=default_steps(environment) if steps is None else steps,
        every=every,
        pixels=pixels,
        seed=seed,
        version=version("grasp-planner"),
    )
    out = Path(out).expanduser()
    unfinished = out / UNFINISHED
    if complete(out, recipe):
        shutil.rmtree(unfinished, ignore_errors=True)
        return out
    make_environment(recipe).close()
    _begin(out, recipe)
    parts = shards(recipe)
    missing = [part for part in parts if not finished(unfinished, part)]
    done = recipe.episodes - sum(len(part) for part in missing)
    total = recipe.episodes * recipe.steps
    with progress_bar(f"collecting {out.name}", total, done=done * recipe.steps, show=progress) as advance:
        for part in _run(recipe, make_policy, missing, unfinished, workers or usable_cores()):
            advance(len(part) * recipe.steps)
    assemble(recipe, parts, unfinished, out, progress)
    shutil.rmtree(unfinished, ignore_errors=True)
    return out


def complete(out: Path, recipe: Recipe) -> bool:
    """Whether `out` holds the finished data set of this recipe.

    Raises:
        GraspPlannerError: it holds another one.
    """
    file = out / "data" / "metadata.json"
    if not file.exists():
        return False
    found = read_json(file).get("grasp_planner", {}).get("recipe", {})
    # What an earlier version finished stays as it is; half a set from each of two versions is another matter.
    differences = recipe.differences(found, ignore=("version",))
    if differences:
        raise broken(out, f"holds another data set already ({differences}): give a new folder")
    return True


def _begin(out: Path, recipe: Recipe) -> None:
    """Make the folder of an unfinished collection, or check that it is this one's."""
    file = out / UNFINISHED / RECIPE
    if file.exists():
        differences = recipe.differences(read_json(file))
        if differences:
            raise broken(
                out / UNFINISHED,
                f"holds another unfinished collection ({differences}): finish it, delete it, or give a new folder",
            )
        return
    if out.exists() and (not out.is_dir() or any(path.name != UNFINISHED for path in out.iterdir())):
        raise broken(out, "needed a new or empty folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(recipe), indent=1))
    temporary.replace(file)


def _run(
    recipe: Recipe, make_policy: Callable[[], Policy], parts: list[range], folder: Path, workers: int
) -> Iterator[range]:
    """Collect the shards in any order, and yield each finished shard."""
    if workers < 1:
        raise GraspPlannerError(f"needed workers >= 1, got {workers}")
    if min(workers, len(parts)) <= 1:
        for part in parts:
            yield collect_shard(recipe, make_policy, part, folder)
        return
    import pickle
    from functools import partial

    try:
        pickle.dumps(make_policy)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise GraspPlannerError(
            f"several processes need a policy that can be imported, a class of a module; got {make_policy!r}"
        ) from error
    pool = WorkerPool(min(workers, len(parts)), retries=1)
    try:
        for part, _ in pool.results(partial(collect_shard, recipe, make_policy, folder=folder), parts):
            yield part
    except WorkersLostError as error:
        raise GraspPlannerError(
            "a collecting process died: it was killed (out of memory?), or the script lacks "
            "`if __name__ == '__main__':`. Finished episodes are kept; run the same again to go on"
        ) from error
    finally:
        pool.close()
