"""Tune planners on a task of the user's own, with the same number of trials for every planner."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grasp_planner.bench.running.trial_storage import Outcome, Trial, TrialStorage
from grasp_planner.bench.suites.spaces import spaces
from grasp_planner.control.planner_files import Settings, planner_of
from grasp_planner.core.errors import GraspPlannerError, known_name, reason_of
from grasp_planner.core.plans import Budget
from grasp_planner.io.atomic import locked, make_folder
from grasp_planner.io.interrupts import lasting_interrupt
from grasp_planner.planning.protocol import Planner

Losses = Callable[[Planner, Budget, int], Sequence[float]]
"""A function of a planner, a budget and a seed. It plans validation episodes, executes the plans, and returns a loss
for each episode, for example 0 for a success and 1 for a failure. The planner with the smallest mean loss is best."""

Watch = Callable[[str, int, str], None]
"""A function of a planner's name, the number of its finished trials, and a remark."""

STORAGE_FILE = "trials.db"
MOST_FAILURES = 3
"""A tuning ends after this many trials of each planner if all of them failed."""


@dataclass(frozen=True)
class TunedPlanner:
    """The trials of one planner.

    Attributes:
        name: name of the planner's space of settings, such as ``"grasp"``.
        trials: the trials, failed trials included.

    Example:
        >>> cem = {"name": "cem", "samples": 64}
        >>> TunedPlanner("cem", (Trial(0, cem, (1.0, 0.0), 0.1), Trial(1, cem, (), 0.1, "no memory"))).failed
        1
    """

    name: str
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial with the smallest loss, the earliest of several; ``None`` if all trials failed."""
        return min((one for one in self.trials if not one.error), key=lambda one: one.loss or 0.0, default=None)

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return sum(bool(one.error) for one in self.trials)

    @property
    def planner(self) -> Planner | None:
        """The planner with the settings of the best trial; ``None`` if all trials failed."""
        return None if self.best is None else planner_of(self.best.settings)


@dataclass(frozen=True)
class Tuned:
    """The result of a tuning.

    Attributes:
        planners: the planners, the best planner first. Planners whose trials all failed come last.

    Example:
        >>> trial = Trial(0, {"name": "gd", "lr": 0.2}, (0.0,), 0.1)
        >>> Tuned((TunedPlanner("gd", (trial,)),)).best
        GD(lr=0.2, optimiser='adam', action_noise=0.0, tolerance=0.0)
    """

    planners: tuple[TunedPlanner, ...]

    @property
    def best(self) -> Planner:
        """The best planner with its best settings."""
        found = self.planners[0].planner
        assert found is not None, "tune raises if every trial of every planner failed"
        return found


def tune_planners(
    losses: Losses,
    planners: Sequence[str],
    trials: int,
    budget: Budget,
    folder: str | Path,
    *,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    watch: Watch = lambda name, done, remark: None,
) -> Tuned:
    """Search settings of planners with Optuna, with the same number of trials and the same budget for every planner.

    The first trials of a planner are known good settings; TPE suggests the later trials. Planners take turns. The
    trials are stored in ``trials.db`` in the folder, a storage of Optuna. If the tuning is stopped or killed, the same
    call continues it, with the same trials as an uninterrupted tuning if the budget is in steps or transitions. A call
    with a larger number of trials continues a finished tuning. A call with a smaller number uses the first trials of
    each planner only. A trial whose function raises an exception, or returns a loss that is not finite, is stored as
    failed, with the reason.

    Args:
        losses: a function ``losses(planner, budget, seed)``. It plans validation episodes with the planner, the budget
            and the seed, executes the plans, and returns one loss for each episode. Smaller losses are better.
        planners: names of spaces of settings: ``cem``, ``icem``, ``mppi``, ``gd``, ``latco``, ``grasp``,
            ``gauss_newton``.
        trials: number of trials of each planner.
        budget: budget of every plan.
        folder: the folder for the trials, which is created if needed.
        seed: seed of the suggestions and of the planners' noise.
        about: JSON values that identify the task, such as the name of the model. A folder with trials of another task,
            budget or seed is refused.
        watch: called after each trial.

    Raises:
        MissingExtraError: Optuna is not installed.
        GraspPlannerError: a planner is unknown, the number of trials is not positive, the folder holds another tuning
            or is used by another process or cannot be written, or the first 3 trials of every planner failed (all
            trials, if there are fewer).

    Example:
        >>> import tempfile, torch
        >>> from grasp_planner import Markov, Problem, plan
        >>> model = Markov(lambda state, action: state + 0.1 * action)
        >>> start, goal, bound = torch.zeros(4, 2), torch.full((4, 2), 0.5), torch.ones(2)
        >>> problem = Problem.between(model, start, goal, horizon=10, low=-bound, high=bound)
        >>> def losses(planner, budget, seed):
        ...     return plan(problem, planner, budget, seeds=seed).cost.tolist()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tuned = tune_planners(losses, ["gd", "cem"], 2, Budget(steps=5), folder)
        >>> [len(one.trials) for one in tuned.planners]
        [2, 2]
    """
    if trials < 1:
        raise GraspPlannerError(f"needed at least 1 trial for each planner, got {trials}")
    names = list(dict.fromkeys(known_name("space of settings", one, spaces()) for one in planners))
    if not names:
        raise GraspPlannerError(f"needed the name of at least one planner, such as {', '.join(spaces())}")
    identity = {**(about or {}), "budget": asdict(budget)}

    def run(settings: Settings) -> Outcome:
        return _outcome(losses, settings, budget, seed)

    path = make_folder(Path(folder)) / STORAGE_FILE
    with locked(path.parent), closing(TrialStorage(path, seed, identity)) as storage:
        done = {name: storage.trials(name)[:trials] for name in names}
        for name in names:
            watch(name, len(done[name]), _remark(done[name]))
        for number in range(trials):
            for name in names:
                if len(done[name]) <= number:
                    done[name].append(storage.add(name, run))
                    watch(name, len(done[name]), _remark(done[name]))
            if number + 1 >= min(trials, MOST_FAILURES) and all(one.error for name in names for one in done[name]):
                first = f"{number + 1} trials" if number else "trial"
                raise GraspPlannerError(
                    f"the first {first} of every planner failed, the last one with the error: "
                    f"{done[names[-1]][-1].error}; correct the task or the model, and give another folder than {folder}"
                )
    found = [TunedPlanner(name, tuple(done[name])) for name in names]
    return Tuned(tuple(sorted(found, key=lambda one: math.inf if one.best is None else one.best.loss or 0.0)))


def _outcome(losses: Losses, settings: Settings, budget: Budget, seed: int) -> Outcome:
    """Run a trial. Errors belong to its result, so that the settings that cause them are known."""
    began = time.perf_counter()
    try:
        with lasting_interrupt():
            returned = losses(planner_of(settings), budget, seed)
            if not isinstance(returned, Iterable):
                raise GraspPlannerError(f"needed a loss for each episode, got the {type(returned).__name__} {returned}")
            found = tuple(float(one) for one in returned)
        if not found or not all(math.isfinite(one) for one in found):
            raise GraspPlannerError(f"needed finite losses of at least one episode, got {list(found)}")
        error = ""
    except Exception as failure:  # the function is the user's, and may raise anything
        found, error = (), reason_of(failure)
    return found, round(time.perf_counter() - began, 3), error


def _remark(trials: Sequence[Trial]) -> str:
    done = TunedPlanner("", tuple(trials))
    parts = [] if done.best is None else [f"best loss {done.best.loss:.3g}"]
    return ", ".join(parts + ([f"{done.failed} failed"] if done.failed else []))
