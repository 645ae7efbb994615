"""The data of a training: one data set, or several data sets joined into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.world_model import WorldModel
from grasp_planner.data import Episodes, read

Data = str | Path | Episodes
JOINED = "joined"


def data_sets(data: Data | Sequence[Data], keys: tuple[str, ...]) -> list[Episodes]:
    """Return the episodes of each data set.

    Raises:
        GraspPlannerError: there is nothing to read.
    """
    if isinstance(data, str | Path | Episodes):
        return [data if isinstance(data, Episodes) else read(data, keys=keys)]
    parts = [part for one in data for part in data_sets(one, keys)]
    if not parts:
        raise GraspPlannerError("needed at least one data set, got none")
    return parts


def check_action_size(model: WorldModel, episodes: Episodes) -> None:
    """Raise unless an action of the model is a block of environment actions of the data.

    Raises:
        GraspPlannerError: the sizes of the actions differ.
    """
    if model.frameskip * episodes.action_dim != len(model.low):
        raise GraspPlannerError(
            f"the data do not fit the model: an action of the model is {len(model.low)} numbers, and "
            f"{model.frameskip} actions of the data are {model.frameskip * episodes.action_dim}"
        )


def describe(episodes: Episodes) -> dict[str, object]:
    """Describe the source of episodes as JSON values, with the recipe of a collection made by this package."""
    if JOINED in episodes.metadata:
        return {JOINED: episodes.metadata[JOINED]}
    ours = episodes.metadata.get("grasp_planner", {})
    return {
        "source": None if episodes.source is None else episodes.source.name,
        "collected_by": ours.get("recipe"),
        "all_episodes": len(episodes),
        "data_steps": episodes.steps,
    }


def joined(parts: list[Episodes], keys: tuple[str, ...]) -> Episodes:
    """Join the episodes of several data sets; a single data set is returned unchanged.

    Raises:
        GraspPlannerError: data sets differ in frameskip or in the size of an array.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    for part in parts[1:]:
        shapes = [(e.frameskip, e.actions.shape[1:], *(e.array(key).shape[1:] for key in keys)) for e in (first, part)]
        if shapes[0] != shapes[1]:
            raise GraspPlannerError(
                f"data sets that are trained on together need the same frameskip and sizes (actions, "
                f"{', '.join(keys)}), got {shapes[0]} and {shapes[1]}"
            )
    # ``chunks`` gives the rows of these episodes only and in order, even if the arrays also hold other episodes.
    arrays = {
        key: np.concatenate([chunk for part in parts for chunk in part.chunks(key)]) for key in (*keys, "actions")
    }
    actions = arrays.pop("actions")
    return Episodes.packed(
        arrays,
        actions,
        np.concatenate([part.lengths for part in parts]),
        frameskip=first.frameskip,
        metadata={JOINED: [describe(part) for part in parts]},
    )
