"""Presets: every field agrees with its source. A field that the source does not set has the planner's default."""

from __future__ import annotations

import dataclasses

import pytest

from grasp_planner import CEM, GD, GRASP, ICEM, MPPI, GraspPlannerError, LatCo, MultiStart
from grasp_planner.planners.presets import PRESETS, preset

# The values of the sources. The first three: author code, class defaults and configuration files, both with Adam, zero
# actions and a straight line without noise; gamma is 1.0 wherever the schedule is off. Adam's epsilon is torch's.
CODE = {"optimiser": "adam", "initial_noise": 0.0, "reset_states": False, "reset_moments": True, "state_epsilon": 1e-8}
CONSTANT = {"goal_weight": 1.0, "noise_schedule": "constant", "goal_schedule": "constant", "stop_gradient": True}
SOURCES = {
    "grasp/jepa-wms": (
        GRASP,
        {**CODE, **CONSTANT, "state_lr": 0.1, "action_lr": 0.001, "state_noise": 0.5}
        | {"sync_every": 100, "sync_steps": 25, "sync": GD(lr=0.1, optimiser="adam")},
    ),
    "grasp/lewm": (
        GRASP,
        {**CODE, **CONSTANT, "state_lr": 0.1, "action_lr": 0.005, "state_noise": 0.005}
        | {"sync_every": 50, "sync_steps": 10, "sync": GD(lr=0.05, optimiser="adam")},
    ),
    "grasp/lewm-cem-sync": (
        GRASP,
        {**CODE, **CONSTANT, "state_lr": 0.1, "action_lr": 0.005, "state_noise": 0.005, "gap_std": 1.0}
        | {"sync_every": 50, "sync_steps": 5, "sync": CEM(samples=64, elites=8, min_std=0.01**0.5)},
    ),
    "cem/dino-wm": (CEM, {"samples": 300, "elites": 30, "std": 1.0, "min_std": 0.0, "momentum": 0.0}),
    "gd/dino-wm": (GD, {"optimiser": "sgd", "lr": 1.0, "action_noise": 0.003}),
    "cem/jepa-wms": (CEM, {"samples": 300, "elites": 10, "std": 1.0, "min_std": 0.0, "momentum": 0.0}),
    "gd/stable-worldmodel": (MultiStart, {"planner": GD(lr=0.1, optimiser="adam"), "starts": 100}),
    "icem/paper": (
        ICEM,
        {"elites": 10, "std": 0.5, "noise_beta": 2.5, "kept_share": 0.3, "decay": 1.25, "momentum": 0.1},
    ),
    "mppi/td-mpc2": (MPPI, {"samples": 512, "std": 2.0, "min_std": 0.05, "refit_std": True}),
    "latco/paper": (
        LatCo,
        {"method": "gauss_newton", "damping": 1e-3, "dual_every": 1, "dual_rate": 0.1, "threshold": 1e-4},
    ),
    # The paper's text: plain gradient descent, noise on the line, a sync by gradient descent every 100 iterations.
    "grasp/paper": (GRASP, {"optimiser": "sgd", "sync_every": 100, "stop_gradient": True}),
}
# Numbers that the sources leave open and that are ours.
OURS = {
    "grasp/paper": {"state_lr", "action_lr", "state_noise", "initial_noise", "goal_weight", "sync", "sync_steps"},
    "icem/paper": {"samples"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_field_is_that_of_the_source(name):
    planner, (cls, source) = preset(name), SOURCES[name]
    assert type(planner) is cls
    for field in dataclasses.fields(planner):
        value = getattr(planner, field.name)
        if field.name in source:
            assert value == source[field.name], field.name
        elif field.name not in OURS.get(name, set()):
            assert value == field.default, f"{field.name}: the source does not set it"
    assert preset("grasp/paper").initial_noise > 0 and preset("grasp/paper").sync.optimiser == "sgd"


def test_every_preset_has_a_source_or_is_ours():
    assert set(PRESETS) == set(SOURCES) | {"grasp/push-t", "grasp/second-order", "cem/push-t", "gd/push-t"}
    assert preset("cem/dino_wm") is preset("CEM/DINO-WM") is preset("cem/dino-wm")
    with pytest.raises(GraspPlannerError, match="unknown preset 'cem/dino-vm': did you mean 'cem/dino-wm'"):
        preset("cem/dino-vm")
