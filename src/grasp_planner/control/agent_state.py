"""The state of an agent between two calls of ``act``."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from grasp_planner.control.current_plans import CurrentPlans, Source
from grasp_planner.control.frames import Frame
from grasp_planner.control.history import History
from grasp_planner.core.plans import Plan
from grasp_planner.trust.diagnosis import Diagnosis


@dataclass(frozen=True)
class Report:
    """A report on the last call of ``Agent.act``, with one entry for each environment.

    Attributes:
        source: where the actions came from, as values of ``Source``.
        reason: what was wrong with the observation, the goal or the plan; ``""`` if nothing was wrong.
        age: model steps since the active plan was made.

    Example:
        >>> Report(source=(Source.PLANNED,), reason=("",), age=(0,)).source[0].name
        'PLANNED'
    """

    source: tuple[Source, ...] = ()
    reason: tuple[str, ...] = ()
    age: tuple[int, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong in any environment."""
        return not any(self.reason)


@dataclass(frozen=True, eq=False)
class Goals:
    """Observations of the goal of each environment, and goal latents (b, s), NaN for environments without a goal."""

    frame: Frame
    latents: Float[Tensor, "b s"]


@dataclass(frozen=True, eq=False)
class AgentState:
    """The state of an agent between two calls of ``act``. The object is immutable.

    Attributes:
        history: the last observations, planned states and actions.
        plans: the active plans.
        replans: (b,) how many plans were made for each environment.
        goals: the current goals; ``None`` before the first goal.
        planned: (b, s) predicted states at the next call; ``None`` before the first plan.
        plan: the last plan; ``None`` before the first plan.
        diagnosis: the diagnosis of the last plan; ``None`` without a trust law.
        report: the report on the last call.
    """

    history: History
    plans: CurrentPlans
    replans: Int[Tensor, " b"]
    goals: Goals | None = None
    planned: Float[Tensor, "b s"] | None = None
    plan: Plan | None = None
    diagnosis: Diagnosis | None = None
    report: Report = Report()
