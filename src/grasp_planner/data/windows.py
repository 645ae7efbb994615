"""``Windows``: training samples of consecutive observations and the action blocks between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data.episodes import Episodes


@dataclass(frozen=True)
class Windows:
    """All windows of ``history + future`` observations, ``frameskip`` environment steps apart, inside one episode.

    A window that starts at step ``t`` holds the observations ``o_t, o_{t+k}, .., o_{t+(h+f-1)k}`` and the
    ``h + f - 1`` action blocks between them. Block ``i`` is ``(a_{t+ik}, .., a_{t+ik+k-1})`` as one row. A window
    starts at every data step from which it fits into the episode. Windows are numbered by episode, then by start.

    Args:
        episodes: the episodes.
        history: ``h``, number of observations up to and including the current one, at least 1.
        future: ``f``, number of observations after the current one, at least 1.
        frameskip: ``k``, environment steps from one observation to the next, a multiple of
            ``episodes.frameskip``; None: ``episodes.frameskip``.
        keys: the observations in a window.

    Raises:
        GraspPlannerError: a length is below 1, the data do not have this frameskip, a key is unknown, or there are no
            windows.

    >>> import numpy as np
    >>> episodes = Episodes.of([{"state": np.arange(8.0)[:, None]}], [np.arange(7.0)[:, None]])
    >>> windows = Windows(episodes, history=1, future=2, frameskip=2)
    >>> len(windows)
    4
    >>> batch = windows[np.array([0, 3])]
    >>> batch["state"][1].ravel(), batch["actions"][1]
    (array([3., 5., 7.]), array([[3., 4.],
           [5., 6.]]))
    """

    episodes: Episodes
    history: int = 1
    future: int = 1
    frameskip: int | None = None
    keys: tuple[str, ...] = ("state",)
    ends: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.history < 1 or self.future < 1:
            raise GraspPlannerError(
                f"needed history >= 1 and future >= 1, got history={self.history}, future={self.future}"
            )
        if self.block < 1 or self.block % self.episodes.frameskip:
            raise GraspPlannerError(
                f"needed a frameskip that is a multiple of the data's {self.episodes.frameskip} environment "
                f"steps per data step, got {self.frameskip}"
            )
        for key in self.keys:
            self.episodes.array(key)
        counts = np.maximum(self.episodes.lengths - self.span + 1, 0)
        object.__setattr__(self, "ends", np.cumsum(counts))
        if len(self) == 0:
            longest = int(self.episodes.lengths.max(initial=0))
            raise GraspPlannerError(
                f"no window fits: {self.history} + {self.future} observations, {self.block} steps apart, "
                f"need episodes of {self.span} data steps; the longest of {len(self.episodes)} episodes "
                f"has {longest}"
            )

    @property
    def block(self) -> int:
        """Environment steps from one observation of a window to the next."""
        return self.episodes.frameskip if self.frameskip is None else self.frameskip

    @property
    def stride(self) -> int:
        """Data steps from one observation of a window to the next."""
        return self.block // self.episodes.frameskip

    @property
    def span(self) -> int:
        """Data steps that a window covers."""
        return (self.history + self.future - 1) * self.stride

    def __len__(self) -> int:
        """Return the number of windows."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the episode (n,) and the first data step (n,) of each window.

        Args:
            indices: (n,) numbers of windows, from 0.

        Raises:
            IndexError: an index is out of range. This also ends a loop over the windows.
        """
        indices = np.asarray(indices, dtype=np.int64)
        outside = (indices < -len(self)) | (indices >= len(self))
        if np.any(outside):
            raise IndexError(f"window {indices[outside].flat[0]} of {len(self)}")
        indices = np.where(indices < 0, indices + len(self), indices)
        episode = np.searchsorted(self.ends, indices, side="right")
        before = np.where(episode > 0, self.ends[np.maximum(episode - 1, 0)], 0)
        return episode, indices - before

    def __getitem__(self, indices: np.ndarray | slice | int) -> dict[str, np.ndarray]:
        """Read the windows of an array of indices (n,) or of a slice, or a single window without the leading axis.

        Returns:
            Each key -> (n, h + f, ...), and ``"actions"`` -> (n, h + f - 1, k * environment action).
        """
        if isinstance(indices, slice):
            indices = np.arange(len(self))[indices]
        indices = np.asarray(indices, dtype=np.int64)
        episode, start = self.locate(indices)
        blocks = self.history + self.future - 1
        first = self.episodes.observation_starts[episode] + start
        rows = first[..., None] + np.arange(blocks + 1) * self.stride
        batch = {key: self.episodes.observations[key][rows] for key in self.keys}
        first = self.episodes.action_starts[episode] + start
        rows = first[..., None] + np.arange(blocks * self.stride)
        batch["actions"] = self.episodes.actions[rows].reshape(*indices.shape, blocks, -1)
        return batch


def batches(windows: Windows, size: int, *, seed: int, drop_last: bool = False) -> Iterator[dict[str, np.ndarray]]:
    """Iterate once over all windows in a random order, ``size`` at a time.

    Args:
        windows: the windows.
        size: windows per batch.
        seed: seed of the order.
        drop_last: whether a smaller last batch is dropped.

    Yields:
        Batches of n windows, as ``windows[indices]`` reads them: each key of ``windows.keys`` -> (n, h + f, ...), and
        ``"actions"`` -> (n, h + f - 1, k * environment action), in the environment's units.

    Raises:
        GraspPlannerError: ``size`` is below 1.

    >>> import numpy as np
    >>> episodes = Episodes.of([{"state": np.zeros((11, 2))}], [np.zeros((10, 1))])
    >>> [len(batch["actions"]) for batch in batches(Windows(episodes), 4, seed=0)]
    [4, 4, 2]
    """
    if size < 1:
        raise GraspPlannerError(f"a batch has at least 1 window, got size={size}")
    order = np.random.default_rng(seed).permutation(len(windows))
    for begin in range(0, len(order), size):
        chosen = order[begin : begin + size]
        if drop_last and len(chosen) < size:
            return
        yield windows[chosen]


def split(episodes: Episodes, validation: float = 0.1, seed: int = 42) -> tuple[Episodes, Episodes]:
    """Split episodes at random into training and validation episodes.

    Validation gets ``round(validation * n)`` episodes, at least one. The default fraction and seed are those of
    DINO-WM. The random generator is not DINO-WM's (``torch.randperm``), so the split differs from DINO-WM's.

    Args:
        episodes: the episodes.
        validation: fraction of validation episodes.
        seed: seed of the split.

    Raises:
        GraspPlannerError: the fraction is not inside (0, 1), or there are fewer than two episodes.

    >>> import numpy as np
    >>> episodes = Episodes.of([{"state": np.zeros((2, 1))}] * 10, [np.zeros((1, 1))] * 10)
    >>> [len(part) for part in split(episodes, validation=0.2)]
    [8, 2]
    """
    if not 0 < validation < 1:
        raise GraspPlannerError(f"needed a validation fraction between 0 and 1, got {validation}")
    if len(episodes) < 2:
        raise GraspPlannerError(f"needed at least two episodes to split, got {len(episodes)}")
    order = np.random.default_rng(seed).permutation(len(episodes))
    held_out = min(max(round(validation * len(episodes)), 1), len(episodes) - 1)
    # The indices are sorted, so that episodes are read in the order of the file.
    return episodes.select(np.sort(order[held_out:])), episodes.select(np.sort(order[:held_out]))
