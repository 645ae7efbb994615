"""The training loop: one loop for every kind of model."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.data import Episodes, Windows, split
from grasp_planner.io.atomic import make_folder
from grasp_planner.io.interrupts import delayed_interrupt
from grasp_planner.io.progress import progress_bar
from grasp_planner.io.text_files import write_json
from grasp_planner.training.checkpoints import STATE_FILE, load_state, save_state
from grasp_planner.training.engine import Engine, SingleDevice
from grasp_planner.training.learner import Learner
from grasp_planner.training.logs import CSVLog, boards
from grasp_planner.training.recipes import Recipe, build_learner
from grasp_planner.training.schedules import running_average, warmup_then_cosine
from grasp_planner.training.sources import Data, data_sets, describe, joined
from grasp_planner.training.validation import health, open_loop_errors, to_tensors

SUMMARY_FILE = "training.json"


@dataclass(frozen=True)
class Training:
    """The result of a training.

    Attributes:
        folder: the folder with ``config.json``, ``model.safetensors`` (the averaged weights), ``training.json``, the
            logs ``log.csv`` and ``validation.csv``, and the state that ``resume`` needs.
        steps: number of optimiser steps.
        seconds: wall-clock time, summed over all parts of a training that was resumed.
        errors: open-loop errors on held-out episodes: name -> horizon in environment steps -> mean, median, p90.
        collapsed: whether the latent has collapsed, so that it no longer distinguishes states.

    Example:
        >>> Training(Path("runs/mine"), steps=100, seconds=2.5, errors={}, collapsed=False).folder.name
        'mine'
    """

    folder: Path
    steps: int
    seconds: float
    errors: dict[str, dict[str, dict[str, float]]]
    collapsed: bool


def train(
    recipe: Recipe,
    data: Data | Sequence[Data],
    out: str | Path,
    *,
    resume: bool = False,
    device: str | torch.device = "cpu",
    engine: Engine | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    wandb: bool = False,
    log_every: int = 100,
    validate_every: int = 2000,
    checkpoint_every: int = 1000,
    callback: Callable[[int, dict[str, float]], None] | None = None,
) -> Training:
    """Train a model by a recipe and save it in a folder.

    Each batch is drawn with replacement from a random stream that depends only on the seed, the process and the step.
    A training that was killed and resumed therefore gives the same result as an uninterrupted one (bit for bit on a
    CPU). After Ctrl-C, ``train`` finishes the current step, saves a checkpoint and raises ``KeyboardInterrupt``. A
    second Ctrl-C raises ``KeyboardInterrupt`` immediately.

    Args:
        recipe: the model and the settings of the training; see ``RECIPES``.
        data: a data set's folder, ``Episodes`` in memory, or a sequence of these, which are trained on together.
        out: the folder for all files.
        resume: continue from the last checkpoint in ``out``.
        device: where to train; ignored when ``engine`` is given.
        engine: engine for several devices, see ``engine.FabricEngine``.
        progress: show a progress bar.
        tensorboard: also write TensorBoard logs, in ``out/tensorboard``.
        wandb: also log to Weights & Biases; ``WANDB_MODE=offline`` writes only to ``out/wandb``.
        log_every: optimiser steps between rows of ``log.csv``.
        validate_every: optimiser steps between validations.
        checkpoint_every: optimiser steps between checkpoints.
        callback: called after each validation with the step and the errors (``block_px_25_mean`` and so on).

    Raises:
        GraspPlannerError: the data do not fit the recipe, ``out`` cannot be written, ``out`` holds another training, or
            the loss is no longer finite.
        OSError: a file cannot be written, for example since the disk is full. The last checkpoint is unchanged.

    Example:
        >>> import tempfile
        >>> from grasp_planner.models import StateModelConfig
        >>> from grasp_planner.training import Phase
        >>> walks = [np.cumsum(np.random.default_rng(i).normal(size=(31, 2)), axis=0) for i in range(8)]
        >>> data = Episodes.of([{"state": walk} for walk in walks], [np.diff(walk, axis=0) for walk in walks])
        >>> model = StateModelConfig(state_size=2, action_size=2, frameskip=1, substeps=1, width=16)
        >>> mine = Recipe(model, steps=3, phases=(Phase(1.0, 1, 16),), validation=0.25, horizons=(5,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = train(mine, data, folder, progress=False)
        >>> done.steps, done.collapsed, sorted(done.errors)
        (3, False, ['state_0', 'state_1'])
    """
    engine = SingleDevice(device, recipe.precision) if engine is None else engine
    folder = make_folder(Path(out))
    if not resume and (folder / STATE_FILE).exists():
        raise GraspPlannerError(f"{folder} already holds a training: resume it (resume=True), or give another folder")
    run = _Run.begin(recipe, data, folder, engine, resume, progress)
    first_step, earlier, begun = run.step, run.seconds, time.monotonic()
    writes = engine.rank == 0
    log = CSVLog(folder / "log.csv", first_step) if writes else None
    validation = CSVLog(folder / "validation.csv", first_step) if writes else None

    done, total = recipe.windows(first_step), recipe.windows(recipe.steps)
    bar = progress_bar(f"{folder.name}, windows", total, done=done, show=progress and writes)
    with (
        boards(folder, recipe.as_dict(), first_step, tensorboard and writes, wandb and writes) as opened,
        delayed_interrupt() as interrupted,
        bar as advance,
    ):
        while run.step < recipe.steps:
            row = run.advance()
            advance(recipe.phase(run.step - 1).batch)
            run.seconds = earlier + time.monotonic() - begun
            last = run.step == recipe.steps
            if log is not None and (last or run.step % log_every == 0):
                numbers = {"step": run.step, "seconds": round(run.seconds, 1), **row()}
                log.write(numbers)
                for board in opened:
                    board.write(numbers)
            if validation is not None and (last or run.step % validate_every == 0):
                errors = run.validate()
                validation.write({"step": run.step, **errors})
                for board in opened:
                    board.write({"step": run.step, **errors})
                if callback is not None:
                    callback(run.step, errors)
            stopped = interrupted()
            if writes and (last or stopped or run.step % checkpoint_every == 0):
                run.save()
            if stopped:
                break
    return run.finish()


@dataclass
class _Run:
    """The state of a training between two optimiser steps."""

    recipe: Recipe
    folder: Path
    engine: Engine
    held_out: Episodes
    training: Episodes
    windows: dict[tuple[int, bool], Windows]  # by the unroll and whether the encoder is frozen
    learner: Learner
    wrapped: Any  # the learner as the engine runs it
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    schedule: LRScheduler
    summary: dict[str, Any]
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(
        cls,
        recipe: Recipe,
        data: Data | Sequence[Data],
        folder: Path,
        engine: Engine,
        resume: bool,
        progress: bool,
    ) -> _Run:
        state = load_state(folder, recipe.as_dict()) if resume else None
        learner = build_learner(recipe)
        if state is not None:
            learner.load_state_dict(state["learner"])
        parts = learner.encoded(
            data_sets(data, learner.observations),
            device=engine.device,
            seed=recipe.seed,
            fitted=state is not None,
            progress=progress,  # only the process that encodes shows it
        )
        episodes = joined(parts, learner.cut(recipe.model.frameskip).keys)
        training, held_out = split(episodes, recipe.validation, recipe.seed)
        windows = {}
        for phase in recipe.phases:
            cut = learner.cut(phase.unroll)
            windows[phase.unroll, False] = Windows(training, cut.history, cut.future, cut.frameskip, cut.keys)
        learner.prepare(training, recipe.seed)
        summary = {
            "recipe": recipe.as_dict(),
            "data": {
                **describe(episodes),
                "episodes": len(training),
                "held_out_episodes": len(held_out),
                "environment_steps": training.steps * training.frameskip,
            },
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
        learner.to(engine.device)
        step, seconds = (0, 0.0) if state is None else (state["step"], state["seconds"])
        average = running_average(learner.model, recipe.average, step)
        optimiser = torch.optim.AdamW(learner.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        schedule = warmup_then_cosine(optimiser, recipe.warmup, recipe.steps)
        if state is not None:
            learner.load_state_dict(state["learner"])
            average.module.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
        wrapped, optimiser = engine.setup(learner, optimiser)
        return cls(
            recipe,
            folder,
            engine,
            held_out,
            training,
            windows,
            learner,
            wrapped,
            average,
            optimiser,
            schedule,
            summary,
            step,
            seconds,
        )

    def advance(self) -> Callable[[], dict[str, float]]:
        """Make one optimiser step, and return a function that gives the row of the log."""
        recipe, engine, step = self.recipe, self.engine, self.step
        phase = recipe.phase(step)
        generator = torch.Generator()
        seeds = np.random.SeedSequence([recipe.seed, engine.rank, step])
        generator.manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        if (phase.unroll, phase.frozen) not in self.windows:
            self._freeze()
        windows = self.windows[phase.unroll, phase.frozen]
        size = max(1, phase.batch // engine.processes)
        chosen = torch.randint(len(windows), (size,), generator=generator).numpy()
        batch = to_tensors(windows[chosen], engine.device)

        lr = float(self.schedule.get_last_lr()[0])
        self.optimiser.zero_grad(set_to_none=True)
        with engine.precision():
            loss = self.wrapped(batch, generator)
        engine.backward(loss)
        loss = loss.detach()
        norm = nn.utils.clip_grad_norm_(list(self.learner.parameters()), recipe.clip)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.learner.model)
        self.step += 1

        def row() -> dict[str, float]:
            numbers = {"loss": float(loss), "gradient_norm": float(norm), "lr": lr}
            if not np.isfinite([numbers["loss"], numbers["gradient_norm"]]).all():
                raise GraspPlannerError(
                    f"the loss is no longer finite at step {step} (loss {numbers['loss']}): look for NaN in the data, "
                    f"or lower lr ({recipe.lr}); the last checkpoint is in {self.folder}"
                )
            return {**numbers, "unroll": phase.unroll}

        return row

    def _freeze(self) -> None:
        """Add visual latents to the windows of frozen phases.

        The visual latents depend only on the averaged weights, so a resumed training computes the same visual latents.
        """
        encoded = self.learner.freeze(self.averaged(), self.training)
        for phase in self.recipe.phases:
            if phase.frozen:
                cut = self.learner.cut(phase.unroll, frozen=True)
                self.windows[phase.unroll, True] = Windows(encoded, cut.history, cut.future, cut.frameskip, cut.keys)

    def averaged(self) -> Any:
        """Return the averaged model, with the statistics that belong to its weights."""
        self.learner.settle(self.average.module, self.training)
        return self.average.module

    def errors(self) -> dict[str, dict[str, dict[str, float]]]:
        return open_loop_errors(
            self.learner, self.averaged(), self.held_out, self.recipe.horizons, device=self.engine.device
        )

    def validate(self) -> dict[str, float]:
        flat = {
            f"{name}_{horizon}_{statistic}": value
            for name, horizons in self.errors().items()
            for horizon, statistics in horizons.items()
            for statistic, value in statistics.items()
        }
        measured = self.health()
        return flat | {"latent_std_min": measured.latent_std_min, "effective_rank": measured.effective_rank}

    def health(self) -> Any:
        longest = max(self.recipe.horizons)
        return health(self.learner, self.averaged(), self.held_out, longest, device=self.engine.device)

    def save(self) -> None:
        """Write a checkpoint: the averaged model, and the state for resuming."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.learner.model.parameters()):
            raise GraspPlannerError(
                f"weights are no longer finite at step {self.step}: lower lr; the last good checkpoint "
                f"is in {self.folder}"
            )
        average = self.averaged()
        average.save_pretrained(self.folder)
        state = {
            "recipe": self.recipe.as_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "learner": self.learner.state_dict(),
            "average": average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        save_state(self.folder, state)

    def finish(self) -> Training:
        errors, measured = self.errors(), self.health()
        if measured.collapsed:
            warnings.warn(
                f"the latent has collapsed (smallest standard deviation {measured.latent_std_min:.2g} of its scale, "
                f"effective rank {measured.effective_rank:.2f}): it no longer distinguishes states",
                RuntimeWarning,
                stacklevel=3,
            )
        if self.engine.rank == 0:
            outcome = {"steps": self.step, "seconds": round(self.seconds, 1), "errors": errors}
            collapse = {"collapsed": measured.collapsed}
            write_json(self.folder / SUMMARY_FILE, self.summary | outcome | collapse)
        return Training(self.folder, self.step, self.seconds, errors, measured.collapsed)
