"""Models of stable-worldmodel as world models: with stand-ins, and with the real package, its policy and its world."""

import importlib
import importlib.util
import inspect
import json
import warnings
from pathlib import Path

import foreign_swm as swm
import numpy
import pytest
import torch
from foreign_swm import BLOCK, SIDE, WIDTH
from swm_problems import UNITS, evaluator, information, lively, solver
from torch import nn

from grasp_planner import GD, GRASP, Budget, GraspPlannerError, load_world_model
from grasp_planner.core.errors import plain_name
from grasp_planner.models import Pictures, Statistics, UseSettings, check_world_model, from_stable_worldmodel
from grasp_planner.models.stable_worldmodel.solver import WorldModelSolver


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


@pytest.mark.parametrize("pixels", [False, True])
def test_tdmpc2_rolls_out_as_theirs(pixels):
    model = lively(swm.TDMPC2(pixels)).eval()
    info, actions = information(2), torch.randn(2, 5, BLOCK)
    made = solver(model)
    problem = made.setting.problem(info)
    with torch.no_grad():
        z, theirs = model.encode({key: info[key][:, 0] for key in ("pixels", "state")}), []
        goal = model.encode({"pixels": info["goal"][:, 0], "state": info["goal_state"][:, 0]})
        for t in range(5):
            z = model(z, actions[:, t])[0]
            theirs.append(z)
        ours = problem.rollout(actions)
    torch.testing.assert_close(ours, torch.stack(theirs, dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(problem.cost(ours, actions), (z - goal).square().sum(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spelling", ["TD-MPC2", "tdmpc2", "lewm", "le_wm", "PREJEPA", "pldm"])
def test_kinds_in_any_spelling(spelling):
    kinds = {"tdmpc2": swm.TDMPC2, "lewm": swm.LeWM, "prejepa": swm.PreJEPA, "pldm": swm.PLDM}
    model = kinds[plain_name(spelling)]()
    assert from_stable_worldmodel(model, UNITS, 3, kind=spelling).keys == from_stable_worldmodel(model, UNITS, 3).keys


@pytest.mark.parametrize("name", ["LeWM", "Mine"])
def test_a_saved_folder_is_answered_with_the_call_that_loads_it(name, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"_target_": f"a.b.{name}", "encoder": {"_target_": "c"}}))
    torch.save({}, tmp_path / "run" / "weights.pt")
    monkeypatch.chdir(tmp_path)
    for folder in ("run", tmp_path / "run"):
        with pytest.raises(GraspPlannerError) as caught:
            load_world_model(folder)
        said = str(caught.value)
        assert "written by stable-worldmodel's save_pretrained" in said and "stable_worldmodel.wm.utils" in said
        assert f"from_stable_worldmodel(load_pretrained('{tmp_path / 'run'}'), Statistics(" in said
        assert ("kind=" in said) == (name == "Mine")
    torch.save({}, tmp_path / "run" / "weights_epoch_2.pt")  # with two files, the call must name one of them
    with pytest.raises(GraspPlannerError, match=r"load_pretrained\('.*/run/weights_epoch_2.pt'\)"):
        load_world_model("run")
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(GraspPlannerError, match="without a configuration.*load_state_dict.*weights_epoch_2.pt"):
        load_world_model("run")


# With the package itself, in its release 0.1.1 or of its main branch.


@pytest.fixture
def package():
    """The package; skips where it is absent."""
    if importlib.util.find_spec("stable_worldmodel") is None:
        pytest.skip("stable-worldmodel is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about missing simulators
        return pytest.importorskip("stable_worldmodel.world", exc_type=ImportError)


@pytest.fixture
def evaluators(package):
    """The planning layer of the main branch, with evaluators and objectives; skips with the release."""
    return pytest.importorskip("stable_worldmodel.planning", exc_type=ImportError)


def real(kind="LeWM", frames=3):
    """A LeWM or PLDM of the package with random weights."""
    folder = f"stable_worldmodel.wm.{kind.lower()}"
    module = importlib.import_module(f"{folder}.module")
    size = {"heads": 2, "mlp_dim": 16, "input_dim": WIDTH, "hidden_dim": WIDTH, "dim_head": 8}
    predictor = module.Predictor(num_frames=frames, depth=2, dropout=0.1, **size)
    cls = getattr(importlib.import_module(f"{folder}.{kind.lower()}"), kind)
    embedder = module.Embedder(BLOCK, BLOCK, WIDTH)
    return lively(cls(swm.Backbone(), predictor, embedder, projector=nn.BatchNorm1d(WIDTH)))


def real_prejepa(order=("proprio", "action")):
    module = importlib.import_module("stable_worldmodel.wm.prejepa.module")
    sizes = {"proprio": (4, 3), "action": (BLOCK, 5)}
    extras = nn.ModuleDict({name: module.Embedder(in_chans=sizes[name][0], emb_dim=sizes[name][1]) for name in order})
    predictor = module.CausalPredictor(
        num_patches=4, num_frames=3, dim=WIDTH + 8, depth=2, heads=2, mlp_dim=16, dim_head=8, dropout=0.1
    )
    return lively(
        importlib.import_module("stable_worldmodel.wm.prejepa.prejepa").PreJEPA(swm.Backbone(), predictor, extras)
    )


def their_rollout(model, info, actions):
    """Roll out a model of the package. Where it knows no history of actions, the sequence begins with the history."""
    sampled = {key: value[:, None] for key, value in info.items() if key in ("pixels", "proprio", "id", "step_idx")}
    past = info["action_history"]
    if "action_history" in inspect.getsource(type(model).rollout):
        return model.rollout(sampled | {"action_history": past[:, None]}, actions[:, None])
    return model.rollout(sampled, torch.cat([past, actions], dim=1)[:, None])


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["LeWM", "PLDM"])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_packages_embeddings_roll_out_the_same(kind, frames):
    model = real(kind).eval()
    info, actions = information(2, frames), torch.randn(2, 5, BLOCK)
    problem = solver(model).setting.problem(info)
    with torch.no_grad():
        theirs = their_rollout(model, info, actions)["predicted_emb"][:, 0, frames:]
        torch.testing.assert_close(problem.rollout(actions)[..., :-1], theirs, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", [("proprio", "action"), ("action", "proprio")])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_packages_prejepa_rolls_out_the_same(order, frames):
    model = real_prejepa(order).eval()
    info, actions = information(2, frames), torch.randn(2, 5, BLOCK)
    problem = solver(model).setting.problem(info)
    with torch.no_grad():
        theirs = their_rollout(model, info, actions)["predicted_embedding"][:, 0, frames:]
        ours = problem.rollout(actions)[..., :-1]
    place = WIDTH + (3 if order[0] == "proprio" else 0)
    without = torch.cat([theirs[..., :place], theirs[..., place + 5 :]], dim=-1)
    torch.testing.assert_close(ours, without.flatten(2), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("evaluators")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", [("proprio", "action"), ("action", "proprio")])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_packages_prejepa_rolls_out_and_costs_the_same(order, frames):
    from stable_worldmodel.planning import GoalMSE, ShootingCostEvaluator, WeightedSum

    model = real_prejepa(order).eval()
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


def dot_environment(goal_picture=True):
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
            picture = {"goal": self.picture(self.goal)} if goal_picture else {}
            return picture | {"goal_state": self.goal.astype(numpy.float32)}

        def picture(self, place):
            grid = numpy.stack(numpy.meshgrid(*[numpy.linspace(0, 1, 16)] * 2), axis=-1)
            shade = numpy.exp(-20 * ((grid - place) ** 2).sum(-1))
            return (255 * shade[..., None].repeat(3, -1)).astype(numpy.uint8)

        def render(self):
            return self.picture(self.place)

    return Dot


def made_world(environment=None):
    from stable_worldmodel.world import World

    gymnasium = pytest.importorskip("gymnasium")
    name = f"grasp_tests/{environment or 'Dot'}-v0"
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=dot_environment(goal_picture=environment is None))
    return World(name, num_envs=3, image_shape=(SIDE, SIDE), max_episode_steps=14)


def prepared(picture):
    return torch.as_tensor(numpy.asarray(picture)).float() / 255.0


PREPARED = {"pixels": prepared, "goal": prepared}


def in_the_packages_world(cost, history, callbacks):
    from stable_worldmodel.policy import PlanConfig, WorldModelPolicy

    planner = GRASP(sync_every=2, sync_steps=1)
    made = WorldModelSolver(planner, Budget(steps=4), cost=cost, low=-1.0, high=1.0, callbacks=callbacks)
    world = made_world()
    config = PlanConfig(horizon=4, receding_horizon=2, history_len=history, action_block=3)
    world.set_policy(WorldModelPolicy(made, config, transform=PREPARED))
    assert (made.n_envs, made.action_dim, made.horizon) == (3, BLOCK, 4)
    results = world.evaluate(episodes=4, seed=1)
    assert len(results["episode_successes"]) == 4 and 0.0 <= results["success_rate"] <= 100.0
    assert made._calls >= 4 and made.plan is not None and bool(made.plan.actions.abs().le(1.0).all())
    world.close()
    return made


@pytest.mark.usefixtures("evaluators")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("history", [1, 3])
def test_inside_the_packages_policy_and_world(history):
    from stable_worldmodel.planning import GoalMSE, ShootingCostEvaluator
    from stable_worldmodel.planning.solver import Solver
    from stable_worldmodel.planning.solver.callbacks import ActionNormRecorder, BestCostRecorder

    cost = ShootingCostEvaluator(real(), GoalMSE())
    made = in_the_packages_world(cost, history, [BestCostRecorder(), ActionNormRecorder()])
    assert isinstance(made, Solver)


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
def test_a_model_as_the_cost_inside_the_packages_policy_and_world():
    in_the_packages_world(real(), 1, [])


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
def test_an_environment_of_the_package_without_a_goal_picture():
    from stable_worldmodel.policy import PlanConfig, WorldModelPolicy

    made = WorldModelSolver(GD(), Budget(steps=1), cost=real())
    world = made_world("Blind")
    config = PlanConfig(horizon=4, receding_horizon=2, action_block=3)
    world.set_policy(WorldModelPolicy(made, config, transform=PREPARED))
    with pytest.raises(GraspPlannerError, match="the environment gives no goal picture"):
        world.evaluate(episodes=3, seed=1)
    world.close()


@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore")
def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    """Both examples of docs/adapters.md, with a small model and world in place of the published ones."""
    pytest.importorskip("hydra")
    from omegaconf import OmegaConf
    from stable_worldmodel.wm.utils import save_pretrained

    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    page = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
    first, second = (
        part.partition("```py\n")[2].partition("```")[0]
        for part in (
            page.partition("## Models of stable-worldmodel")[2],
            page.partition("## A planner as a solver of stable-worldmodel")[2],
        )
    )
    sizes = {"heads": 2, "mlp_dim": 16, "input_dim": WIDTH, "hidden_dim": WIDTH, "dim_head": 8}
    parts = "stable_worldmodel.wm.lewm.module"
    config = {
        "_target_": "stable_worldmodel.wm.lewm.lewm.LeWM",
        "encoder": {"_target_": "foreign_swm.Backbone"},
        "predictor": {"_target_": f"{parts}.Predictor", "num_frames": 3, "depth": 1, **sizes},
        "action_encoder": {"_target_": f"{parts}.Embedder", "input_dim": 10, "smoothed_dim": 10, "emb_dim": WIDTH},
    }
    from hydra.utils import instantiate

    saved = lively(instantiate(config))
    save_pretrained(saved, "user/lewm-pusht", OmegaConf.create(config))
    names = {}
    exec(compile(first.replace("224", str(SIDE)), "docs/adapters.md", "exec"), names)
    assert names["model"].context == 3 and names["model"].low.shape == (10,)

    with pytest.raises(GraspPlannerError) as caught:
        load_world_model(tmp_path / "checkpoints" / "user" / "lewm-pusht")
    call = str(caught.value).partition("from_stable_worldmodel(")[2].partition(", Statistics")[0]
    loaded = eval(call, {"load_pretrained": names["load_pretrained"]})
    torch.testing.assert_close(dict(loaded.state_dict()), dict(saved.state_dict()), rtol=0, atol=0)

    class Scaler:
        def transform(self, x):
            return x

        inverse_transform = transform

    world = made_world()
    names = {"world": world, "process": {"action": Scaler()}, "transform": PREPARED}
    small = second.replace("steps=500", "steps=2").replace("episodes=50", "episodes=3")
    exec(compile(small, "docs/adapters.md", "exec"), names)
    assert names["policy"].solver.plan is not None
    world.close()
