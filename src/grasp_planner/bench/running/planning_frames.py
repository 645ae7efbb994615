"""Recording: what a planner had in hand while it planned, for pictures; made beside the clock, not on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.open_loop import Evaluation, decoded
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planning.protocol import Lifted, Planner, Progress


@dataclass(frozen=True, eq=False)
class Recording:
    """How one episode was planned and what came of it, in environment states. ``figures`` draws it.

    Attributes:
        env: the environment's name.
        planner: the name of its class.
        frameskip: environment steps from one imagined state to the next.
        start: (s,).
        goal: (s,).
        steps: (k,) planner steps at which it was looked at.
        rollouts: (k, T, s) rollouts in the model of the plans then in hand, s_1 .. s_T.
        virtual: (k, T - 1, s) the virtual states s_1 .. s_{T-1} then; ``None`` for planners that have none.
        best_cost: (planner steps + 1,) cost of the best plan so far; not finite before there is one.
        imagined: (T + 1, s) the plan's rollout in the model.
        executed: (horizon + 1, s) the same plan in the simulator.
        distances: to the goal in the simulator, at the end; units in the names.
        success: in the simulator, at the end.
    """

    env: str
    planner: str
    frameskip: int
    start: np.ndarray
    goal: np.ndarray
    steps: np.ndarray
    rollouts: np.ndarray
    virtual: np.ndarray | None
    best_cost: np.ndarray
    imagined: np.ndarray
    executed: np.ndarray
    distances: dict[str, float]
    success: bool


class Recorder:
    """A callback for ``plan`` that keeps what a planner has in hand for one of the problems.

    At most ``2 * frames`` moments are kept; when there are more, every other one is dropped.

    Args:
        planner: the one that plans.
        index: of the problem in the batch.
        frames: about how many moments to keep.

    Example::

        recorder = Recorder(planner, index=0)
        evaluation = evaluate(task, model, planner, budget, episodes, callback=recorder)
        recording = recorder.recording(evaluation, model)
    """

    def __init__(self, planner: Planner, index: int = 0, frames: int = 100) -> None:
        if index < 0 or frames < 2:
            raise GraspPlannerError(f"a recorder needs index >= 0 and frames >= 2, got {index} and {frames}")
        self.planner, self.index, self.frames = planner, index, frames
        self._every = 1
        self._moments: list[tuple[int, Tensor, Tensor | None]] = []
        self._problem: Problem | None = None

    def __call__(self, progress: Progress) -> None:
        """Keep this moment, if it is one of those to keep."""
        self._problem = progress.problem
        if progress.state is None or progress.step % self._every:
            return
        actions = self.planner.actions(progress.state)[self.index]
        planner = self.planner
        virtual = planner.virtual(progress.state)[self.index].clone() if isinstance(planner, Lifted) else None
        self._moments.append((progress.step, actions.clone(), virtual))
        if len(self._moments) > 2 * self.frames:
            self._every *= 2
            self._moments = [moment for moment in self._moments if moment[0] % self._every == 0]

    def recording(self, evaluation: Evaluation, model: WorldModel) -> Recording | None:
        """The recording, with all plans in hand rolled out now; ``None`` where the model does not decode states.

        The last moment is the plan itself: what ``plan`` returned, after the final sync.
        """
        if evaluation.imagined is None or self._problem is None:
            return None
        i, found = self.index, evaluation.plan
        steps = [step for step, _, _ in self._moments] + [found.steps]
        actions = torch.stack([actions for _, actions, _ in self._moments] + [found.actions[i]])
        latents = _rolled_out(self._problem, model, i, actions)
        virtual = [states for _, _, states in self._moments if states is not None]
        lifted = decoded(model, torch.stack([*virtual, latents[-1, :-1]])) if virtual else None
        rollouts = decoded(model, latents)
        assert rollouts is not None
        return Recording(
            env=evaluation.task.env,
            planner=type(evaluation.planner).__name__,
            frameskip=model.frameskip,
            start=evaluation.outcomes[i].states[0],
            goal=evaluation.goals[i],
            steps=np.array(steps),
            rollouts=rollouts,
            virtual=lifted,
            best_cost=found.trace.cost[:, i].numpy(force=True),
            imagined=evaluation.imagined[i],
            executed=evaluation.outcomes[i].states,
            distances={name: float(values[-1]) for name, values in evaluation.outcomes[i].distances.items()},
            success=evaluation.outcomes[i].success_end,
        )


def _rolled_out(problem: Problem, model: WorldModel, index: int, actions: Tensor) -> Tensor:
    """(k, T, s): rollouts of k plans of one problem, in the model itself and so on nobody's bill."""
    count = len(actions)
    one = Problem(
        model,
        states=problem.states[index : index + 1].repeat(count, 1, 1),
        past_actions=problem.past_actions[index : index + 1].repeat(count, 1, 1),
        goal=problem.goal[index : index + 1].repeat(count, 1),
        horizon=problem.horizon,
        low=problem.low,
        high=problem.high,
        objective=problem.objective,
        scale=problem.scale,
    )
    with torch.no_grad():
        return one.rollout(actions)
