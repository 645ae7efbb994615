"""Any planner as a solver of stable-worldmodel, with stand-ins of the exact shapes of its models."""

import math
from pathlib import Path

import foreign_swm as swm
import numpy
import pytest
import torch
from foreign_swm import BLOCK, WIDTH
from swm_problems import evaluator, information, lively, solver
from torch import nn

import grasp_planner
from grasp_planner import (
    CEM,
    GD,
    GRASP,
    PLANNERS,
    AugmentedLagrangian,
    Budget,
    GraspPlannerError,
    MultiStart,
    Sequential,
    Status,
    load_world_model,
)
from grasp_planner.models.stable_worldmodel.solver import WorldModelSolver

AROUND = {
    "multi_start": MultiStart(GD(), starts=4),
    "sequential": Sequential(GD(), GD()),
    "augmented_lagrangian": AugmentedLagrangian(GD()),
}
"""Planners around planners, which cannot be made without arguments."""


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_solves(name):
    made = solver(evaluator(), AROUND.get(name) or PLANNERS[name](), Budget(transitions=600), low=-0.5, high=0.25)
    info = information(2)
    before = {key: value.clone() for key, value in info.items() if isinstance(value, torch.Tensor)}
    result = made(info, init_action=None)
    actions = result["actions"]
    assert actions.shape == (2, 4, BLOCK) and actions.dtype == torch.float32 and actions.device.type == "cpu"
    assert not actions.requires_grad and bool(((actions >= -0.5) & (actions <= 0.25)).all())
    assert len(result["costs"]) == 2 and all(math.isfinite(cost) for cost in result["costs"])
    assert set(result["status"]) <= set(map(int, Status)) and "callbacks" not in result
    for key, value in before.items():
        torch.testing.assert_close(info[key], value, rtol=0, atol=0, equal_nan=True)


def test_the_protocol_of_a_solver():
    made = WorldModelSolver(GD(), Budget(steps=1), evaluator())
    for read in (lambda: made.horizon, lambda: made.solve(information())):
        with pytest.raises(GraspPlannerError, match="call configure"):
            read()
    with pytest.raises(TypeError):
        made.configure(swm.Batched(5), 5, swm.PlanConfig(7, 2))
    made.configure(action_space=swm.Batched(5), n_envs=5, config=swm.PlanConfig(7, 2))
    assert (made.n_envs, made.horizon, made.action_dim) == (5, 7, BLOCK)


def test_a_part_of_the_environments_is_planned_for_as_if_alone():
    info = information(5)
    rows = [0, 3]
    part = {
        key: value[rows] if isinstance(value, torch.Tensor) else [value[i] for i in rows] for key, value in info.items()
    }
    planner = CEM(samples=16, elites=4)
    model = lively(swm.LeWM())
    every = solver(evaluator(model), planner, n_envs=5)(info)["actions"]
    some = solver(evaluator(model), planner, n_envs=5)(part)["actions"]
    torch.testing.assert_close(some, every[rows], rtol=0, atol=1e-4)


def test_a_warm_start_of_any_length():
    made = solver(evaluator(), GD(), Budget(steps=0))
    for length in (0, 1, 4, 6):
        given = torch.randn(2, length, BLOCK, dtype=torch.float64)
        found = made(information(), init_action=given)["actions"]
        wanted = torch.cat([given[:, :4].float(), torch.zeros(2, max(0, 4 - length), BLOCK)], dim=1)
        torch.testing.assert_close(found, wanted)
    for shape in ((1, 2, BLOCK), (2, 2, BLOCK + 1), (2, BLOCK)):
        with pytest.raises(GraspPlannerError, match="init_action must be"):
            made(information(), init_action=torch.zeros(shape))


def test_a_plan_improves_on_its_start_and_costs_are_those_of_their_objective():
    model = lively(swm.LeWM())
    info = information()
    start = torch.randn(2, 4, BLOCK)
    costs = []
    for steps in (0, 30):
        result = solver(evaluator(model), GD(), Budget(steps=steps))(info, start)
        costs.append(result["costs"])
        model.eval()
        with torch.no_grad():
            end = model.rollout({"pixels": info["pixels"][:, None]}, result["actions"][:, None])["predicted_emb"][
                :, 0, -1
            ]
            goal = model.encode({"pixels": info["goal"]})["emb"][:, -1]
        torch.testing.assert_close(torch.tensor(result["costs"]), (end - goal).square().sum(-1), rtol=1e-4, atol=1e-5)
    assert all(after < before for before, after in zip(*costs))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_model_is_left_as_it_was_whatever_the_mode_of_gradients(mode):
    model = lively(swm.LeWM())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    made = solver(evaluator(model), GRASP(sync_every=2, sync_steps=1))
    with mode():
        result = made(information())
    assert model.training and all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0)
    torch.testing.assert_close(result["actions"], solver(evaluator(model), made.planner)(information())["actions"])


def test_calls_have_noise_of_their_own_and_seeds_repeat():
    planner, model = CEM(samples=8, elites=2), lively(swm.LeWM())
    first, second = (solver(evaluator(model), planner, seed=3) for _ in range(2))
    plans = [first(information())["actions"] for _ in range(2)]
    assert not torch.equal(*plans)
    assert all(torch.equal(plans[i], second(information())["actions"]) for i in range(2))
    info, random = information(), torch.get_rng_state()
    first(info)
    assert torch.equal(random, torch.get_rng_state())


def test_consecutive_seeds_share_no_noise_between_calls():
    """The plans of solvers with consecutive seeds, over consecutive calls, all come from different noise."""
    model, planner = lively(swm.LeWM()), CEM(samples=8, elites=2)
    plans = []
    for seed in (3, 4, 5):
        made = solver(evaluator(model), planner, seed=seed)
        plans += [made(information())["actions"] for _ in range(3)]
    for i in range(len(plans)):
        assert not any(torch.allclose(plans[i], plans[j]) for j in range(i))


@pytest.mark.parametrize(
    ("model", "missing", "message"),
    [
        (swm.LeWM, "goal", r"the environment gives no goal picture: the model needs info \['goal'\]"),
        (swm.PLDM, "goal", "the environment gives no goal picture"),
        (swm.PreJEPA, "goal", "the environment gives no goal picture"),
        (swm.PreJEPA, "goal_proprio", r"the model needs info \['goal_proprio'\]"),
        (swm.TDMPC2, "goal_state", r"the model needs info \['goal_state'\]"),
    ],
)
def test_an_environment_without_a_goal_that_the_model_compares(model, missing, message):
    info = information()
    del info[missing]
    with pytest.raises(GraspPlannerError, match=message):
        solver(lively(model()))(info)


def test_a_goal_picture_for_one_of_our_own_models():
    made = WorldModelSolver(GD(), Budget(steps=1), model=load_world_model("wall-pixels"))
    made.configure(action_space=swm.Batched(2), n_envs=2, config=swm.PlanConfig(2, 1, action_block=5))
    pixels, state = torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8), torch.zeros(2, 1, 2)
    with pytest.raises(GraspPlannerError, match="the environment gives no goal picture"):
        made({"pixels": pixels, "state": state, "goal_state": state})
    assert made({"pixels": pixels, "goal": pixels})["actions"].shape == (2, 2, 10)


def test_padded_histories_are_not_read():
    """If histories in a batch differ in length, the policy pads shorter histories with copies and zero actions."""
    info = information(2, 3)
    info["pixels"][0, :2] = info["pixels"][0, 2:3]
    info["action_history"][0] = 0.0
    model = lively(swm.LeWM())
    mixed = solver(evaluator(model))(info)["actions"]
    short = {key: value[:1, -1:] if key == "pixels" else value[:1] for key, value in info.items()}
    short["action_history"] = info["action_history"][:1, :0]
    alone = solver(evaluator(model), n_envs=1)(
        {k: v for k, v in short.items() if k not in ("proprio", "extra", "state")}
    )
    torch.testing.assert_close(mixed[:1], alone["actions"], rtol=0, atol=1e-4)


def test_a_history_needs_its_actions():
    made = solver(evaluator())
    info = information(2, 3)
    del info["action_history"]
    with pytest.raises(GraspPlannerError, match=r"3 frames need info\['action_history'\] \(2, 2, 6\)"):
        made(info)
    with pytest.raises(GraspPlannerError, match=r"must be \(2, 2, 6\), got \(2, 1, 6\)"):
        made(info | {"action_history": torch.zeros(2, 1, BLOCK)})
    with pytest.raises(GraspPlannerError, match="observations and a goal"):
        made({"pixels": info["pixels"]})


def test_more_frames_than_the_model_reads():
    info = information(2, 5)
    newest = information(2, 5)
    newest = {k: v[:, -3:] if k in ("pixels", "proprio", "extra", "state") else v for k, v in newest.items()}
    newest["action_history"] = info["action_history"][:, -2:]
    model = lively(swm.LeWM())
    torch.testing.assert_close(solver(evaluator(model))(info)["actions"], solver(evaluator(model))(newest)["actions"])


class Scaler:
    def transform(self, x):
        return (x - numpy.array([0.5, 0.0])) / numpy.array([0.25, -2.0])  # the scaling inverts an axis


def test_bounds():
    made = solver(evaluator(), action_scaler=Scaler())
    assert made.setting.low.tolist() == [-6.0, -0.5] * 3 and made.setting.high.tolist() == [2.0, 0.5] * 3
    made = solver(evaluator(), low=[-1.0, -2.0], high=[float(i) for i in range(BLOCK)])
    assert made.setting.low.tolist() == [-1.0, -2.0] * 3 and made.setting.high.tolist() == [
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    ]
    assert solver(evaluator()).setting.high.tolist() == [math.inf] * BLOCK
    with pytest.raises(GraspPlannerError, match="low must be 1, 2 or 6 numbers, got 4"):
        solver(evaluator(), low=[0.0] * 4)
    with pytest.raises(GraspPlannerError, match="give low= and high=, or action_scaler="):
        WorldModelSolver(GD(), Budget(steps=1), evaluator(), low=1.0, action_scaler=Scaler())


def test_callbacks():
    recorder = swm.Recorder()
    made = solver(evaluator(), GD(), Budget(steps=6), callbacks=[recorder])
    for _ in range(2):
        result = made(information())
        (steps,) = result["callbacks"]["best"]
        assert len(steps) == 6 and steps == sorted(steps, reverse=True)
    state = recorder.seen[-1]
    assert state["step"] == 5 and state["params"].shape == state["candidates"].shape == (2, 1, 4, BLOCK)
    assert state["costs"].shape == (2, 1) and torch.isclose(state["cost"], state["costs"].sum())


def test_their_objectives():
    model = lively(swm.PreJEPA())
    terms = [
        (1.0, swm.GoalMSE("predicted_pixels_emb", "pixels_goal_emb", "mean")),
        (0.5, swm.GoalMSE("predicted_proprio_emb", "proprio_goal_emb", "mean")),
        (0.01, swm.ControlPenalty()),
    ]
    made = solver(swm.ShootingCostEvaluator(model, swm.WeightedSum(terms)), GD(), Budget(steps=0))
    info, start = information(), torch.randn(2, 4, BLOCK)
    result = made(info, start)
    model.eval()
    with torch.no_grad():
        seen = {key: info[key] for key in ("pixels", "proprio")}
        end = model.rollout_by_hand(seen, start)[0][:, -1]
        goal = model.encode({"pixels": info["goal"], "proprio": info["goal_proprio"]}, emb_keys=["proprio"])["emb"][
            :, -1
        ]
    pixels = (end[..., :WIDTH] - goal[..., :WIDTH]).square().mean((1, 2))
    proprio = (end[:, 0, WIDTH : WIDTH + 3] - goal[:, 0, WIDTH:]).square().mean(-1)
    theirs = pixels + 0.5 * proprio + 0.01 * start.square().sum((1, 2))
    torch.testing.assert_close(torch.tensor(result["costs"]), theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(GraspPlannerError, match=r"parts .*pixels_emb.* Pass objective="):
        solver(swm.ShootingCostEvaluator(model, swm.GoalMSE()))
    with pytest.raises(GraspPlannerError, match="Linear is not known here"):
        solver(swm.ShootingCostEvaluator(model, nn.Linear(1, 1)))


def test_a_model_in_place_of_an_evaluator():
    """The released package plans with the model itself, without an evaluator. TD-MPC2 always does."""
    assert solver(lively(swm.LeWM()))(information())["actions"].shape == (2, 4, BLOCK)
    result = solver(lively(swm.TDMPC2()))(information())
    assert result["actions"].shape == (2, 4, BLOCK) and min(result["costs"]) >= 0


def test_one_of_our_own_models():
    model = load_world_model("pusht-state")
    made = WorldModelSolver(GD(), Budget(steps=2), model=model)
    config = swm.PlanConfig(3, 1, action_block=5)
    made.configure(action_space=swm.Batched(2), n_envs=2, config=config)
    state = torch.tensor([[[100.0, 100.0, 250.0, 250.0, 0.5, 0.0, 0.0]]]).repeat(2, 1, 1)
    result = made({"state": state, "goal_state": state + 5.0, "action": torch.full((2, 1, 2), torch.nan)})
    assert result["actions"].shape == (2, 3, 10) and bool((result["actions"] <= model.high).all())
    with pytest.raises(GraspPlannerError, match="blocks of 10 numbers; 3 actions of 2 numbers make 6"):
        made.configure(action_space=swm.Batched(2), n_envs=2, config=swm.PlanConfig(3, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either cost= .* or model="),
        ({"cost": swm.LeWM(), "model": swm.LeWM()}, "either cost= .* or model="),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(GraspPlannerError, match=message):
        WorldModelSolver(GD(), Budget(steps=1), **arguments)


def test_environments_and_costs_that_do_not_fit():
    made = WorldModelSolver(GD(), Budget(steps=1), swm.LeWM())
    for space in (swm.Batched(2, dtype="int64"), None):
        with pytest.raises(GraspPlannerError, match="continuous actions"):
            made.configure(action_space=space, n_envs=2, config=swm.PlanConfig(3, 1))
    made = WorldModelSolver(GD(), Budget(steps=1), lambda info, actions: 0.0)
    with pytest.raises(GraspPlannerError, match="one step in its latent space"):
        made.configure(action_space=swm.Batched(2), n_envs=2, config=swm.PlanConfig(3, 1))
    with pytest.raises(GraspPlannerError, match="kind of stable-worldmodel model 'Linear'"):
        solver(nn.Linear(2, 2))


def test_nothing_imports_the_package():
    sources = Path(grasp_planner.__file__).parent.rglob("*.py")
    lines = [line.strip() for source in sources for line in source.read_text().splitlines()]
    assert not [line for line in lines if line.startswith(("import stable_worldmodel", "from stable_worldmodel"))]
