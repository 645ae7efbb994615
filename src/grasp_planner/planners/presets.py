"""Published settings by name, each with its source, and settings that we measured ourselves.

docs/presets.md lists the properties of each source that a preset cannot express. Learning rates are those of the
source. The losses of most sources are means over features. Our losses are sums in units of the problem's scale. The
difference has no effect with Adam, but it has one with plain SGD.
"""

from __future__ import annotations

from grasp_planner.core.errors import known_name
from grasp_planner.planners.cem import CEM
from grasp_planner.planners.gauss_newton import GaussNewton
from grasp_planner.planners.gd import GD
from grasp_planner.planners.grasp import GRASP
from grasp_planner.planners.icem import ICEM
from grasp_planner.planners.latco import LatCo
from grasp_planner.planners.mppi import MPPI
from grasp_planner.planning.multi_start import MultiStart
from grasp_planner.planning.protocol import Planner

PRESETS: dict[str, Planner] = {
    # Equations 10 to 15 of arXiv 2602.00475: gradient descent, zero actions, noise on the line. The paper names a sync
    # every 100 steps, and no other number. The learning rates, gamma, sigma, epsilon and J are our choice.
    "grasp/paper": GRASP(
        optimiser="sgd",
        state_lr=0.25,
        action_lr=0.01,
        state_noise=0.05,
        initial_noise=0.05,
        sync=GD(optimiser="sgd", lr=0.01),
        sync_every=100,
        sync_steps=25,
    ),
    # Class defaults of the GRASP planner for DINO latents in the authors' fork of JEPA-WMs, which runs 1000 iterations.
    "grasp/jepa-wms": GRASP(
        state_lr=0.1,
        action_lr=0.001,
        state_noise=0.5,
        goal_weight=1.0,
        sync=GD(lr=0.1),
        sync_every=100,
        sync_steps=25,
        state_epsilon=1e-8,
    ),
    # grasp.yaml and grasp_cem_sync.yaml of the authors' fork of LeWM, which runs 750 iterations.
    "grasp/lewm": GRASP(
        state_lr=0.1,
        action_lr=0.005,
        state_noise=0.005,
        goal_weight=1.0,
        sync=GD(lr=0.05),
        sync_every=50,
        sync_steps=10,
        state_epsilon=1e-8,
    ),
    "grasp/lewm-cem-sync": GRASP(
        state_lr=0.1,
        action_lr=0.005,
        state_noise=0.005,
        goal_weight=1.0,
        sync=CEM(samples=64, elites=8, min_std=0.1),
        sync_every=50,
        sync_steps=5,
        gap_std=1.0,
        state_epsilon=1e-8,
    ),
    # DINO-WM (arXiv 2411.04983), its planner configurations: 30 rounds of CEM; 1000 steps of GD.
    "cem/dino-wm": CEM(samples=300, elites=30, std=1.0),
    "gd/dino-wm": GD(optimiser="sgd", lr=1.0, action_noise=0.003),
    # JEPA-WMs (arXiv 2512.24497): 30 rounds, 10 elites.
    "cem/jepa-wms": CEM(samples=300, elites=10, std=1.0),
    # stable-worldmodel's gradient solver: 100 candidates, AdamW at rate 0.1, 30 steps.
    "gd/stable-worldmodel": MultiStart(GD(lr=0.1), starts=100),
    # iCEM (arXiv 2008.06389).
    "icem/paper": ICEM(samples=64, elites=10, std=0.5, noise_beta=2.5, kept_share=0.3, decay=1.25, momentum=0.1),
    # TD-MPC2 (arXiv 2310.16828): 512 samples, std between 0.05 and 2. Its temperature is absolute, ours relative.
    "mppi/td-mpc2": MPPI(samples=512, std=2.0, min_std=0.05, refit_std=True),
    # LatCo (arXiv 2106.13229): Gauss-Newton, damping 1e-3, a dual update each step at rate 0.1 (200 steps).
    "latco/paper": LatCo(
        method="gauss_newton", damping=1e-3, dual_every=1, dual_rate=0.1, threshold=1e-4, initial_noise=0.0
    ),
    # Ours, for Push-T at H = 50 in `pusht-state`: chosen on validation episodes, see docs/push_t.md.
    "grasp/push-t": MultiStart(
        GRASP(
            state_lr=0.2,
            action_lr=0.2,
            state_noise=0.5,
            goal_weight=0.1,
            noise_schedule="linear",
            goal_schedule="linear",
            sync=GD(lr=0.2),
            sync_every=25,
            sync_steps=40,
        ),
        starts=16,
        start_std=1.0,
    ),
    # Ours: GRASP with a second-order sync, selection among starts, and noise on the states that is smooth in time.
    # Chosen on validation episodes of Push-T and BallNav, see docs/experiments/lifted_phase.md.
    "grasp/second-order": MultiStart(
        GRASP(
            state_lr=0.1,
            action_lr=0.3,
            state_noise=0.5,
            goal_weight=0.03,
            noise_schedule="linear",
            goal_schedule="linear",
            noise_beta=2.0,
            sync=GaussNewton(),
            sync_every=10,
            sync_steps=13,
            score_first=True,
            reset_states=True,
        ),
        starts=16,
        start_std=2.0,
        restart_every=24,
        survivors=0.5,
        noise_beta=2.0,
    ),
    "cem/push-t": CEM(samples=300, elites=9, std=2.0, min_std=0.03, momentum=0.3),
    "gd/push-t": MultiStart(GD(lr=0.2, action_noise=0.05), starts=32, start_std=2.0),
}


def preset(name: str) -> Planner:
    """Return the planner with the published settings of that name.

    Args:
        name: a name in ``PRESETS``, in upper or lower case, with dashes, underscores or neither.

    Raises:
        GraspPlannerError: there is no such preset; the message suggests the nearest name.

    Example:
        >>> from grasp_planner.planners.presets import preset
        >>> preset("cem/dino-wm").samples
        300
    """
    return PRESETS[known_name("preset", name, PRESETS)]
