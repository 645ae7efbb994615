"""The recipe of a data set, which determines every episode, and the names of environments and policies."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from grasp_planner.core.errors import GraspPlannerError, known_name, missing_extra
from grasp_planner.domains.domain import PICTURE_SIZES, Domain, Policy
from grasp_planner.domains.registry import DOMAINS, ENVIRONMENTS, POLICIES, other_spellings

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec


@runtime_checkable
class Described(Protocol):
    """A function that makes policies, with settings that determine the data."""

    def __call__(self) -> Policy:
        """Make a policy."""
        ...

    @property
    def description(self) -> str:
        """All settings on one line."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The settings of a data set. An episode depends only on these settings and on its index.

    Attributes:
        environment: id for `gymnasium.make`.
        policy: name of the policy, or its description.
        episodes: number of episodes.
        steps: environment steps in each episode.
        every: environment steps in each data step, whose actions form one block.
        pixels: side of the pictures in px; None: no pictures.
        seed: seed of the data set.
        version: version of this package.
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
        """Describe the differences from a recipe that was read from a file; empty if the recipes are equal."""
        mine = asdict(self)
        names = [name for name in mine if mine[name] != other.get(name) and name not in ignore]
        return ", ".join(f"{name} {other.get(name)!r} there, {mine[name]!r} here" for name in names)


def environment_id(name: str) -> str:
    """Return the id for `gymnasium.make` of an environment, from any usual spelling of its name.

    Raises:
        GraspPlannerError: no environment has that name. The message suggests the nearest name.

    >>> environment_id("push_t"), environment_id("PushT-v1"), environment_id("grasp_planner/PushT-v1")
    ('grasp_planner/PushT-v1', 'grasp_planner/PushT-v1', 'grasp_planner/PushT-v1')
    """
    try:
        own = known_name("environment", name.removeprefix("grasp_planner/"), ENVIRONMENTS, other_spellings())
    except GraspPlannerError as unknown:
        try:
            specification(name)
        except GraspPlannerError:
            raise unknown from None
        return name
    return f"grasp_planner/{own}"


def specification(name: str) -> EnvSpec:
    """Return Gymnasium's specification of an environment. For ``"module:id"`` the module is imported first.

    Raises:
        GraspPlannerError: no environment with that id is registered.
        MissingExtraError: Gymnasium is not installed.
    """
    try:
        import gymnasium
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


def domain_of(environment: str) -> Domain | None:
    """Return the world of this package with a Gymnasium id; None for environments of other packages."""
    full_name = specification(environment).id
    return next((domain for domain in DOMAINS.values() if full_name == f"grasp_planner/{domain.env}"), None)


def resolve_policy(policy: str | Callable[[], Policy] | None, environment: str) -> tuple[str, Callable[[], Policy]]:
    """Name and maker of a policy.

    Args:
        policy: a name, a maker, or None for the scripted policy of the environment.
        environment: id for `gymnasium.make`.

    Raises:
        GraspPlannerError: no policy has that name, or the environment has no scripted policy.
    """
    if isinstance(policy, Described):
        return policy.description, policy
    if callable(policy):
        return getattr(policy, "__qualname__", type(policy).__qualname__), policy
    if policy is None:
        domain = domain_of(environment)
        if domain is None:
            raise GraspPlannerError(
                f"{environment!r} is not an environment of this package, so there is no published policy and no "
                f"published number of steps for it: give policy= (--policy), one of {', '.join(sorted(POLICIES))} or "
                "in Python a class with reset(rng, state) and act(state), and steps= (--steps), the environment steps "
                "per episode"
            )
        return domain.name, domain.policy
    name = known_name("policy", policy, POLICIES)
    return name, POLICIES[name]


@runtime_checkable
class FixedLength(Protocol):
    """A function that makes policies whose episodes have a fixed number of steps, such as whole plans."""

    @property
    def episode_steps(self) -> int:
        """Environment steps in each episode."""
        ...


def number_of_steps(steps: int | None, policy: object, environment: str) -> int:
    """Return the number of environment steps per episode.

    Args:
        steps: the wanted number; ``None``: the number of the policy, or the published number of the environment.
        policy: a policy, or a function that makes policies, which may be ``FixedLength``.
        environment: id for `gymnasium.make`.

    Raises:
        GraspPlannerError: the policy has another number of steps, or no number is known, because the environment
            belongs to another package.
    """
    if isinstance(policy, FixedLength):
        if steps not in (None, policy.episode_steps):
            raise GraspPlannerError(
                f"needed steps={policy.episode_steps}, the environment steps in an episode of the policy, got {steps}"
            )
        return policy.episode_steps
    if steps is not None:
        return steps
    domain = domain_of(environment)
    if domain is None:
        raise GraspPlannerError(f"needed steps= (--steps), the environment steps per episode of {environment!r}")
    return domain.data.episode_steps
