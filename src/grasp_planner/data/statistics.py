"""Mean, standard deviation and range of every number in a data set, stored in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.cache import Fingerprint, fingerprint, writable
from grasp_planner.data.episodes import Episodes
from grasp_planner.data.reading import locate, read
from grasp_planner.io.broken_files import broken
from grasp_planner.io.text_files import read_json, write_json

FILE = "statistics.json"
SCHEMA = 1
FIELDS = ("mean", "std", "low", "high")


@dataclass(frozen=True)
class Statistic:
    """Moments and range of one key, each with the shape of a row, float64.

    Attributes:
        mean: mean over all rows.
        std: standard deviation over all rows (the sum of squares is divided by the number of rows).
        low: smallest value.
        high: largest value.
        count: number of rows.

    >>> import numpy as np
    >>> Statistic.of([np.array([[0.0, 5.0]]), np.array([[2.0, 5.0]])])
    Statistic(mean=array([1., 5.]), std=array([1., 0.]), low=array([0., 5.]), high=array([2., 5.]), count=2)
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: int

    @classmethod
    def of(cls, chunks: Sequence[np.ndarray] | Any) -> Statistic:
        """Compute statistics over the rows of all arrays (rows, ...), in one pass and without joining the arrays.

        Raises:
            GraspPlannerError: there are no rows.
        """
        count, mean, squares, low, high = 0, np.zeros(()), np.zeros(()), np.zeros(()), np.zeros(())
        for chunk in chunks:
            rows = np.asarray(chunk, dtype=np.float64)
            if not len(rows):
                continue
            # Moments are joined by Chan's rule, since a sum of squares would lose digits by cancellation.
            here = rows.mean(axis=0)
            difference = here - mean
            total = count + len(rows)
            squares = squares + ((rows - here) ** 2).sum(axis=0) + difference**2 * count * len(rows) / total
            mean = mean + difference * len(rows) / total
            low = rows.min(axis=0) if not count else np.minimum(low, rows.min(axis=0))
            high = rows.max(axis=0) if not count else np.maximum(high, rows.max(axis=0))
            count = total
        if not count:
            raise GraspPlannerError("needed at least one row to compute statistics of, got none")
        return cls(mean, np.sqrt(squares / count), low, high, count)

    @property
    def scale(self) -> np.ndarray:
        """`std`, with 1 in place of 0, so that constants can be divided by it."""
        return np.where(self.std > 0, self.std, 1.0)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Compute ``(values - mean) / scale`` for any leading axes; the last axis may hold several actions in a row."""
        return ((self._blocks(values) - self.mean) / self.scale).reshape(values.shape)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Compute ``values * scale + mean``: the inverse of `normalise`."""
        return (self._blocks(values) * self.scale + self.mean).reshape(values.shape)

    def _blocks(self, values: np.ndarray) -> np.ndarray:
        size = self.mean.size
        if self.mean.ndim != 1 or values.shape[-1] == size:
            return values
        if values.shape[-1] % size:
            raise GraspPlannerError(f"needed a last axis of {size} numbers or blocks of as many, got {values.shape}")
        return values.reshape(*values.shape[:-1], -1, size)


def compute(episodes: Episodes, keys: Sequence[str] | None = None) -> dict[str, Statistic]:
    """Compute statistics of each key, and of ``"actions"`` per environment action.

    Action blocks are split into environment actions, so that data collected with and without a frameskip have
    comparable statistics.

    Args:
        episodes: the episodes, for example the training part of a split.
        keys: the observations; None: all except pictures (uint8).

    Raises:
        GraspPlannerError: a key is unknown, or there are no episodes.

    >>> import numpy as np
    >>> episodes = Episodes.of([{"state": np.array([[0.0], [2.0]])}], [np.array([[1.0, 3.0]])], frameskip=2)
    >>> statistics = compute(episodes)
    >>> statistics["state"].mean, statistics["actions"].mean
    (array([1.]), array([2.]))
    """
    if keys is None:
        keys = [key for key in episodes.keys if episodes.array(key).dtype != np.uint8]
    found = {key: Statistic.of(episodes.chunks(key)) for key in keys}
    actions = (chunk.reshape(-1, episodes.action_dim) for chunk in episodes.chunks("actions"))
    return found | {"actions": Statistic.of(actions)}


def statistics(path: str | Path) -> dict[str, Statistic]:
    """Read the statistics of a whole data set from ``statistics.json`` in its folder.

    The statistics are computed if the file does not exist, or if the data have changed since the file was written.

    Raises:
        GraspPlannerError: the data set or ``statistics.json`` is broken; the message names the file.
    """
    source = locate(Path(path))
    file, mark = source.root / FILE, fingerprint(source.files, source.root)
    if file.exists():
        content = read_json(file)
        if content.get("source") == mark:
            return loads(content.get("statistics"), file)
    found = compute(read(path, pictures=False))
    if writable(source.root):
        save(found, file, mark)
    return found


def save(found: Mapping[str, Statistic], file: Path, source: Fingerprint) -> None:
    """Write statistics with the fingerprint of their data set, atomically."""
    write_json(file, {"schema": SCHEMA, "source": source, "statistics": dumps(found)})


def dumps(found: Mapping[str, Statistic]) -> dict[str, Any]:
    """Convert statistics to JSON values."""
    return {
        key: {name: getattr(one, name).tolist() for name in FIELDS} | {"count": one.count} for key, one in found.items()
    }


def loads(content: Any, file: Path) -> dict[str, Statistic]:
    """Convert JSON values to statistics: the inverse of `dumps`.

    Args:
        content: the JSON values.
        file: the file of the values, for error messages.

    Raises:
        GraspPlannerError: a field is missing, shapes differ, or a value is impossible.
    """
    if not isinstance(content, dict) or "actions" not in content:
        raise broken(file, "needed statistics of every key and of the actions; delete it to compute it again")
    found = {}
    for key, entry in content.items():
        try:
            values = {name: np.array(entry[name], dtype=np.float64) for name in FIELDS}
            one = Statistic(**values, count=int(entry["count"]))
        except (KeyError, TypeError, ValueError) as error:
            raise broken(file, f"{key!r} is broken ({error!r}); delete it to compute it again") from error
        same_shape = len({value.shape for value in values.values()}) == 1
        finite = all(np.isfinite(value).all() for value in values.values())
        if not (same_shape and finite and (one.std >= 0).all() and (one.low <= one.high).all() and one.count):
            raise broken(file, f"{key!r} holds no possible statistics; delete it to compute it again")
        found[key] = one
    return found
