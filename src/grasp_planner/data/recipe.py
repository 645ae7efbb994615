"""What is collected: a recipe, from which every episode follows, and the names that it goes by."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from grasp_planner.core.errors import GraspPlannerError, missing_extra, unknown_name
from grasp_planner.domains.policies import POLICIES, Policy

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

PICTURE_SIZES = (64, 224)
# Environment steps per episode; PointMaze's and Wall's are those of DINO-WM's data, Push-T's is their middle.
EPISODE_STEPS = {"point_maze": 100, "wall": 50, "push_t": 200, "ball_nav": 100}


@dataclass(frozen=True)
class Recipe:
    """All that an episode depends on, besides its index.

    Attributes:
        environment: id for `gymnasium.make`.
        policy: name of the policy.
        episodes: how many.
        steps: environment steps in each.
        every: environment steps per data step, which is an action block then.
        pixels: side of the pictures, or None.
        seed: the one seed.
        version: of this package.
    """

    environment: str
    policy: str
    episodes: int
    steps: int
    every: int
    pixels: int | None
    seed: int
    version: str

    def __post_init__(self) -> None:
        for name in ("episodes", "steps", "every"):
            if getattr(self, name) < 1:
                raise GraspPlannerError(f"needed {name} >= 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise GraspPlannerError(f"needed seed >= 0, got {self.seed}")
        if self.steps % self.every:
            raise GraspPlannerError(f"needed a number of steps that every={self.every} divides, got steps={self.steps}")
        if self.pixels not in (None, *PICTURE_SIZES):
            raise GraspPlannerError(f"pixels must be None or one of {PICTURE_SIZES}, got {self.pixels!r}")

    def differences(self, other: dict[str, Any], ignore: tuple[str, ...] = ()) -> str:
        """What differs from a recipe read from a file, in words; empty if nothing does."""
        mine = asdict(self)
        names = [name for name in mine if mine[name] != other.get(name) and name not in ignore]
        return ", ".join(f"{name} {other.get(name)!r} there, {mine[name]!r} here" for name in names)


def environment_id(name: str) -> str:
    """The id for `gymnasium.make` of an environment that is named in any usual way.

    Raises:
        GraspPlannerError: there is no such environment; the nearest name is suggested.

    >>> environment_id("push_t"), environment_id("PushT-v1"), environment_id("grasp_planner/PushT-v1")
    ('grasp_planner/PushT-v1', 'grasp_planner/PushT-v1', 'grasp_planner/PushT-v1')
    """
    from grasp_planner.domains import ENVIRONMENTS

    names = {}
    for known, entry in ENVIRONMENTS.items():
        module = entry.split(".")[2]
        names |= {spelling: known for spelling in (_plain(known), _plain(known.split("-")[0]), _plain(module))}
    plain = _plain(name.removeprefix("grasp_planner/"))
    if plain in names:
        return f"grasp_planner/{names[plain]}"
    try:
        specification(name)
    except GraspPlannerError:
        raise unknown_name("environment", name, ENVIRONMENTS) from None
    return name


def specification(name: str) -> EnvSpec:
    """Gymnasium's description of an environment; ``"module:id"`` imports the module first.

    Raises:
        GraspPlannerError: it is not registered.
        MissingExtraError: Gymnasium is not installed.
    """
    try:
        import gymnasium

        import grasp_planner.domains  # noqa: F401 registers our own, in new processes too
    except ImportError as error:
        raise missing_extra("gymnasium", "envs", "collecting data") from error

    try:
        # `spec` alone does not import the module of "module:id".
        module, _, rest = name.rpartition(":")
        if module:
            importlib.import_module(module)
        return gymnasium.spec(rest)
    except (gymnasium.error.Error, ImportError) as error:
        raise GraspPlannerError(f"there is no environment {name!r}: {error}") from error


def short_name(environment: str) -> str:
    """The name that policies go by: the module of the environment, e.g. ``"push_t"``."""
    entry = specification(environment).entry_point
    module = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
    return module.removesuffix(".environment").rpartition(".")[2]


def resolve_policy(policy: str | Callable[[], Policy] | None, environment: str) -> tuple[str, Callable[[], Policy]]:
    """Name and maker of a policy; None means the published one of the environment.

    Raises:
        GraspPlannerError: there is no such policy.
    """
    if callable(policy):
        return getattr(policy, "__qualname__", type(policy).__qualname__), policy
    name = short_name(environment) if policy is None else policy
    if name not in POLICIES:
        if policy is None:
            raise GraspPlannerError(
                f"there is no published policy for {environment!r}: give policy=, one of {sorted(POLICIES)} "
                f"or a "
                f"class with reset(rng, state) and act(state)"
            )
        raise unknown_name("policy", name, POLICIES)
    return name, POLICIES[name]


def default_steps(environment: str) -> int:
    """Environment steps per episode, where none are given.

    Raises:
        GraspPlannerError: nothing is known about the environment.
    """
    name = short_name(environment)
    if name not in EPISODE_STEPS:
        raise GraspPlannerError(f"needed steps=, the environment steps per episode of {environment!r}")
    return EPISODE_STEPS[name]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
