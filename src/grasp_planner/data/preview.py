"""A summary of a data set: its content, its statistics, a contact sheet, and the pictures of an episode."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.data.episodes import Episodes
from grasp_planner.data.reading import locate, read
from grasp_planner.data.statistics import Statistic, statistics

MARGIN = 4  # px between pictures
HEADING = 14  # height of a line of text, in px


@dataclass(frozen=True)
class Info:
    """The content of a data set.

    Attributes:
        path: folder of the data set.
        environment: id of the environment, if the data set states it.
        policy: name of the policy, if stated.
        seed: the seed of the collection, if stated.
        version: version of the package that collected the data, if stated.
        episodes: number of episodes.
        steps: number of data steps.
        frameskip: environment steps per data step.
        shortest: data steps of the shortest episode.
        longest: data steps of the longest episode.
        shapes: key -> shape of one row and dtype, as text.
        megabytes: size of the data files.
        statistics: key -> `Statistic`; ``"actions"`` per environment action.
        names: key -> names of its numbers, if they are known.
    """

    path: Path
    environment: str | None
    policy: str | None
    seed: int | None
    version: str | None
    episodes: int
    steps: int
    frameskip: int
    shortest: int
    longest: int
    shapes: Mapping[str, str]
    megabytes: float
    statistics: Mapping[str, Statistic]
    names: Mapping[str, Sequence[str]]

    def facts(self) -> list[tuple[str, str]]:
        """Return the rows of a table: name and value."""
        rows: list[tuple[str, Any]] = [
            ("path", self.path),
            ("environment", self.environment or "not stated"),
            ("policy", self.policy or "not stated"),
            ("seed", "not stated" if self.seed is None else self.seed),
            ("collected with", f"grasp-planner {self.version}" if self.version else "not stated"),
            ("episodes", f"{self.episodes:,}"),
            ("data steps", f"{self.steps:,} ({self.shortest} to {self.longest} per episode)"),
            ("environment steps", f"{self.steps * self.frameskip:,} ({self.frameskip} per data step)"),
            ("size", f"{self.megabytes:,.1f} MB"),
            *((f"{key!r}", shape) for key, shape in self.shapes.items()),
        ]
        return [(name, str(value)) for name, value in rows]

    def numbers(self) -> list[tuple[str, str, float, float, float, float]]:
        """Return the rows of a table: key, name of the number, mean, standard deviation, minimum and maximum."""
        rows = []
        for key, one in self.statistics.items():
            columns = [value.reshape(-1) for value in (one.mean, one.std, one.low, one.high)]
            names = self.names.get(key) or [str(i) for i in range(len(columns[0]))]
            rows += [(key, name, *map(float, values)) for name, *values in zip(names, *columns)]
        return rows


def info(path: str | Path, *, progress: bool = False) -> Info:
    """Summarise the data set at `path`. Statistics are computed if the data set does not store them.

    Args:
        path: the data set's folder.
        progress: whether to show a progress bar while pictures are unpacked.

    Raises:
        GraspPlannerError: there is no data set, or it is broken; the message names the file.

    Example:
        >>> import tempfile
        >>> from grasp_planner.data import collect
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = info(collect("wall", 2, f"{folder}/wall", steps=10, workers=1, progress=False))
        >>> found.episodes, found.steps, found.shapes["state"]
        (2, 20, 'float64 2')
    """
    source = locate(Path(path))
    episodes = read(path, pictures=False, progress=progress)
    own = episodes.metadata.get("grasp_planner", {})
    shapes = {key: _words(episodes.array(key)) for key in (*episodes.keys, "actions")}
    shapes |= {key: "pictures, uint8" for key in source.pictures}
    state_names = own.get("state_names", ())
    width = episodes.array("state").shape[1] if "state" in episodes.keys else 0
    return Info(
        path=source.root,
        environment=own.get("environment") or _stated_environment(episodes),
        policy=own.get("policy") or episodes.metadata.get("algorithm_name"),
        seed=own.get("seed"),
        version=own.get("version"),
        episodes=len(episodes),
        steps=episodes.steps,
        frameskip=episodes.frameskip,
        shortest=int(episodes.lengths.min()),
        longest=int(episodes.lengths.max()),
        shapes=shapes,
        megabytes=sum(file.stat().st_size for file in source.files) / 1e6,
        statistics=statistics(path),
        names={"state": tuple(state_names)} if len(state_names) == width else {},
    )


def contact_sheet(
    path: str | Path,
    out: str | Path,
    *,
    episodes: int = 6,
    frames: int = 8,
    size: int | None = None,
    key: str | None = None,
    progress: bool = False,
) -> Path:
    """Write a PNG of evenly spaced moments (columns) in evenly spaced episodes (rows).

    Pictures come from the data set. If the data set has no pictures, its environment draws the states.

    Args:
        path: the data set.
        out: the PNG to write.
        episodes: largest number of rows.
        frames: number of columns.
        size: side of a picture on the sheet in px; None: the size in the data.
        key: key of the pictures; None: the first key of pictures.
        progress: whether to show a progress bar while pictures are unpacked.

    Returns:
        `out`.

    Raises:
        GraspPlannerError: there are no pictures, or the data set is broken.
        MissingExtraError: pillow is not installed.

    Example:
        >>> import tempfile
        >>> from grasp_planner.data import collect
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = collect("wall", 2, f"{folder}/wall", steps=10, workers=1, progress=False)
        ...     contact_sheet(data, f"{folder}/wall.png", frames=3).name
        'wall.png'
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise missing_extra("pillow", "figures", "the contact sheet") from error

    if episodes < 1 or frames < 1:
        raise GraspPlannerError(f"needed at least one episode and frame, got {episodes} and {frames}")
    data, picture_at = _pictured(path, key, progress)
    rows = np.unique(np.linspace(0, len(data) - 1, min(episodes, len(data))).round().astype(int))
    pictures = {int(row): [picture_at(int(row), step) for step in _moments(data, int(row), frames)] for row in rows}
    side = size or next(iter(pictures.values()))[0].shape[0]
    cell = side + MARGIN
    sheet = Image.new("RGB", (MARGIN + frames * cell, len(rows) * (cell + HEADING) + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top = MARGIN + number * (cell + HEADING)
        for column, step in enumerate(_moments(data, int(row), frames)):
            left = MARGIN + column * cell
            label = f"ep {row} t {step * data.frameskip}" if column == 0 else f"t {step * data.frameskip}"
            pen.text((left, top), label, fill="black")
            picture = Image.fromarray(pictures[int(row)][column]).convert("RGB").resize((side, side))
            sheet.paste(picture, (left, top + HEADING))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, format="PNG")
    return out


def episode_pictures(
    path: str | Path, episode: int, *, size: int | None = None, progress: bool = False
) -> list[np.ndarray]:
    """Return the pictures of one episode in order of time, (side, side, 3) uint8 with an even side.

    Pictures come from the data set. If the data set has no pictures, its environment draws the states.

    Args:
        path: the data set.
        episode: number of the episode, from 0.
        size: side in px, rounded up to an even number; None: the size in the data.
        progress: whether to show a progress bar while pictures are unpacked.

    Raises:
        GraspPlannerError: there is no such episode, there are no pictures, or the data set is broken.
        MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("pillow", "figures", "pictures of an episode") from error

    data, picture_at = _pictured(path, None, progress)
    if not 0 <= episode < len(data):
        raise GraspPlannerError(f"{path} has the episodes 0 to {len(data) - 1}, got episode {episode}")
    pictures = [Image.fromarray(picture_at(episode, step)) for step in range(int(data.lengths[episode]) + 1)]
    side = size or pictures[0].width
    side += side % 2
    return [np.asarray(picture.convert("RGB").resize((side, side))) for picture in pictures]


def _pictured(path: str | Path, key: str | None, progress: bool) -> tuple[Episodes, Callable[[int, int], np.ndarray]]:
    """Return a data set, and a function that returns the picture of an episode at a data step."""
    source = locate(Path(path))
    if key is None and source.pictures:
        key = source.pictures[0]
    data = read(path, keys=None if key is None else [key], pictures=key is not None, progress=progress)
    draw = _drawer(data) if key is None else None
    return data, lambda row, step: _picture(data, row, step, key, draw)


def _moments(data: Episodes, row: int, frames: int) -> list[int]:
    return np.linspace(0, int(data.lengths[row]), frames).round().astype(int).tolist()


def _picture(data: Episodes, row: int, step: int, key: str | None, draw: Any) -> np.ndarray:
    index = int(data.observation_starts[row]) + step
    if key is not None:
        return np.asarray(data.array(key)[index])
    return draw(np.asarray(data.array("state")[index]))


def _drawer(data: Episodes) -> Any:
    """Return the function that draws a state of a data set without pictures."""
    from grasp_planner.data.recipe import Recipe
    from grasp_planner.data.rollouts import make_environment

    recipe = data.metadata.get("grasp_planner", {}).get("recipe")
    if recipe is None:
        raise GraspPlannerError(
            f"{data.source}: the data set holds no pictures, and does not say which environment could draw them"
        )
    env = make_environment(Recipe(**recipe | {"pixels": 64}))
    return lambda state: env.picture(state, 64)


def _words(array: np.ndarray) -> str:
    return f"{array.dtype} {' x '.join(map(str, array.shape[1:])) or 'number'}"


def _stated_environment(episodes: Episodes) -> str | None:
    """Return the environment that Minari's metadata state."""
    text = episodes.metadata.get("env_spec")
    return json.loads(text).get("id") if isinstance(text, str) else None
