"""Models of stable-worldmodel as ours, and our planners as its solvers; with stand-ins, and with the package itself."""

import importlib
import importlib.util
import math
import warnings
from pathlib import Path

import foreign_swm as swm
import numpy
import pytest
import torch
from foreign_swm import BLOCK, SIDE, WIDTH
from torch import nn

import grasp_planner
from grasp_planner import CEM, GD, GRASP, PLANNERS, Budget, GraspPlannerError, Status, load_world_model
from grasp_planner.models import Pictures, Statistics, UseSettings, check_world_model, from_stable_worldmodel
from grasp_planner.stable_worldmodel import WorldModelSolver

UNITS = Statistics((0.1, -0.1), (0.5, 2.0))


def lively(model):
    """Random weights that matter, in training mode with statistics that would move."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.train()


def information(batch=2, frames=1, seed=0):
    """What the policy hands to its solver."""
    torch.manual_seed(seed)
    return {
        "pixels": torch.randn(batch, frames, 3, SIDE, SIDE),
        "goal": torch.randn(batch, 1, 3, SIDE, SIDE),
        "proprio": torch.randn(batch, frames, 4),
        "goal_proprio": torch.randn(batch, 1, 4),
        "extra": torch.randn(batch, frames, 2),
        "goal_extra": torch.randn(batch, 1, 2),
        "state": torch.randn(batch, frames, 4),
        "goal_state": torch.randn(batch, 1, 4),
        "action": torch.full((batch, 1, 2), torch.nan),
        "action_history": torch.randn(batch, frames - 1, BLOCK),
        "reward": torch.full((batch, 1), torch.nan, dtype=torch.float64),
        "id": torch.arange(batch)[:, None],
        "step_idx": torch.zeros(batch, 1, dtype=torch.int64),
        "env_name": ["x"] * batch,
    }


def solver(cost, planner=None, budget=None, *, n_envs=2, horizon=4, **rest):
    made = WorldModelSolver(planner or GD(), budget or Budget(steps=4), cost, **rest)
    made.configure(action_space=swm.Batched(n_envs), n_envs=n_envs, config=swm.PlanConfig(horizon, 2))
    return made


def evaluator(model=None, objective=None):
    return swm.ShootingCostEvaluator(lively(swm.LeWM()) if model is None else model, objective or swm.GoalMSE())


# Their models as ours.


@pytest.mark.parametrize("model", [swm.LeWM(), swm.LeWM(frames=1), swm.PLDM(), swm.PreJEPA(), swm.TDMPC2()])
def test_the_contract_of_world_models(model):
    wrapped = from_stable_worldmodel(lively(model), UNITS, 3)
    assert not model.training and wrapped.low.shape == (BLOCK,)
    seen = {key: information(3, wrapped.context)[key] for key in wrapped.keys}
    report = check_world_model(wrapped, seen, tolerance=1e-5)
    assert report.ok, str(report)


@pytest.mark.parametrize("kind", [swm.LeWM, swm.PLDM])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_embeddings_roll_out_as_theirs(kind, frames):
    model = lively(kind()).eval()
    info, actions = information(2, frames), torch.randn(2, 5, BLOCK)
    made = solver(evaluator(model))
    problem = made.setting.problem(info)
    with torch.no_grad():
        ours = problem.rollout(actions)
        sampled = {"pixels": info["pixels"][:, None], "action_history": info["action_history"][:, None]}
        theirs = model.rollout(sampled, actions[:, None])["predicted_emb"][:, 0, frames:]
        before = torch.cat([problem.start[:, None], ours[:, :-1]], dim=1)
        torch.testing.assert_close(problem.predict(before, actions), ours, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[..., :-1], theirs, rtol=0, atol=1e-5)
    error = (theirs[:, -1] - model.encode({"pixels": info["goal"]})["emb"][:, -1]).square().sum(-1)
    torch.testing.assert_close(problem.cost(ours, actions), error)


@pytest.mark.parametrize("order", [("proprio", "action"), ("action", "proprio"), ("extra", "action", "proprio")])
@pytest.mark.parametrize("frames", [1, 3])
def test_patches_roll_out_as_theirs_wherever_the_action_stands(order, frames):
    model = lively(swm.PreJEPA(order)).eval()
    wrapped = from_stable_worldmodel(model, UNITS, 3)
    info, actions = information(2, frames), torch.randn(2, frames + 3, BLOCK)
    made = solver(None, model=wrapped)
    problem = made.setting.problem(info | {"action_history": actions[:, : frames - 1]})
    with torch.no_grad():
        ours = problem.rollout(actions[:, frames - 1 :])
        seen = {key: info[key] for key in wrapped.keys}
        theirs, place = model.rollout_by_hand(seen, actions)
    without = torch.cat([theirs[..., :place], theirs[..., place + 5 :]], dim=-1)[:, frames:]
    torch.testing.assert_close(ours[..., :-1], without.flatten(2), rtol=0, atol=1e-5)


def test_pictures_and_proprioception_from_an_environment():
    model = lively(swm.PreJEPA())
    units = Statistics(UNITS.action_mean, UNITS.action_std, (10.0,) * 4, (2.0,) * 4)
    wrapped = from_stable_worldmodel(model, units, 3, pictures=Pictures(SIDE), use=UseSettings(alpha=0.5))
    random = numpy.random.default_rng(0)
    seen = {
        "pixels": random.integers(0, 256, (2, 3, SIDE, SIDE, 3), dtype=numpy.uint8),
        "proprio": random.normal(size=(2, 3, 4)),
    }
    colours = (torch.as_tensor(seen["pixels"]).movedim(-1, 2) / 255.0 - 0.5) / 0.5
    proprio = (torch.as_tensor(seen["proprio"]).float() - 10.0) / 2.0
    with torch.no_grad():
        direct = model.encode({"pixels": colours, "proprio": proprio}, emb_keys=["proprio"])["emb"].flatten(2)
    torch.testing.assert_close(wrapped.encode(seen)[..., :-1], direct)
    weights = wrapped.goal_weights[:-1].unflatten(0, (4, WIDTH + 3))
    assert bool((weights[:, :WIDTH] == 1).all()) and bool((weights[1:, WIDTH:] == 0).all())
    torch.testing.assert_close(weights[0, WIDTH:], torch.full((3,), 0.5 * 4 * WIDTH / 3))
    torch.testing.assert_close(wrapped.environment_actions(torch.ones(BLOCK))[0], torch.tensor([0.6, 1.9]))


def test_models_that_do_not_fit():
    with pytest.raises(GraspPlannerError, match="did you mean 'LeWM'"):
        from_stable_worldmodel(swm.LeWM(), UNITS, 3, kind="LeVM")
    with pytest.raises(GraspPlannerError, match="Linear must have predictor.num_frames"):
        from_stable_worldmodel(nn.Linear(2, 2), UNITS, 3, kind="LeWM")
    with pytest.raises(GraspPlannerError, match="needs an 'action'"):
        from_stable_worldmodel(swm.PreJEPA(("proprio",)), UNITS, 3)
    wrapped = from_stable_worldmodel(swm.PreJEPA(), UNITS, 3)
    with pytest.raises(GraspPlannerError, match=r"needs observations \['proprio'\]"):
        wrapped.encode({"pixels": torch.zeros(1, 1, 3, SIDE, SIDE)})
    with pytest.raises(GraspPlannerError, match="same"):
        wrapped.encode({"pixels": torch.zeros(1, 3, 3, SIDE, SIDE), "proprio": torch.zeros(1, 1, 4)})


# Our planners as their solvers.


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_solves(name):
    made = solver(evaluator(), PLANNERS[name](), Budget(transitions=600), low=-0.5, high=0.25)
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


def test_padded_histories_are_not_read():
    """Where a batch mixes histories, the policy pads the shorter ones with copies and zero actions."""
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
        return (x - numpy.array([0.5, 0.0])) / numpy.array([0.25, -2.0])  # an axis that the scaling turns around


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
    """The released package plans with the model itself, and TD-MPC2 always does."""
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


# With the package itself.


@pytest.fixture
def package():
    """The main branch of the package, whose planning layer has evaluators and objectives; skips where it is absent."""
    if importlib.util.find_spec("stable_worldmodel") is None:
        pytest.skip("stable-worldmodel is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of simulators that are not there
        pytest.importorskip("stable_worldmodel.planning", exc_type=ImportError)
        return pytest.importorskip("stable_worldmodel.world", exc_type=ImportError)


def real_lewm(frames=3):
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import Embedder, Predictor

    size = {"heads": 2, "mlp_dim": 16, "input_dim": WIDTH, "hidden_dim": WIDTH, "dim_head": 8}
    predictor = Predictor(num_frames=frames, depth=2, dropout=0.1, **size)
    model = LeWM(swm.Backbone(), predictor, Embedder(BLOCK, BLOCK, WIDTH), projector=nn.BatchNorm1d(WIDTH))
    return lively(model)


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_packages_lewm_rolls_out_the_same(frames):
    model = real_lewm().eval()
    info, actions = information(2, frames), torch.randn(2, 5, BLOCK)
    problem = solver(model).setting.problem(info)
    with torch.no_grad():
        sampled = {"pixels": info["pixels"][:, None], "action_history": info["action_history"][:, None]}
        theirs = model.rollout(sampled, actions[:, None])["predicted_emb"][:, 0, frames:]
        torch.testing.assert_close(problem.rollout(actions)[..., :-1], theirs, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", [("proprio", "action"), ("action", "proprio")])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_packages_prejepa_rolls_out_and_costs_the_same(order, frames):
    from stable_worldmodel.planning import GoalMSE, ShootingCostEvaluator, WeightedSum

    module = importlib.import_module("stable_worldmodel.wm.prejepa.module")
    sizes = {"proprio": (4, 3), "action": (BLOCK, 5)}
    extras = nn.ModuleDict({name: module.Embedder(in_chans=sizes[name][0], emb_dim=sizes[name][1]) for name in order})
    predictor = module.CausalPredictor(
        num_patches=4, num_frames=3, dim=WIDTH + 8, depth=2, heads=2, mlp_dim=16, dim_head=8, dropout=0.1
    )
    PreJEPA = importlib.import_module("stable_worldmodel.wm.prejepa.prejepa").PreJEPA
    model = lively(PreJEPA(swm.Backbone(), predictor, extras)).eval()
    objective = WeightedSum(
        [
            (1.0, GoalMSE("predicted_pixels_emb", "pixels_goal_emb", "mean")),
            (0.5, GoalMSE("predicted_proprio_emb", "proprio_goal_emb", "mean")),
        ]
    )
    cost = ShootingCostEvaluator(model, objective)
    info, start = information(2, frames), torch.randn(2, 4, BLOCK)
    found = solver(cost, GD(), Budget(steps=0))(info, start)
    expanded = {k: v[:, None] for k, v in info.items() if isinstance(v, torch.Tensor)}
    with torch.no_grad():
        theirs = cost.get_cost(expanded, start[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(found["costs"]), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
def test_the_packages_tdmpc2_steps_the_same():
    settings = {
        "action_dim": BLOCK,
        "extra_dims": {"state": 4},
        "wm": {"tau": 0.01, "encoding": {"state": 8}, "enc_dim": 8, "mlp_dim": 8, "num_bins": 5, "num_q": 2},
    }
    config = pytest.importorskip("omegaconf").OmegaConf.create(settings)
    model = lively(importlib.import_module("stable_worldmodel.wm.tdmpc2.tdmpc2").TDMPC2(config))
    info, actions = information(2), torch.randn(2, 3, BLOCK)
    problem = solver(model).setting.problem(info)
    model.eval()
    with torch.no_grad():
        z = model.encode({"state": info["state"]})[:, 0]
        for t in range(3):
            z = model.dynamics(torch.cat([z, actions[:, t]], dim=-1))
        torch.testing.assert_close(problem.rollout(actions)[:, -1], z)
    report = check_world_model(from_stable_worldmodel(model, UNITS, 3), {"state": info["state"]}, tolerance=1e-5)
    assert report.ok, str(report)


def dot_environment():
    """A dot in a picture; the goal is another picture, as in their environments."""
    import gymnasium

    class Dot(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(0.0, 1.0, (2,))})
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        render_mode = "rgb_array"

        def __init__(self, render_mode="rgb_array"):
            self.place, self.goal = numpy.full(2, 0.5), numpy.zeros(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.place, self.goal = self.np_random.random((2, 2))
            return {"state": self.place.astype(numpy.float32)}, self.info()

        def step(self, action):
            assert numpy.isfinite(action).all() and (numpy.abs(action) <= 1.0 + 1e-6).all()
            self.place = numpy.clip(self.place + 0.1 * action, 0.0, 1.0)
            done = bool(numpy.linalg.norm(self.place - self.goal) < 0.1)
            return {"state": self.place.astype(numpy.float32)}, 0.0, done, False, self.info()

        def info(self):
            return {"goal": self.picture(self.goal), "goal_state": self.goal.astype(numpy.float32)}

        def picture(self, place):
            grid = numpy.stack(numpy.meshgrid(*[numpy.linspace(0, 1, 16)] * 2), axis=-1)
            shade = numpy.exp(-20 * ((grid - place) ** 2).sum(-1))
            return (255 * shade[..., None].repeat(3, -1)).astype(numpy.uint8)

        def render(self):
            return self.picture(self.place)

    return Dot


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("history", [1, 3])
def test_inside_the_packages_policy_and_world(history):
    from stable_worldmodel.planning import GoalMSE, ShootingCostEvaluator
    from stable_worldmodel.planning.solver import Solver
    from stable_worldmodel.planning.solver.callbacks import ActionNormRecorder, BestCostRecorder
    from stable_worldmodel.policy import PlanConfig, WorldModelPolicy
    from stable_worldmodel.world import World

    made = WorldModelSolver(
        GRASP(sync_every=2, sync_steps=1),
        Budget(steps=4),
        cost=ShootingCostEvaluator(real_lewm(), GoalMSE()),
        low=-1.0,
        high=1.0,
        callbacks=[BestCostRecorder(), ActionNormRecorder()],
    )

    def prepared(picture):
        return torch.as_tensor(numpy.asarray(picture)).float() / 255.0

    gymnasium = pytest.importorskip("gymnasium")
    if "grasp_tests/Dot-v0" not in gymnasium.registry:
        gymnasium.register("grasp_tests/Dot-v0", entry_point=dot_environment())
    world = World("grasp_tests/Dot-v0", num_envs=3, image_shape=(SIDE, SIDE), max_episode_steps=14)
    config = PlanConfig(horizon=4, receding_horizon=2, history_len=history, action_block=3)
    policy = WorldModelPolicy(made, config, transform={"pixels": prepared, "goal": prepared})
    world.set_policy(policy)
    assert isinstance(made, Solver) and (made.n_envs, made.action_dim, made.horizon) == (3, BLOCK, 4)
    results = world.evaluate(episodes=4, seed=1)
    assert len(results["episode_successes"]) == 4 and 0.0 <= results["success_rate"] <= 100.0
    assert made._calls >= 4 and made.plan is not None and bool(made.plan.actions.abs().le(1.0).all())
    world.close()
