"""Collect a Minari data set with a policy, in several processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.minari_writing import assemble
from grasp_planner.data.recipe import Recipe, environment_id, number_of_steps, resolve_policy
from grasp_planner.data.rollouts import make_environment
from grasp_planner.data.shards import collect_shard, finished, shards
from grasp_planner.domains.domain import Policy
from grasp_planner.io.atomic import make_folder, remove_abandoned
from grasp_planner.io.broken_files import broken
from grasp_planner.io.processes import WorkerPool, WorkersLostError, usable_cores
from grasp_planner.io.progress import progress_bar
from grasp_planner.io.text_files import read_json, write_json

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
    """Collect a Minari data set in the folder `out`, or continue an interrupted collection.

    Episode ``i`` is a function of ``i`` and the recipe, which consists of all arguments except `out`, `workers` and
    `progress`. The data do not depend on the number of processes or on interruptions, even by ``kill -9``. Finished
    episodes are kept in ``out/collecting``. When all of them are finished, ``out/data`` is written atomically. Another
    call with the same arguments then does nothing.

    With ``every=k``, a data step is an action block: k environment actions in a row, and the observation at the end of
    the block. Pictures are drawn only at the end of a block.

    Minari opens the result with ``minari.MinariDataset(out / "data")``. If the folder lies in Minari's own root, Minari
    also opens it by its id: the folder's name, with ``-v0`` if it has no version. Pictures are stored without loss.

    Args:
        env_name: an environment of this package in any spelling (``"push_t"``, ``"PushT-v1"``), or the id of
            another environment with the same interface; ``"module:id"`` imports a module first.
        episodes: number of episodes.
        out: a new or empty folder, or the folder of an interrupted collection.
        steps: environment steps per episode, a multiple of `every`; None: the number of the policy if it is
            ``recipe.FixedLength``, such as `PlannerPolicy`, and otherwise the published number.
        pixels: side of the pictures under ``"pixels"``, 64 or 224; None: no pictures.
        every: environment steps per data step.
        seed: the seed from which the seeds of all episodes are derived.
        workers: number of processes; None: one per core. For more than one, the main module must be importable
            (``if __name__ == "__main__":`` in scripts).
        policy: name or class of the policy; or a function that makes policies, which may be ``recipe.Described`` and
            whose policies may be ``rollouts.Prepared``; None: the published policy of the environment.
        progress: whether to show a progress bar.

    Returns:
        The folder `out`.

    Raises:
        GraspPlannerError: a name is unknown, a number is out of range, the policy has another number of steps, `out`
            holds other files, or a process died.
        OSError: the disk is full. Finished episodes are kept; the same call continues when there is room.
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
        steps=number_of_steps(steps, policy, environment),
        every=every,
        pixels=pixels,
        seed=seed,
        version=version("grasp-planner"),
    )
    out = Path(out).expanduser()
    unfinished = out / UNFINISHED
    remove_abandoned(out)
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
    """Return whether `out` holds the finished data set of this recipe.

    Raises:
        GraspPlannerError: `out` holds the data set of another recipe.
    """
    file = out / "data" / "metadata.json"
    if not file.exists():
        return False
    found = read_json(file).get("grasp_planner", {}).get("recipe", {})
    # A finished data set of an earlier version is accepted. An unfinished data set is not, since it would mix two
    # versions.
    differences = recipe.differences(found, ignore=("version",))
    if differences:
        raise broken(out, f"holds another data set already ({differences}): give a new folder")
    return True


def _begin(out: Path, recipe: Recipe) -> None:
    """Make the folder of an unfinished collection, or check that the existing one has the same recipe."""
    file = out / UNFINISHED / RECIPE
    if file.exists():
        remove_abandoned(file.parent)
        differences = recipe.differences(read_json(file))
        if differences:
            raise broken(
                out / UNFINISHED,
                f"holds another unfinished collection ({differences}): finish it, delete it, or give a new folder",
            )
        return
    if out.exists() and (not out.is_dir() or any(path.name != UNFINISHED for path in out.iterdir())):
        raise broken(out, "needed a new or empty folder")
    write_json(make_folder(file.parent) / RECIPE, asdict(recipe))


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
            "`if __name__ == '__main__':`. Finished episodes are kept; run the same again to continue"
        ) from error
    finally:
        pool.close()
        remove_abandoned(folder)  # of the processes that were ended
