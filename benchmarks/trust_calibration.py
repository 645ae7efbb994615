"""How far plans can be believed: the law of trust on validation episodes of Push-T, against the simulator.

Half of the episodes set the two numbers of the law, the other half judge it. Prints a table, writes a picture and JSON.

    python benchmarks/trust_calibration.py --episodes 100 --horizon 100 --out docs/pictures
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from grasp_planner import GD, GRASP, Budget, MultiStart, load_world_model, plan
from grasp_planner.bench.running.model_gaps import encoded_states
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.open_loop import executable
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.trust.diagnosis import diagnose
from grasp_planner.trust.law import TrustLaw, true_errors

COVERED = 0.9
TOLERANCES = (0.005, 0.01, 0.02, 0.05, 0.1)
PLANNERS = {"grasp": (GRASP(), 50), "gd": (MultiStart(GD(lr=0.2), starts=4, start_std=1.0), 60)}


def main() -> None:
    """Plan, execute, calibrate on one half, test on the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--horizon", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("out"))
    given = parser.parse_args()
    model, problem_task = load_world_model("pusht-state"), task("push_t/dset/v1", given.horizon)
    chosen = episodes(problem_task, "validation", given.episodes)
    env = problem_task.make()
    problem = problem_of(problem_task, model, chosen)
    one_step, errors, found = [], {}, {}
    for name, (planner, steps) in PLANNERS.items():
        found[name] = plan(problem, planner, Budget(steps=steps), seeds=[episode.seed for episode in chosen])
        actions = executable(model, found[name].actions)
        outcomes = [execute(problem_task, episode, taken, env) for episode, taken in zip(chosen, actions, strict=True)]
        seen = np.stack([outcome.states[model.frameskip :: model.frameskip] for outcome in outcomes])
        truth = encoded_states(model, env, seen)
        errors[name] = true_errors(problem, found[name].states, truth)
        with torch.no_grad():
            before = torch.cat([problem.start[:, None], truth[:, :-1]], dim=1)
            one_step.append(true_errors(problem, problem.predict(before, found[name].actions), truth))
        print(f"{name}: {outcomes and sum(o.success_end for o in outcomes)} of {len(chosen)} succeed", flush=True)

    # Numbers of the law from the first half: the typical error of one step, and the factor that covers 90 %.
    half = given.episodes // 2
    step_error = float(torch.cat([one[:half] for one in one_step]).square().mean().sqrt())
    law = TrustLaw(step_error=step_error)
    ratio = torch.cat([errors[name][:half] / law.errors(problem, found[name].actions)[:half] for name in PLANNERS])
    law = replace(law, factor=float(ratio.quantile(COVERED)))
    rows, curves = [], {}
    print(f"step_error {law.step_error:.4f}, factor {law.factor:.2f} (units of the latent; 1 is 57 px or 57 degrees)\n")
    print("planner  tolerance  trusted steps  true error within it  of all steps  median true horizon")
    for name in PLANNERS:
        told = diagnose(problem, found[name], law)
        ours, true = told.error[half:], errors[name][half:]
        curves[name] = (ours, true)
        for tolerance in TOLERANCES:
            trusted = (ours <= tolerance).long().cumprod(1).bool()
            within = (true <= tolerance)[trusted].float().mean()
            really = (true <= tolerance).long().cumprod(1).sum(1).float()
            row = {
                "planner": name,
                "tolerance": tolerance,
                "trusted": float(trusted.sum(1).float().mean()),
                "within": float(within),
                "without": float((true <= tolerance).float().mean()),
                "really": float(really.median()),
            }
            rows.append(row)
            print(
                f"{name:8} {tolerance:9.3f} {row['trusted']:14.1f} {row['within']:21.3f} {row['without']:13.3f} "
                f"{row['really']:20.1f}"
            )
        gap = "none" if told.gap is None else f"{float(told.gap[half:].mean()):.3f}"
        last = torch.stack([told.error[half:, -1], true[:, -1]]).argsort(1).argsort(1).double()
        print(
            f"{name:8} virtual gap {gap}, steep steps {float(told.exploited[half:].mean()):.3f}, rank correlation of "
            f"expected and true error at the end {float(torch.corrcoef(last)[0, 1]):.2f}\n",
            flush=True,
        )
    given.out.mkdir(parents=True, exist_ok=True)
    content = {"law": asdict(law), "episodes": given.episodes, "horizon": given.horizon, "rows": rows}
    (given.out / "trust_calibration.json").write_text(json.dumps(content, indent=2) + "\n")
    picture(given.out / "trust_calibration.png", law, rows, curves)


def picture(path: Path, law: TrustLaw, rows: list[dict], curves: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Expected against true errors of every step, and how often a trusted step was within its tolerance."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for name, colour in zip(curves, ("C0", "C1"), strict=True):
        ours, true = curves[name]
        left.scatter(ours.flatten(), true.flatten(), s=4, alpha=0.4, color=colour, label=name)
        mine = [row for row in rows if row["planner"] == name]
        right.plot(
            [row["tolerance"] for row in mine],
            [row["within"] for row in mine],
            "o-",
            color=colour,
            label=f"{name}, trusted",
        )
        right.plot(
            [row["tolerance"] for row in mine],
            [row["without"] for row in mine],
            "x:",
            color=colour,
            label=f"{name}, all steps",
        )
    ends = [1e-3, 3.0]
    left.plot(ends, ends, color="0.4", lw=1)
    left.set(xscale="log", yscale="log", xlabel="expected error of a step (90 %)", ylabel="true error", xlim=ends)
    right.axhline(COVERED, color="0.4", lw=1)
    right.set(xscale="log", xlabel="tolerance", ylabel="share of steps within it", ylim=(0, 1.02))
    left.legend(), right.legend()
    figure.suptitle(f"Push-T, validation: trust law with step error {law.step_error:.3f}, factor {law.factor:.2f}")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
