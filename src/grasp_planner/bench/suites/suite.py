"""Suites: which planners are compared on which tasks, how they are tuned and what is measured. Data, not code."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from grasp_planner.bench.tasks import Task, task
from grasp_planner.core.errors import GraspPlannerError, unknown_name

SCHEMA = 1
FOLDER = Path(__file__).parent / "packaged"

Mode = Literal["open-loop", "closed-loop"]
Variant = Literal["state", "pixels"]


@dataclass(frozen=True)
class Cell:
    """One column of a table: a task at a horizon, and the model that it is planned in.

    Args:
        task: of ``bench.tasks.TASKS``.
        horizon: environment steps.
        model: as ``load_world_model`` takes it.
        pixels: side of the pictures that the model reads; ``None``: it reads none.
    """

    task: str
    horizon: int
    model: str
    pixels: int | None = None

    @property
    def problem(self) -> Task:
        """The task at this horizon."""
        return task(self.task, self.horizon)

    def __str__(self) -> str:
        return f"{self.task}, H = {self.horizon}, {self.model}"


@dataclass(frozen=True)
class Arm:
    """One row of a table: a planner, and where its settings come from.

    Args:
        name: what it is called.
        space: the space of settings that it is tuned in, of ``bench.spaces``.
        change: settings that are fixed at these values, whatever is drawn or chosen.
        like: the name of another arm whose chosen settings it takes, instead of being tuned itself.
    """

    name: str
    space: str = ""
    change: Mapping[str, Any] | None = None
    like: str = ""

    def __post_init__(self) -> None:
        if bool(self.space) == bool(self.like):
            raise GraspPlannerError(
                f"the arm {self.name!r} needs a space to be tuned in, or another arm whose settings to take; "
                f"got space {self.space!r} and like {self.like!r}"
            )


@dataclass(frozen=True)
class Tuning:
    """How settings are chosen, alike for every planner, task and horizon.

    Round i plans on ``episodes[i]`` validation episodes with ``trials[i]`` settings: in the first round drawn from the
    planner's space, then the best of the round before. Episodes of earlier rounds count in later ones.

    Args:
        trials: settings in each round, falling.
        episodes: validation episodes that they have been tried on after each round, rising.
    """

    trials: tuple[int, ...]
    episodes: tuple[int, ...]

    def __post_init__(self) -> None:
        rounds = len(self.trials)
        fair = rounds == len(self.episodes) > 0 and min(*self.trials, *self.episodes) >= 1
        falling = all(self.trials[i] > self.trials[i + 1] for i in range(rounds - 1))
        rising = fair and all(self.episodes[i] < self.episodes[i + 1] for i in range(rounds - 1))
        if not (fair and falling and rising):
            raise GraspPlannerError(
                f"tuning needs as many numbers of trials (falling) as of episodes (rising), all >= 1; "
                f"got {self.trials} and {self.episodes}"
            )


@dataclass(frozen=True)
class Timed:
    """The episodes that are planned one at a time, for seconds.

    Args:
        episodes: how many, the first of the test split.
        seconds: limit of each plan, instead of the limit on transitions; 0: the latter.
    """

    episodes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Suite:
    """Everything that decides what ``grasp bench`` does.

    Args:
        name: of its file.
        title: for people.
        about: what it is compared with.
        mode: plans are carried out to their end, or made anew from what is seen on the way.
        episodes: of the test split, planned in batches.
        chunk: episodes in a batch; what a kill loses at most.
        rollouts: budget of every plan: so many times the horizon in model transitions, for each episode.
        arms: the planners.
        cells: the tasks.
        tuning: how settings are chosen.
        timed: the episodes that are planned one at a time.
        shown: pairs of episodes in each cell that are recorded for the report, one solved and one failed each.
        execute: model steps of a plan that are carried out before the next one is made; closed loop only.
        duration: environment steps of an episode, in units of the horizon; closed loop only.
        published: the table of ``bench.published`` that stands beside ours; empty: none.
    """

    name: str
    title: str
    about: str
    mode: Mode
    episodes: int
    chunk: int
    rollouts: int
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    tuning: Tuning
    timed: Timed = Timed()
    shown: int = 0
    execute: int = 1
    duration: int = 2
    published: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise unknown_name("mode", self.mode, get_args(Mode))
        for name in ("episodes", "chunk", "rollouts", "execute", "duration"):
            if getattr(self, name) < 1:
                raise GraspPlannerError(f"{name} of a suite must be at least 1, got {getattr(self, name)}")
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) != len(names) or not self.cells:
            raise GraspPlannerError(f"a suite needs cells, and arms of different names; got {names}")
        tuned = {arm.name for arm in self.arms if arm.space}
        for arm in self.arms:
            if arm.like and arm.like not in tuned:
                raise unknown_name(f"arm with a space, which {arm.name!r} could be like,", arm.like, tuned)

    def described(self) -> dict[str, Any]:
        """The whole as JSON values."""
        return json.loads(json.dumps(asdict(self)))

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for the whole."""
        return hashlib.sha256(json.dumps(self.described(), sort_keys=True).encode()).hexdigest()[:16]

    def only(self, models: tuple[str, ...]) -> Suite:
        """The same suite without the cells of other models.

        Raises:
            GraspPlannerError: no cell is left.
        """
        known = {cell.model for cell in self.cells}
        for name in models:
            if name not in known:
                raise unknown_name(f"model in the suite {self.name}", name, known)
        return replace(self, cells=tuple(cell for cell in self.cells if not models or cell.model in models))


def suites() -> dict[str, Path]:
    """The suites that come with the package: name -> file.

    >>> "smoke" in suites()
    True
    """
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_suite(name_or_path: str | Path, variant: Variant = "state") -> Suite:
    """A suite by its name, or from a TOML file of one's own.

    Args:
        name_or_path: one of ``suites()``, or a file.
        variant: ``"state"``, or ``"pixels"`` for the same suite in models that read pictures: every cell's
            ``pixels_model``, and what the file's ``[pixels]`` changes.

    Raises:
        GraspPlannerError: no such suite or variant, or a file that does not say what a suite needs.

    >>> load_suite("push-t-long").episodes
    500
    """
    packaged = suites()
    path = packaged.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise unknown_name("suite", str(name_or_path), packaged)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GraspPlannerError(f"{path} is not TOML: {error}") from error
    if content.pop("schema", None) != SCHEMA:
        raise GraspPlannerError(f"{path} must say schema = {SCHEMA}")
    pictures = content.pop("pixels", None)
    name = path.stem
    if variant == "pixels":
        if pictures is None:
            raise GraspPlannerError(f"the suite {name} has no [pixels]: it is for models of states alone")
        name += "-pixels"
        content |= pictures
    try:
        return _built(name, content, variant)
    except TypeError as error:
        raise GraspPlannerError(f"{path}: {str(error).replace('__init__() ', '')}") from error


def _built(name: str, content: dict[str, Any], variant: Variant) -> Suite:
    cells = []
    for entry in content.pop("cells", ()):
        size, pictured = entry.pop("pixels", 64), entry.pop("pixels_model", None)
        if variant == "pixels" and pictured is None:
            continue
        model = pictured if variant == "pixels" else entry.pop("model")
        entry.pop("model", None)
        horizons = entry.pop("horizons")
        cells += [Cell(**entry, horizon=h, model=model, pixels=size if pictured == model else None) for h in horizons]
    tuning = {key: tuple(value) for key, value in content.pop("tuning", {}).items()}
    _known(Suite, content)
    return Suite(
        name=name,
        cells=tuple(cells),
        arms=tuple(Arm(**arm) for arm in content.pop("arms", ())),
        tuning=Tuning(**tuning),
        timed=Timed(**content.pop("timed", {})),
        **content,
    )


def _known(cls: type, content: Mapping[str, Any]) -> None:
    names = {one.name for one in fields(cls)} - {"name"}
    for key in content:
        if key not in names:
            raise unknown_name("entry of a suite", key, names)
