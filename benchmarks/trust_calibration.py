"""Calibrate and test the trust law on validation episodes of Push-T, against the simulator.

The law's ``step_error`` and ``factor`` come from one half of the episodes. The other half is the test set. The script
prints a table, and writes a picture and a JSON file.

    python benchmarks/trust_calibration.py --episodes 100 --horizon 100 --out docs/pictures
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grasp_planner import GD, GRASP, Budget, MultiStart, Plan, Problem, TrustLaw, diagnose, load_world_model, plan
from grasp_planner.bench.running.model_gaps import encoded_states
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.core.world_model import environment_actions
from grasp_planner.trust.law import true_errors

COVERED = 0.9
"""Share of the true errors that the calibrated law shall cover."""
TOLERANCES = (0.005, 0.01, 0.02, 0.05, 0.1)
# Planners and their steps. GRASP makes two cycles of 25 lifted steps, 25 steps of the sync and one last rollout.
PLANNERS = {"grasp": (GRASP(), 102), "gd": (MultiStart(GD(lr=0.2), starts=4), 60)}


@dataclass(frozen=True)
class Execution:
    """Plans of one planner for all episodes, and their errors in the simulator, in units of the scale.

    Attributes:
        plan: the plans.
        errors: (episodes, t) errors of the planned states.
        one_step: (episodes, t) errors of one-step predictions from the true states.
        successes: number of episodes that succeed.
    """

    plan: Plan
    errors: Tensor
    one_step: Tensor
    successes: int


@dataclass(frozen=True)
class Row:
    """Accuracy of a planner's plans on the test set, at one tolerance.

    Attributes:
        planner: name of the planner.
        tolerance: largest acceptable error.
        trusted: mean number of trusted steps.
        within: share of the trusted steps whose true error is within the tolerance.
        within_all: the same share of all steps.
        accurate: median number of steps until the true error exceeds the tolerance.
    """

    planner: str
    tolerance: float
    trusted: float
    within: float
    within_all: float
    accurate: float


def main() -> None:
    """Plan and execute the episodes, calibrate on one half of the episodes, and test on the other half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100, help="number of episodes")
    parser.add_argument("--horizon", type=int, default=100, help="environment steps from start to goal")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture and the JSON file")
    given = parser.parse_args()
    problem, executions = executed(given.episodes, given.horizon)
    half = given.episodes // 2
    law = calibrated(problem, executions, half)
    print(f"step_error {law.step_error:.4f}, factor {law.factor:.2f} (units of the latent; 1 is 57 px or 57 degrees)\n")
    print("planner  tolerance  trusted steps  share within tolerance  of all steps  median accurate steps")
    rows, curves = [], {}
    for name, execution in executions.items():
        told = diagnose(problem, execution.plan, law)
        predicted, true = told.error[half:], execution.errors[half:]
        curves[name] = (predicted, true)
        for tolerance in TOLERANCES:
            row = tested(name, tolerance, predicted, true)
            rows.append(row)
            print(
                f"{name:8} {tolerance:9.3f} {row.trusted:14.1f} {row.within:23.3f} {row.within_all:13.3f} "
                f"{row.accurate:22.1f}"
            )
        gap = "none" if told.gap is None else f"{float(told.gap[half:].mean()):.3f}"
        last = torch.stack([predicted[:, -1], true[:, -1]]).argsort(1).argsort(1).double()
        print(
            f"{name:8} virtual gap {gap}, share of steep steps {float(told.exploited[half:].mean()):.3f}, rank "
            f"correlation of predicted and true error of the last step {float(torch.corrcoef(last)[0, 1]):.2f}\n",
            flush=True,
        )
    given.out.mkdir(parents=True, exist_ok=True)
    content = {"law": asdict(law), "episodes": given.episodes, "horizon": given.horizon, "rows": [*map(asdict, rows)]}
    (given.out / "trust_calibration.json").write_text(json.dumps(content, indent=2) + "\n")
    picture(given.out / "trust_calibration.png", law, rows, curves)


def executed(count: int, horizon: int) -> tuple[Problem, dict[str, Execution]]:
    """Plan with every planner, and execute the plans in the simulator; ``horizon`` is in environment steps."""
    model, setting = load_world_model("pusht-state"), task("push_t/dset/v1", horizon)
    chosen, env = episodes(setting, "validation", count), setting.make()
    problem = problem_of(setting, model, chosen)
    executions = {}
    for name, (planner, steps) in PLANNERS.items():
        found = plan(problem, planner, Budget(steps=steps), seeds=[episode.seed for episode in chosen])
        actions = environment_actions(model, found.actions).flatten(1, 2).double().numpy()
        outcomes = [execute(setting, episode, taken, env) for episode, taken in zip(chosen, actions, strict=True)]
        seen = np.stack([outcome.states[model.frameskip :: model.frameskip] for outcome in outcomes])
        truth = encoded_states(model, env, seen)
        before = torch.cat([problem.start[:, None], truth[:, :-1]], dim=1)
        with torch.no_grad():
            one_step = true_errors(problem, problem.predict(before, found.actions), truth)
        successes = sum(outcome.success_end for outcome in outcomes)
        executions[name] = Execution(found, true_errors(problem, found.states, truth), one_step, successes)
        print(f"{name}: {successes} of {count} succeed", flush=True)
    return problem, executions


def calibrated(problem: Problem, executions: Mapping[str, Execution], half: int) -> TrustLaw:
    """Compute from the first half the typical error of one step, and the factor that covers 90 % of the errors."""
    one_step = torch.cat([execution.one_step[:half] for execution in executions.values()])
    law = TrustLaw(step_error=float(one_step.square().mean().sqrt()))
    ratios = [one.errors[:half] / law.errors(problem, one.plan.actions)[:half] for one in executions.values()]
    return replace(law, factor=float(torch.cat(ratios).quantile(COVERED)))


def tested(planner: str, tolerance: float, predicted: Tensor, true: Tensor) -> Row:
    """Compare predicted errors (episodes, t) with true errors."""
    trusted = (predicted <= tolerance).long().cumprod(1).bool()
    return Row(
        planner,
        tolerance,
        trusted=float(trusted.sum(1).float().mean()),
        within=float((true <= tolerance)[trusted].float().mean()),
        within_all=float((true <= tolerance).float().mean()),
        accurate=float((true <= tolerance).long().cumprod(1).sum(1).float().median()),
    )


def picture(path: Path, law: TrustLaw, rows: list[Row], curves: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Draw predicted against true errors of every step, and the share of steps within their tolerance."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for name, colour in zip(curves, ("C0", "C1"), strict=True):
        predicted, true = curves[name]
        left.scatter(predicted.flatten(), true.flatten(), s=4, alpha=0.4, color=colour, label=name)
        mine = [row for row in rows if row.planner == name]
        tolerances = [row.tolerance for row in mine]
        right.plot(tolerances, [row.within for row in mine], "o-", color=colour, label=f"{name}, trusted steps")
        right.plot(tolerances, [row.within_all for row in mine], "x:", color=colour, label=f"{name}, all steps")
    ends = [1e-3, 3.0]
    left.plot(ends, ends, color="0.4", lw=1)
    left.set(xscale="log", yscale="log", xlabel="predicted error of a step (90 %)", ylabel="true error", xlim=ends)
    right.axhline(COVERED, color="0.4", lw=1)
    right.set(xscale="log", xlabel="tolerance", ylabel="share of steps within the tolerance", ylim=(0, 1.02))
    left.legend(), right.legend()
    figure.suptitle(f"Push-T, validation: trust law with step error {law.step_error:.3f}, factor {law.factor:.2f}")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
