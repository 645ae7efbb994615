"""Recordings of planning: plans and virtual states at several moments, as environment states for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_planner.bench.running.observing import problem_rows
from grasp_planner.bench.running.open_loop import Evaluation, decoded
from grasp_planner.bench.suites.settings import RECOMMENDED, planner_title
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import WorldModel
from grasp_planner.planners.recommended import recommended
from grasp_planner.planning.protocol import Planner, Progress, virtual_states


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording of how one episode was planned and executed, in environment states. ``figures`` draws recordings.

    Attributes:
        env: name of the environment's outlines, see `Task.scene`.
        planner: ``"recommended"`` for what ``recommended()`` returns; for other planners see ``planner_title``.
        frameskip: environment steps from one imagined state to the next.
        start: (s,) start state.
        goal: (s,) goal state.
        steps: (k,) planner steps of the recorded moments.
        rollouts: (k, T, s) rollouts in the model of the plans at these moments, s_1 .. s_T.
        virtual: (k, T - 1, s) the virtual states s_1 .. s_{T-1} at these moments; ``None`` for planners without
            virtual states.
        best_cost: (planner steps + 1,) cost of the best plan so far; not finite before there is a plan.
        imagined: (T + 1, s) the plan's rollout in the model.
        executed: (horizon + 1, s) the same plan in the simulator.
        distances: distances from the last state of the simulator to the goal; units are in the names.
        success: whether the last state of the simulator is a success.
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
    """A callback for ``plan`` that keeps actions and virtual states of one problem while it is planned.

    At most ``2 * frames`` moments are kept. When there are more, every second moment is dropped.

    Args:
        planner: the planner that is recorded.
        index: index of the problem in the batch.
        frames: approximate number of moments to keep.

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
        """Keep this moment, unless moments at this step are left out."""
        self._problem = progress.problem
        if progress.state is None or progress.step % self._every:
            return
        actions = self.planner.actions(progress.state)[self.index]
        virtual = virtual_states(self.planner, progress.state)
        # Virtual states are in units of the scale; they are kept in the model's own units.
        kept = None if virtual is None else virtual[self.index] * progress.problem.unit[self.index]
        self._moments.append((progress.step, actions.clone(), kept))
        if len(self._moments) > 2 * self.frames:
            self._every *= 2
            self._moments = [moment for moment in self._moments if moment[0] % self._every == 0]

    def recording(self, evaluation: Evaluation, model: WorldModel) -> Recording | None:
        """Roll out the plans of all moments, and decode. ``None`` for models that do not decode states.

        The last moment is the plan that ``plan`` returned.
        """
        if evaluation.imagined is None or self._problem is None:
            return None
        i, found = self.index, evaluation.plan
        steps = [step for step, _, _ in self._moments] + [found.steps]
        actions = torch.stack([actions for _, actions, _ in self._moments] + [found.actions[i]])
        one = problem_rows(self._problem, slice(i, i + 1)).through(model).repeat(len(actions))
        with torch.no_grad():
            latents = one.rollout(actions)
        rollouts = decoded(model, latents)
        assert rollouts is not None
        return Recording(
            env=evaluation.task.scene,
            planner=RECOMMENDED if self.planner == recommended() else planner_title(self.planner),
            frameskip=model.frameskip,
            start=evaluation.outcomes[i].states[0],
            goal=evaluation.goals[i],
            steps=np.array(steps),
            rollouts=rollouts,
            virtual=self._virtual(latents, model),
            best_cost=found.trace.cost[:, i].numpy(force=True),
            imagined=evaluation.imagined[i],
            executed=evaluation.outcomes[i].states,
            distances={name: float(values[-1]) for name, values in evaluation.outcomes[i].distances.items()},
            success=evaluation.outcomes[i].success_end,
        )

    def _virtual(self, latents: Tensor, model: WorldModel) -> np.ndarray | None:
        """Return the virtual states of all moments; for moments without virtual states, the states of the rollout."""
        if all(virtual is None for _, _, virtual in self._moments):
            return None
        rows = [rollout[:-1] if one is None else one for (_, _, one), rollout in zip(self._moments, latents)]
        return decoded(model, torch.stack([*rows, latents[-1, :-1]]))
