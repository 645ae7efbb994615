"""Precision and recall of event checks on Push-T plans, against the simulator.

Each event is checked on plans for the goal alone and on plans that are constrained by the event. The margin that a plan
must have is calibrated on validation episodes. Precision and recall are those of the test episodes. The simulator says
whether an event holds, at every environment step.

    python benchmarks/event_verifier.py --episodes 40 --horizon 50 --steps 20
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner import (
    GD,
    Budget,
    Constrained,
    Event,
    Margin,
    Plan,
    Problem,
    WorldModel,
    along_the_way,
    always,
    eventually,
    load_world_model,
    plan,
)
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task, episodes, task
from grasp_planner.core.world_model import environment_actions, goal_objective
from grasp_planner.domains.push_t.geometry import OUTLINE, RECTANGLES
from grasp_planner.domains.push_t.physics import PUSHER_RADIUS
from grasp_planner.trust.diagnosis import diagnose
from grasp_planner.trust.verification import required_margin

INNER = (7.0, 504.0)  # px, the inner faces of the walls
TOUCHING = 1.0  # px between the surfaces of pusher and block below which they touch
SCALE = 100.0  # px, the unit of all margins
PRECISION = 0.95  # wanted on the validation episodes, so that 0.9 is reached on other episodes

Measure = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """An event, as a measure of one state and a range of steps.

    Attributes:
        name: what the event says.
        measure: function of environment states (b, k, 7) in px and rad; (b, k) px, at least 0 where the event holds.
        once: whether one step is enough; otherwise every step counts.
        last: last environment step; ``None``: the end of the plan.
    """

    name: str
    measure: Measure
    once: bool
    last: int | None = None

    def event(self, model: WorldModel, points: int) -> Event:
        """Return the event for the states of a plan in the model; the start is not part of it.

        Args:
            model: the model of the plan.
            points: points of the way between two model steps, for events of which every step counts.
        """
        margin = Margin(lambda states, actions: self.measure(model.decode_state(states)), SCALE)  # type: ignore[attr-defined]
        if not self.once:  # the simulator decides at every environment step
            margin = along_the_way(margin, points=points)
        last = None if self.last is None else self.last // model.frameskip
        return (eventually if self.once else always)(margin, first=1, last=last)

    def held(self, states: Tensor) -> Tensor:
        """Return whether the event held in the simulator, for the states (b, t+1, 7) of all environment steps."""
        good = self.measure(states[:, 1:] if self.last is None else states[:, 1 : self.last + 1]) >= 0
        return good.any(1) if self.once else good.all(1)


def turned(points: Tensor, angle: Tensor) -> Tensor:
    """Turn points (..., p, 2) by angles (...)."""
    cos, sin = angle.cos()[..., None], angle.sin()[..., None]
    x, y = points[..., 0], points[..., 1]
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def gap(states: Tensor) -> Tensor:
    """Return the distance (...) in px between the surfaces of pusher and block; negative where they overlap."""
    local = turned((states[..., :2] - states[..., 2:4])[..., None, :], -states[..., 4])
    rectangles = torch.from_numpy(RECTANGLES).to(states)
    beyond = (local - rectangles[:, 0]).abs() - rectangles[:, 1]
    outside = torch.linalg.vector_norm(beyond.clamp(min=0.0), dim=-1)
    return (outside + beyond.amax(-1).clamp(max=0.0)).amin(-1) - PUSHER_RADIUS


def room(states: Tensor) -> Tensor:
    """Return the distance (...) in px of the block from the nearest wall."""
    corners = states[..., None, 2:4] + turned(torch.from_numpy(OUTLINE).to(states), states[..., 4])
    return torch.minimum(corners - INNER[0], INNER[1] - corners).amin((-2, -1))


def from_centre(states: Tensor) -> Tensor:
    """Return the distance (...) in px of the pusher from the middle of the window."""
    return torch.linalg.vector_norm(states[..., :2] - 256.0, dim=-1)


CASES = (
    Case("contact by step 5", lambda states: TOUCHING - gap(states), once=True, last=5),
    Case("contact by step 15", lambda states: TOUCHING - gap(states), once=True, last=15),
    Case("block never within 60 px of a wall", lambda states: room(states) - 60.0, once=False),
    Case("pusher never within 80 px of the middle", lambda states: from_centre(states) - 80.0, once=False),
)


def executed(setting: Task, chosen: list[Episode], model: WorldModel, found: Plan) -> Tensor:
    """Return the states (b, t+1, 7) of all environment steps when plans are executed in the simulator."""
    actions, env = environment_actions(model, found.actions).flatten(1, 2).double().numpy(), setting.make()
    outcomes = [execute(setting, one, taken, env) for one, taken in zip(chosen, actions, strict=True)]
    return torch.from_numpy(np.stack([outcome.states for outcome in outcomes]))


def main() -> None:
    """Plan, execute, calibrate on the first half of the episodes, and test on the second half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=40, help="number of validation and of test episodes")
    parser.add_argument("--horizon", type=int, default=50, help="environment steps")
    parser.add_argument("--steps", type=int, default=20, help="steps of gradient descent")
    parser.add_argument("--first", type=int, default=0, help="number of the first test episode")
    parser.add_argument("--points", type=int, default=5, help="points of the way between two model steps")
    given = parser.parse_args()
    setting, model = task("push_t/dset/v2", given.horizon), load_world_model("pusht-state")
    tested = episodes(setting, "test", given.episodes, given.first)
    chosen = [*episodes(setting, "validation", given.episodes), *tested]
    problem = problem_of(setting, model, chosen)
    validation = torch.arange(len(chosen)) < given.episodes
    seeds = [episode.seed for episode in chosen]

    def run(objective: object) -> tuple[Problem, Plan, Tensor]:
        asked = problem.under(objective)  # type: ignore[arg-type]
        found = plan(asked, GD(lr=0.2), Budget(steps=given.steps), seeds=seeds)
        return asked, found, executed(setting, chosen, model, found)

    plain = run(goal_objective(model))
    print("event | plans | required px | held | precision at 0 | recall at 0 | precision | recall | model violations")
    for case in CASES:
        event = case.event(model, given.points)
        bound = run(Constrained(goal_objective(model), event, weight=100.0, clearance=0.05, smoothing=0.02))
        for name, (asked, found, states) in (("goal alone", plain), ("constrained", bound)):
            margin, held = diagnose(asked, found, events={"event": event}).margins["event"], case.held(states)
            required = required_margin(margin[validation], held[validation], PRECISION)
            cells = [f"{SCALE * required:.1f}", f"{float(held[~validation].double().mean()):.2f}"]
            for least in (0.0, required):
                passed = margin >= least
                cells += [share(held, passed & ~validation), share(passed, held & ~validation)]
            cells.append(f"{int((margin < 0).sum())} of {len(chosen)}")
            print(" | ".join([case.name, name, *cells]), flush=True)


def share(what: Tensor, among: Tensor) -> str:
    """Return the share of the rows ``among`` that are also in ``what``, and the count of the rows ``among``."""
    count = int(among.sum())
    return "none" if not count else f"{int((what & among).sum()) / count:.3f} of {count}"


if __name__ == "__main__":
    main()
