"""``Episodes``: trajectories concatenated to a few long arrays, with a table of their starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, unknown_name

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Episodes:
    """Trajectories of observations ``o_0 .. o_T`` and actions ``a_0 .. a_{T-1}``, in memory or memory-mapped.

    Episode ``i`` holds ``lengths[i] = T`` actions and ``T + 1`` observations: rows
    ``observation_starts[i] .. observation_starts[i] + T`` of every array of ``observations`` and rows
    ``action_starts[i] .. action_starts[i] + T - 1`` of ``actions``. Selected episodes share the arrays, so
    that a data set larger than memory can be split.

    Attributes:
        observations: key -> (rows, ...); every data set that this package reads has ``"state"``.
        actions: (rows, frameskip * environment action), in environment units, earliest action first.
        lengths: (n,) number of actions (data steps) of each episode.
        observation_starts: (n,) row of each episode's first observation.
        action_starts: (n,) row of each episode's first action.
        frameskip: environment steps per data step; 1 unless the data were collected in action blocks.
        source: the folder of the data set, or None.
        metadata: the data set's metadata (environment, policy, seed, ...).

    >>> import numpy as np
    >>> episodes = Episodes.of([{"state": np.zeros((4, 2))}, {"state": np.ones((3, 2))}],
    ...                        [np.zeros((3, 1)), np.ones((2, 1))])
    >>> len(episodes), episodes.steps, episodes.episode(1)["state"].shape
    (2, 5, (3, 2))
    """

    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    lengths: np.ndarray
    observation_starts: np.ndarray
    action_starts: np.ndarray
    frameskip: int = 1
    source: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        observations: Sequence[Mapping[str, np.ndarray]],
        actions: Sequence[np.ndarray],
        *,
        frameskip: int = 1,
        metadata: Mapping[str, Any] | None = None,
    ) -> Episodes:
        """Make episodes. Each has a mapping of (T + 1, ...) observations and an array (T, a) of actions.

        Args:
            observations: one mapping per episode, all with the same keys.
            actions: one array per episode.
            frameskip: environment steps per data step.
            metadata: the data set's metadata.

        Raises:
            GraspPlannerError: there is no episode, keys differ, or lengths do not fit together.
        """
        if not observations or len(observations) != len(actions):
            raise GraspPlannerError(
                f"needed one array of actions for each of at least one episode, "
                f"got {len(observations)} observations and {len(actions)} actions"
            )
        keys = list(observations[0])
        for i, (seen, done) in enumerate(zip(observations, actions)):
            if sorted(seen) != sorted(keys):
                raise GraspPlannerError(f"episode {i} has the keys {sorted(seen)}, episode 0 has {sorted(keys)}")
            for key in keys:
                if len(seen[key]) != len(done) + 1:
                    raise GraspPlannerError(
                        f"episode {i} has {len(done)} actions and so needs {len(done) + 1} rows of {key!r}, "
                        f"got {len(seen[key])}"
                    )
        lengths = np.array([len(a) for a in actions], dtype=np.int64)
        return cls.packed(
            {key: np.concatenate([seen[key] for seen in observations]) for key in keys},
            np.concatenate([np.asarray(a) for a in actions]),
            lengths,
            frameskip=frameskip,
            metadata=metadata,
        )

    @classmethod
    def packed(
        cls,
        observations: Mapping[str, np.ndarray],
        actions: np.ndarray,
        lengths: np.ndarray,
        *,
        frameskip: int = 1,
        source: Path | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Episodes:
        """Make episodes from arrays in which the episodes are concatenated.

        Args:
            observations: key -> (sum of lengths + n, ...).
            actions: (sum of lengths, frameskip * environment action).
            lengths: (n,) number of data steps of each episode.
            frameskip: environment steps per data step.
            source: the folder of the data set, or None.
            metadata: the data set's metadata.

        Raises:
            GraspPlannerError: the number of rows of an array does not fit the lengths.
        """
        lengths = np.asarray(lengths, dtype=np.int64)
        ends = np.cumsum(lengths)
        steps = int(ends[-1]) if len(ends) else 0
        needed = {key: steps + len(lengths) for key in observations} | {"actions": steps}
        for key, array in {**observations, "actions": actions}.items():
            if len(array) != needed[key]:
                raise GraspPlannerError(
                    f"{len(lengths)} episodes with {steps} actions need {needed[key]} rows of {key!r}, got {len(array)}"
                )
        if frameskip < 1 or actions.ndim != 2 or actions.shape[1] % frameskip:
            raise GraspPlannerError(
                f"needed actions of shape (rows, frameskip * environment action) and a frameskip of at least "
                f"1, got {actions.shape} with frameskip {frameskip}"
            )
        starts = ends - lengths
        return cls(
            observations=dict(observations),
            actions=actions,
            lengths=lengths,
            observation_starts=starts + np.arange(len(lengths)),
            action_starts=starts,
            frameskip=frameskip,
            source=source,
            metadata=dict(metadata or {}),
        )

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """Number of data steps in all episodes; multiply by ``frameskip`` for environment steps."""
        return int(self.lengths.sum())

    @property
    def action_dim(self) -> int:
        """Numbers in one environment action."""
        return self.actions.shape[1] // self.frameskip

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the observations."""
        return tuple(self.observations)

    @property
    def observation_rows(self) -> np.ndarray:
        """(steps + n,) rows of the observations of these episodes in every array of ``observations``, in order."""
        counts = self.lengths + 1
        return np.repeat(self.observation_starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())

    def array(self, key: str) -> np.ndarray:
        """Return the array of an observation, or of ``"actions"``, which all selections share.

        Raises:
            GraspPlannerError: there is no such key.
        """
        if key == "actions":
            return self.actions
        if key not in self.observations:
            raise unknown_name("observation", key, self.observations)
        return self.observations[key]

    def episode(self, index: int) -> dict[str, np.ndarray]:
        """Return an episode: key -> (T + 1, ...) and ``"actions"`` -> (T, a), as views of the arrays.

        Args:
            index: number of the episode, from 0; negative numbers count from the end.

        Raises:
            IndexError: there is no such episode.
        """
        length, first = int(self.lengths[index]), int(self.observation_starts[index])
        views = {key: array[first : first + length + 1] for key, array in self.observations.items()}
        first = int(self.action_starts[index])
        return views | {"actions": self.actions[first : first + length]}

    def select(self, indices: Sequence[int] | np.ndarray) -> Episodes:
        """Select episodes by their indices, in this order; no array is copied.

        Raises:
            IndexError: there is no episode of an index.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            lengths=self.lengths[chosen],
            observation_starts=self.observation_starts[chosen],
            action_starts=self.action_starts[chosen],
        )

    def chunks(self, key: str, rows: int = ROWS_AT_ONCE) -> Iterator[np.ndarray]:
        """Iterate over all rows of a key in these episodes, in pieces of at most ``rows`` rows."""
        array = self.array(key)
        starts, counts = self.observation_starts, self.lengths + 1
        if key == "actions":
            starts, counts = self.action_starts, self.lengths
        # Episodes that are neighbours in the array are read together, since single reads of thousands of episodes are
        # slow.
        breaks = np.flatnonzero(starts[1:] != starts[:-1] + counts[:-1]) + 1
        for stretch in np.split(np.arange(len(starts)), breaks):
            if not len(stretch):
                continue
            first, last = int(starts[stretch[0]]), int(starts[stretch[-1]] + counts[stretch[-1]])
            for begin in range(first, last, rows):
                yield array[begin : min(begin + rows, last)]
