"""``check_world_model``: test whether a model has the properties that planners rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.core.problem import Problem
from grasp_planner.core.world_model import ActionUnits

STEPS = 10  # model steps in the rollout


@dataclass(frozen=True)
class Check:
    """The result of one check of ``check_world_model``.

    Attributes:
        name: name of the check, such as ``"scale"``.
        passed: whether the model passed.
        detail: what was observed; for a failed check also what was expected.

    Example:
        >>> Check("scale", True, "2 latent coordinates").passed
        True
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """The result of ``check_world_model``; ``print`` it for a table.

    Attributes:
        model: name of the model's class.
        checks: the results, in the order of the checks.

    Example:
        >>> print(Report("Mine", (Check("scale", False, "must be finite and > 0, got [0.0]"),)))
        Mine: 1 of 1 checks failed
        FAIL  scale  must be finite and > 0, got [0.0]
    """

    model: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        """Return a table of the results."""
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [f"{'ok  ' if c.passed else 'FAIL'}  {c.name:<{width}}  {c.detail}" for c in self.checks]
        failed = sum(not check.passed for check in self.checks)
        verdict = "all checks passed" if failed == 0 else f"{failed} of {len(self.checks)} checks failed"
        return "\n".join([f"{self.model}: {verdict}", *lines])


class _Broken(Exception):
    """Raised by a failed check; the message gives details."""


def check_world_model(
    model: Any,
    observations: Any = None,
    *,
    states: Tensor | None = None,
    seed: int = 0,
    tolerance: float = 1e-4,
    strict: bool = False,
) -> Report:
    """Check whether a model has the properties that planners rely on.

    - **interface**: ``context``, ``frameskip``, ``low``, ``high``, ``scale``, ``encode``, callable;
    - **bounds**, **scale**: shapes, finite scale > 0, low <= high and somewhere low < high;
    - **encode**: (b, h, s), finite, the same latent for an observation alone and in a batch;
    - **shapes**: (n, h, s) and (n, h, a) to (n, s) of the same dtype, also for one row; finite;
    - **determinism**: the same call twice gives the same result, and the global random state is unchanged;
    - **batch independence**: rows predicted alone equal rows predicted together;
    - **inputs untouched**: states and actions are not changed;
    - **rollout**: ten model steps within the bounds stay finite, and one-step predictions along the rollout equal the
      rollout (a model that reads only one frame of a window fails);
    - **gradients**: the gradient of the end of the rollout is finite for every action, and not zero for all of them;
    - **action units**: ``model_actions`` is the inverse of ``environment_actions``, if the model has them;
    - **weights untouched**: parameters, buffers, ``.grad`` and train/eval mode are unchanged.

    Args:
        model: the model to check, which should be a ``WorldModel``.
        observations: a mapping of (b, h, ...) arrays that ``encode`` takes; the rollout starts from it.
        states: (b, h, s) latents from which the rollout starts instead. ``None``, and no observations: random latents
            of size ``scale``.
        seed: seed of the random latents and actions.
        tolerance: largest difference between numbers that should be equal, relative to ``scale`` plus their size.
        strict: whether to raise an error if a check fails.

    Returns:
        A report, whose ``ok`` is true if every check passed.

    Raises:
        GraspPlannerError: a check failed and ``strict`` is True; the message is the report.

    Example:
        >>> from grasp_planner.models import check_world_model, load_world_model
        >>> check_world_model(load_world_model("pusht-state")).ok
        True
    """
    session = _Session(model, observations, states, seed, tolerance)
    checks = [session.run("interface", session.interface)]
    if checks[0].passed:
        with _unchanged(model) as differences:
            checks += [session.run(name, body) for name, body in session.bodies()]
        checks.append(Check("weights untouched", not differences, ", ".join(differences) or "as before"))
    report = Report(type(model).__name__, tuple(checks))
    if strict and not report.ok:
        raise GraspPlannerError(f"the model does not keep its promises\n{report}")
    return report


class _Session:
    """A model and the inputs of its checks."""

    def __init__(self, model: Any, observations: Any, states: Tensor | None, seed: int, tolerance: float) -> None:
        self.model, self.observations, self.states = model, observations, states
        self.generator = torch.Generator().manual_seed(seed)
        self.tolerance = tolerance

    def run(self, name: str, body: Callable[[], str]) -> Check:
        try:
            with torch.no_grad():
                return Check(name, True, body())
        except _Broken as broken:
            return Check(name, False, str(broken))
        except Exception as error:  # any error that a model raises is a result of the check
            return Check(name, False, f"raised {type(error).__name__}: {error}")

    def bodies(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "bounds", self.bounds
        yield "scale", self.scale
        if self.observations is not None:
            yield "encode", self.encode
        yield "shapes", self.shapes
        yield "determinism", self.determinism
        yield "batch independence", self.batch
        yield "inputs untouched", self.inputs
        yield "rollout", self.rollout
        yield "gradients", self.gradients
        if isinstance(self.model, ActionUnits):
            yield "action units", self.units

    def interface(self) -> str:
        model = self.model
        names = ("context", "frameskip", "low", "high", "scale", "encode")
        missing = [name for name in names if getattr(model, name, None) is None]
        _require(not missing, f"missing: {', '.join(missing)}")
        _require(callable(model), "not callable")
        for name in ("context", "frameskip"):
            value = getattr(model, name)
            _require(type(value) is int and value >= 1, f"{name} must be an int >= 1, got {value!r}")
        for name in ("low", "high", "scale"):
            value = getattr(model, name)
            good = isinstance(value, Tensor) and value.ndim == 1 and value.is_floating_point()
            _require(good, f"{name} must be a floating-point tensor of one axis, got {value!r}")
        return f"context {model.context}, frameskip {model.frameskip}"

    def bounds(self) -> str:
        low, high = self.model.low, self.model.high
        _require(low.shape == high.shape, f"low is {tuple(low.shape)}, high is {tuple(high.shape)}")
        _require(bool((low <= high).all()), "low > high in some coordinate")
        _require(bool((low < high).any()), "low == high everywhere leaves no choice")
        _require(len(low) % self.model.frameskip == 0, f"{len(low)} action coordinates, frameskip does not divide")
        return f"{len(low)} action coordinates in [{float(low.min()):.3g}, {float(high.max()):.3g}]"

    def scale(self) -> str:
        scale = self.model.scale
        _require(bool((scale.isfinite() & (scale > 0)).all()), f"must be finite and > 0, got {scale.tolist()}")
        return f"{len(scale)} latent coordinates, {float(scale.min()):.3g} to {float(scale.max()):.3g}"

    def encode(self) -> str:
        latents = self.model.encode(self.observations)
        wanted = (self.model.context, len(self.model.scale))
        shape = tuple(latents.shape)
        _require(len(shape) == 3 and shape[1:] == wanted, f"must be (b, {wanted[0]}, {wanted[1]}), got {shape}")
        _require(bool(latents.isfinite().all()), "NaN or infinity in a latent")
        first = self.model.encode({key: value[:1] for key, value in self.observations.items()})
        self._equal(first, latents[:1], "the first observation alone and in its batch")
        return f"{shape}"

    def shapes(self) -> str:
        states, actions = self._windows()
        after = self.model(states, actions)
        wanted = (len(states), states.shape[-1])
        _require(tuple(after.shape) == wanted, f"must return {wanted}, got {tuple(after.shape)}")
        _require(after.dtype == states.dtype, f"given {states.dtype}, returned {after.dtype}")
        _require(bool(after.isfinite().all()), "NaN or infinity in a prediction")
        single = self.model(states[:1], actions[:1])
        _require(tuple(single.shape) == (1, wanted[1]), f"for one row, must return (1, s), got {tuple(single.shape)}")
        strided = self.model(states.repeat_interleave(2, 0)[::2], actions.repeat_interleave(2, 0)[::2])
        self._equal(strided, after, "contiguous and strided inputs")
        return f"{tuple(states.shape)}, {tuple(actions.shape)} -> {wanted}, {after.dtype}"

    def determinism(self) -> str:
        states, actions = self._windows()
        before = torch.get_rng_state()
        same = torch.equal(self.model(states, actions), self.model(states, actions))
        _require(same, "the same call gave two results: dropout, or sampling?")
        _require(torch.equal(before, torch.get_rng_state()), "the global random state moved")
        return "the same to the bit"

    def batch(self) -> str:
        states, actions = self._windows()
        together = self.model(states, actions)
        alone = torch.cat([self.model(s[None], a[None]) for s, a in zip(states, actions)])
        gap = self._equal(alone, together, "rows alone and together (batch normalisation in train mode?)")
        backwards = self.model(states.flip(0), actions.flip(0)).flip(0)
        return f"largest difference {max(gap, self._equal(backwards, together, 'rows in another order')):.1e}"

    def inputs(self) -> str:
        states, actions = self._windows()
        kept = states.clone(), actions.clone()
        self.model(states, actions)
        same = torch.equal(states, kept[0]) and torch.equal(actions, kept[1])
        _require(same, "the model wrote to its states or actions")
        return "as before"

    def rollout(self) -> str:
        problem, actions = self._problem()
        states = problem.rollout(actions)
        finite = states.isfinite().flatten(2).all(2).all(0)
        _require(bool(finite.all()), f"NaN or infinity from step {int((~finite).nonzero()[:1].sum()) + 1} on")
        before = torch.cat([problem.start[:, None], states[:, :-1]], dim=1)
        gap = self._equal(problem.predict(before, actions), states, "predictions along a rollout and the rollout")
        return f"{STEPS} steps finite, predictions along it differ by {gap:.1e}"

    def gradients(self) -> str:
        problem, actions = self._problem()
        with torch.enable_grad():
            actions.requires_grad_(True)
            end = problem.rollout(actions)[:, -1] / self.model.scale
            _require(end.requires_grad, "the prediction has no graph: a detach, or no_grad inside the model?")
            (gradient,) = torch.autograd.grad(end.square().sum(), actions)
        _require(bool(gradient.isfinite().all()), "NaN or infinity in a gradient")
        sizes = gradient.norm(dim=-1)
        _require(bool((sizes > 0).any()), "zero for every action: the model ignores actions (untrained?)")
        step = int((sizes == 0).all(0).sum())
        _require(step == 0, f"zero at {step} of {STEPS} steps for every row")
        return f"per step between {float(sizes.min()):.1e} and {float(sizes.max()):.1e}"

    def units(self) -> str:
        _, actions = self._windows()
        block = self.model.environment_actions(actions)
        shape = tuple(block.shape)
        _require(shape[-2] == self.model.frameskip, f"must be (..., {self.model.frameskip}, e), got {shape}")
        gap = float((self.model.model_actions(block) - actions).abs().max())
        _require(gap <= self.tolerance, f"there and back differs by {gap:.1e}")
        return f"(..., {shape[-2]}, {shape[-1]}) environment actions, there and back differs by {gap:.1e}"

    def _start(self) -> Tensor:
        """Return the latents (b, h, s) from which the rollout starts."""
        model = self.model
        if self.states is not None:
            return self.states.to(model.scale)
        if self.observations is not None:
            return model.encode(self.observations)
        drawn = torch.randn(4, model.context, len(model.scale), generator=self.generator)
        return drawn.to(model.scale) * model.scale

    def _actions(self, *shape: int) -> Tensor:
        low, high = self.model.low.clamp(min=-10.0), self.model.high.clamp(max=10.0)
        drawn = torch.rand(*shape, len(low), generator=self.generator).to(low)
        return low + drawn * (high - low)

    def _windows(self) -> tuple[Tensor, Tensor]:
        states = self._start()
        return states, self._actions(len(states), self.model.context)

    def _problem(self) -> tuple[Problem, Tensor]:
        states, model = self._start(), self.model
        past = self._actions(len(states), model.context - 1)
        bounds = model.low, model.high
        problem = Problem(model, states, past, states[:, -1], STEPS, *bounds, scale=model.scale)
        return problem, self._actions(len(states), STEPS)

    def _equal(self, one: Tensor, other: Tensor, what: str) -> float:
        _require(one.shape == other.shape, f"{what}: shapes {tuple(one.shape)} and {tuple(other.shape)}")
        gap = float(((one - other).abs() / (self.model.scale + other.abs())).max())
        _require(gap <= self.tolerance, f"{what} differ by {gap:.1e}, relative to scale and size")
        return gap


@contextmanager
def _unchanged(model: Any) -> Iterator[list[str]]:
    """Collect how the state of a module differs after the block."""
    differences: list[str] = []
    if not isinstance(model, nn.Module):
        yield differences
        return
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    gradients = {name: p.grad is None for name, p in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    yield differences
    state = model.state_dict()
    differences += [f"{name} changed" for name, old in tensors.items() if not torch.equal(old, state[name])]
    differences += [
        f"{name}.grad was written" for name, p in model.named_parameters() if gradients[name] != (p.grad is None)
    ]
    differences += [
        f"{name or 'the model'} changed mode" for name, m in model.named_modules() if modes[name] != m.training
    ]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Broken(message)
