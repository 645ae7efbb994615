"""Trials of settings in an Optuna storage: a study for each planner, in one SQLite file."""

from __future__ import annotations

import hashlib
import reprlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from grasp_planner.bench.suites.settings import flat_settings
from grasp_planner.bench.suites.spaces import known_settings, settings_from, spaces
from grasp_planner.control.planner_files import DIGITS, Settings, planner_of, settings_of
from grasp_planner.core.errors import GraspPlannerError, missing_extra
from grasp_planner.io.broken_files import reading
from grasp_planner.io.typed_json import from_json, to_json

ABOUT, RECORD = "grasp_planner", "grasp_planner"  # attributes of a study and of a trial
SPACE = "space"  # the name of the space of settings among the JSON values that identify a tuning


@dataclass(frozen=True)
class Trial:
    """One setting of a planner, and its losses.

    Attributes:
        number: number of the trial among the trials of its planner, from 0.
        settings: the settings.
        losses: the loss of each validation episode; empty if the trial failed.
        seconds: wall-clock time of the trial.
        error: why the trial failed; empty if it did not fail.

    Example:
        >>> Trial(0, {"name": "cem"}, (0.0, 1.0), 2.5).loss
        0.5
    """

    number: int
    settings: Settings
    losses: tuple[float, ...]
    seconds: float
    error: str = ""

    @property
    def loss(self) -> float | None:
        """The mean loss; ``None`` if the trial failed."""
        return None if self.error else fmean(self.losses)


Outcome = tuple[tuple[float, ...], float, str]
"""The losses of a setting, its seconds, and why it failed, if it did."""


class TrialStorage:
    """The trials of a tuning, in a file. Trials are added and never changed.

    Each trial is suggested from the trials before it, by Optuna's TPE with a random seed of its own. A tuning that was
    killed therefore continues with the same suggestions as an uninterrupted tuning.

    Args:
        path: the file, which is created if it does not exist.
        seed: seed of the suggestions.
        about: JSON values that identify the tuning. A file with other values is refused.

    Raises:
        MissingExtraError: Optuna is not installed.
        GraspPlannerError: the file is no SQLite file, or holds another tuning.
    """

    def __init__(self, path: Path, seed: int, about: Mapping[str, Any]) -> None:
        try:
            import optuna
        except ImportError as error:
            raise missing_extra("optuna", "tune", "tuning of planners") from error
        self.path, self.seed, self.about = path, seed, {**to_json(about), "seed": seed}
        with quiet(), reading(path, "Optuna storage (SQLite)"):
            # The URL names the dialect only: releases of SQLAlchemy differ in how a path is escaped in a URL.
            connect = partial(sqlite3.connect, path.absolute(), check_same_thread=False)
            self._storage = optuna.storages.RDBStorage("sqlite:///trials.db", engine_kwargs={"creator": connect})
            try:
                self._check_tuning()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self, space: str) -> list[Trial]:
        """Return the trials of a planner, in their order, after the trials of killed processes were ended.

        Raises:
            GraspPlannerError: the file holds another tuning, or a trial in the file is not one of this package.
        """
        with quiet():
            study = self._study(space)
            with self._writing():
                self._end_unfinished(study)
            return self._trials(study)

    def add(self, space: str, run: Callable[[Settings], Outcome]) -> Trial:
        """Run the next trial of a planner, and store its result.

        The first trials are the known settings of the space. Later trials are suggested by TPE. If the process dies
        within ``run``, the trial does not count, and the next process suggests the same settings again.

        Raises:
            GraspPlannerError: the result cannot be written.
        """
        import optuna

        with quiet():
            study = self._study(space)
            number, known = len(self._trials(study)), known_settings(space)
            if number < len(known):
                trial = Trial(number, known[number], *run(known[number]))
                params, laws = _within(space, trial.settings)
                done = optuna.trial.create_trial(
                    state=_state(trial),
                    value=trial.loss,
                    params=params,
                    distributions=laws,
                    user_attrs={RECORD: to_json(trial, DIGITS)},
                )
                with self._writing():
                    study.add_trial(done)
                return trial
            with self._writing():
                study.sampler = optuna.samplers.TPESampler(seed=_seed(f"{self.seed}/{space}/{number}"))
                asked = study.ask()
                settings = settings_from(space, _Suggestions(asked))
            trial = Trial(number, settings, *run(settings))
            with self._writing():
                asked.set_user_attr(RECORD, to_json(trial, DIGITS))
                study.tell(asked, trial.loss, state=_state(trial))
            return trial

    def _check_tuning(self) -> None:
        """Check that every planner in the file belongs to this tuning. A tuning without any result is forgotten."""
        import optuna

        names = optuna.get_all_study_names(self._storage)
        studies = [optuna.load_study(study_name=one, storage=self._storage) for one in names]
        ours = [one for one in studies if ABOUT in one.user_attrs]
        if any(RECORD in trial.user_attrs for one in ours for trial in one.trials):
            for one in ours:
                self._check_same(one, {**self.about, SPACE: one.user_attrs[ABOUT].get(SPACE)})
        else:
            for one in ours:
                optuna.delete_study(study_name=one.study_name, storage=self._storage)

    def _study(self, space: str) -> Any:
        import optuna

        about = {**self.about, SPACE: to_json(spaces()[space])}
        with self._writing():
            study = optuna.create_study(storage=self._storage, study_name=space, load_if_exists=True)
            if ABOUT not in study.user_attrs and not study.trials:
                study.set_user_attr(ABOUT, about)
        self._check_same(study, about)
        return study

    def _check_same(self, study: Any, about: Mapping[str, Any]) -> None:
        """Raise unless the trials of a planner belong to the tuning that the JSON values identify."""
        found, shown = study.user_attrs.get(ABOUT, {}), reprlib.Repr()
        shown.maxstring = shown.maxother = 200
        for name in sorted({*about, *found}):
            was, now = found.get(name), about.get(name)
            if was == now:
                continue
            difference = f"there, {name} is {shown.repr(was)}, and here {shown.repr(now)}"
            if name == SPACE:
                difference = f"there, other settings of {study.study_name} are searched, as in another release"
            raise GraspPlannerError(
                f"{self.path} holds the trials of another tuning: {difference}; give another folder, or repeat the "
                "earlier command to continue the earlier tuning"
            )

    def _trials(self, study: Any) -> list[Trial]:
        finished = [one for one in study.trials if one.state.is_finished() and RECORD in one.user_attrs]
        return [self._trial(study, one.user_attrs[RECORD]) for one in finished]

    def _trial(self, study: Any, record: Any) -> Trial:
        return from_json(Trial, record, f"{self.path}, study {study.study_name!r}")

    def _end_unfinished(self, study: Any) -> None:
        """End the trials of killed processes. A trial without a result is marked as failed, and does not count."""
        import optuna

        for one in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            record = one.user_attrs.get(RECORD)
            trial = Trial(one.number, {}, (), 0.0, "killed") if record is None else self._trial(study, record)
            study.tell(one.number, trial.loss, state=_state(trial))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert errors of the storage to errors that name the file."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            cause = error.__cause__ or error
            reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
            raise GraspPlannerError(f"{self.path} cannot be written: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna log errors only, while the block runs."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class _Suggestions:
    """The values that Optuna suggests for the fields of a space."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def choice(self, field: str, values: Sequence[Any]) -> Any:
        return self._trial.suggest_categorical(field, values)

    def log(self, field: str, low: float, high: float) -> float:
        return self._trial.suggest_float(field, low, high, log=True)

    def uniform(self, field: str, low: float, high: float) -> float:
        return self._trial.suggest_float(field, low, high)


def _within(space: str, settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that lie within the space, with Optuna's distributions, so that TPE learns from them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    params, laws = {}, {}
    flat = flat_settings(settings_of(planner_of(settings)))  # with the defaults of fields that are not named
    for field, law in spaces()[space].items():
        if not isinstance(law, Mapping) or field not in flat or "share_of" in law:
            continue
        if "choice" in law:
            inside, distribution = flat[field] in law["choice"], CategoricalDistribution(law["choice"])
        else:
            ((kind, (low, high)),) = law.items()
            inside = flat[field] is not None and low <= flat[field] <= high
            distribution = FloatDistribution(low, high, log=kind == "log")
        if inside:
            params[field], laws[field] = flat[field], distribution
    return params, laws


def _state(trial: Trial) -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL if trial.error else TrialState.COMPLETE


def _seed(text: str) -> int:
    """Return a seed below 2^32 that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
