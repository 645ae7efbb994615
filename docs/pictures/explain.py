"""Draw the pictures of docs/explanation/ with the library, into the folder of this file.

    python docs/pictures/explain.py            # all pictures, or the names of some

No display is needed. The script takes about a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Circle
from torch import Tensor

from grasp_planner import GD, GRASP, Budget, GaussNewton, MultiStart, Problem, TrustLaw, load_world_model, plan
from grasp_planner.bench.running.model_gaps import encoded_states
from grasp_planner.bench.running.observing import problem_of
from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.core.world_model import environment_actions
from grasp_planner.domains.ball_nav.physics import walls_of
from grasp_planner.figures.style import EXECUTED, FAINT, GOAL, INK, PLANNED, START, WALL, new_figure, save_picture
from grasp_planner.models.ball_nav import BallNav
from grasp_planner.planning.protocol import Progress, virtual_states
from grasp_planner.trust.law import true_errors

FOLDER = Path(__file__).parent


def room(axes: Any, map: str, problem: Problem, title: str) -> None:
    """Draw the walls, the start and the goal of the first problem."""
    for x0, y0, x1, y1 in walls_of(map):
        axes.plot([x0, x1], [y0, y1], color=WALL, linewidth=5, solid_capstyle="round")
    for place, colour in ((problem.start[0], START), (problem.goal[0], GOAL)):
        axes.add_patch(Circle(place.tolist(), 0.5, color=colour))
    axes.set(xlim=(0, 10), ylim=(0, 10), xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=10, color=INK)


def path(axes: Any, problem: Problem, states: Tensor, colour: str, label: str, **how: Any) -> None:
    """Draw the states of one problem, from its start."""
    points = torch.cat([problem.start[:1], states]).numpy()
    axes.plot(points[:, 0], points[:, 1], color=colour, label=label, **how)


def grasp_states() -> Any:
    """Draw the virtual states and the rollout of GRASP on BallNav, at three moments of planning."""
    problem = BallNav("cup").problem(batch=1, horizon=18, seed=3)
    planner, moments = GRASP(sync_every=40, sync_steps=20), (1, 40, 61)
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def watch(progress: Progress) -> None:
        virtual = None if progress.state is None else virtual_states(planner, progress.state)
        if virtual is not None:
            with torch.no_grad():
                seen[progress.step] = (
                    virtual[0] * problem.unit[0],
                    problem.rollout(planner.actions(progress.state))[0],
                )

    plan(problem, planner, Budget(steps=max(moments)), callback=watch)
    figure = new_figure(9, 3.5)
    names = ("after one lifted step", "after 40 lifted steps", "after the first sync")
    for i, (moment, name) in enumerate(zip(moments, names, strict=True)):
        axes = figure.add_subplot(1, 3, i + 1)
        room(axes, "cup", problem, name)
        virtual, rolled = seen[moment]
        path(axes, problem, rolled, EXECUTED, "rollout of the actions", linewidth=2)
        path(
            axes,
            problem,
            torch.cat([virtual, problem.goal[:1]]),
            PLANNED,
            "virtual states",
            marker="o",
            markersize=4,
            linewidth=0.8,
        )
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.11, wspace=0.05)
    return figure


def second_order() -> Any:
    """Compare Gauss-Newton with gradient descent on Push-T, both from a single start."""
    chosen = task("push_t/dset/v1", horizon=50)
    problem = problem_of(chosen, load_world_model("pusht-state"), episodes(chosen, "validation", 24))
    figure = new_figure(7, 3.2)
    axes = figure.add_subplot()
    for name, planner, colour in (
        ("gradient descent", GD(lr=0.1), FAINT),
        ("Gauss-Newton", GaussNewton(), PLANNED),
    ):
        trace = plan(problem, planner, Budget(steps=200)).trace
        axes.plot(trace.cost.median(1).values, color=colour, label=name, linewidth=2)
    axes.set(yscale="log", xlabel="steps of the planner", ylabel="median cost of 24 problems")
    axes.legend(frameon=False)
    figure.tight_layout()
    return figure


def restarts() -> Any:
    """Draw the plans of 16 starts on BallNav, and the share of solved problems with and without restarts."""
    problem = BallNav("slalom").problem(batch=24, horizon=18, seed=1)
    still = MultiStart(GaussNewton(), starts=16, start_std=2.0, noise_beta=2.0)
    kicked = replace(still, restart_every=14, survivors=0.5, kick_std=0.3, kick_growth=1.25)
    figure, plans = new_figure(10, 3.7), {}

    def watch(progress: Progress) -> None:
        if progress.step in (14, 28) and progress.state is not None:
            with torch.no_grad():
                actions = kicked.planner.actions(progress.state.inner)
                plans[progress.step] = problem.repeat(16).rollout(actions)[:16]

    curves = {
        "with restarts": (plan(problem, kicked, Budget(steps=210), callback=watch).trace.cost, PLANNED),
        "without restarts": (plan(problem, still, Budget(steps=210)).trace.cost, FAINT),
    }
    for i, (step, name) in enumerate(((14, "16 starts before the first restart"), (28, "14 steps later"))):
        axes = figure.add_subplot(1, 3, i + 1)
        room(axes, "slalom", problem, name)
        for states in plans[step]:
            path(axes, problem, states, PLANNED, "plan", linewidth=0.8, alpha=0.8)
    axes = figure.add_subplot(1, 3, 3)
    for name, (cost, colour) in curves.items():
        axes.plot((cost < 1e-3).double().mean(1) * 100, color=colour, label=name, linewidth=2)
    axes.set(xlabel="steps of the planner", ylabel="solved problems, %", ylim=(0, 102))
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout(pad=1.2)
    return figure


def trust() -> Any:
    """Compare predicted errors with true errors of plans on Push-T."""
    chosen, model = task("push_t/dset/v1", horizon=80), load_world_model("pusht-state")
    some = episodes(chosen, "validation", 6)
    problem, env = problem_of(chosen, model, some), chosen.make()
    found = plan(problem, MultiStart(GD(lr=0.2), starts=4), Budget(steps=60))
    actions = environment_actions(model, found.actions).flatten(1, 2).double().numpy()
    outcomes = [execute(chosen, episode, taken, env) for episode, taken in zip(some, actions, strict=True)]
    truth = encoded_states(model, env, np.stack([one.states[model.frameskip :: model.frameskip] for one in outcomes]))
    law = TrustLaw(step_error=0.006, tolerance=0.05, factor=2.0)
    predicted, true = law.errors(problem, found.actions), true_errors(problem, found.states, truth)
    trusted = law.horizon(problem, found.actions)
    figure = new_figure(10, 4.6)
    steps = np.arange(1, problem.horizon + 1)
    for i in range(6):
        axes = figure.add_subplot(2, 3, i + 1)
        axes.axvspan(0, float(trusted[i]), color=GOAL, alpha=0.12, label="trusted steps")
        axes.plot(steps, predicted[i], color=PLANNED, label="predicted error")
        axes.plot(steps, true[i], color=EXECUTED, marker="o", markersize=3, label="true error, in the simulator")
        axes.axhline(law.tolerance, color=FAINT, linewidth=1, linestyle="--", label="tolerance")
        axes.set(yscale="log", ylim=(1e-4, 3), xlim=(0, problem.horizon))
        if i > 2:
            axes.set_xlabel("model step")
        if i % 3 == 0:
            axes.set_ylabel("error")
    handles, labels = axes.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    return figure


PICTURES = {"grasp_states": grasp_states, "second_order": second_order, "restarts": restarts, "trust": trust}


def draw(folder: Path = FOLDER, names: Sequence[str] = tuple(PICTURES)) -> list[Path]:
    """Draw and write pictures; returns their paths."""
    return [save_picture(PICTURES[name](), folder / f"{name}.png") for name in names]


if __name__ == "__main__":
    for file in draw(names=sys.argv[1:] or tuple(PICTURES)):
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
