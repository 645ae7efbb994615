"""Models on patch features learn, resume to the bit, and encode each picture once."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_latent_training import dots, state_of

from grasp_planner import GraspPlannerError, Problem, load_world_model
from grasp_planner.data import collect, read
from grasp_planner.models import LatentModel, PatchModelConfig
from grasp_planner.models.patches.efficientnet_lite import EfficientNetLite0
from grasp_planner.models.short_windows import marked
from grasp_planner.training import RECIPES, Phase, Recipe, feature_cache, train
from grasp_planner.training.latent_learner import rollout
from grasp_planner.training.recipes import build_learner

SMALL = Recipe(
    model=PatchModelConfig(
        state_size=2,
        action_size=2,
        proprio_size=2,
        strides=(4,),
        patch=32,
        components=4,
        width=16,
        depth=1,
        heads=2,
        hidden=32,
    ),
    steps=8,
    phases=(Phase(0.5, 5, 8), Phase(0.5, 15, 4)),
    lr=1e-2,
    average=0.5,
    tolerance=1.0,
    validation=0.2,
    horizons=(5, 10),
)


@pytest.fixture(scope="module")
def data():
    return dots()


def random_weights(config):
    """Replace the pretrained weights, which are an optional package, by random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return EfficientNetLite0(config.strides, config.patch)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(feature_cache, "pretrained_network", random_weights)


@pytest.mark.parametrize("predictor", ["transformer", "perceptron"])
@pytest.mark.parametrize("context", [1, 3])
def test_it_trains_saves_and_reports(context, predictor, tmp_path):
    data = dots(steps=30)
    heads = {"transformer": 2, "perceptron": 0}[predictor]
    recipe = dataclasses.replace(
        SMALL, model=dataclasses.replace(SMALL.model, context=context, predictor=predictor, heads=heads)
    )
    trained = train(recipe, data, tmp_path, progress=False)
    assert set(trained.errors) == {"position", "read_position"} and set(trained.errors["position"]) == {"5", "10"}
    assert not trained.collapsed
    model = load_world_model(tmp_path)
    assert isinstance(model, LatentModel) and model.context == context
    assert float(model.action_std.mean()) == pytest.approx(0.7, rel=0.15)
    # Away from the edge, the dynamics of the proprioception are linear and fitted before the first step.
    pixels = np.repeat(data.array("pixels")[:1][None], context, axis=1)
    before = model.encode({"pixels": pixels, "proprio": [[[30.0, 30.0]] * context]})
    actions = model.model_actions(torch.full((1, 5, 2), 0.4))[:, None].expand(-1, context, -1)
    visual = recipe.model.visual
    moved = model(before, actions)[0, visual : visual + 2] * model.proprio_std + model.proprio_mean
    assert moved.tolist() == pytest.approx([32.0, 32.0], abs=1.0)


def test_the_encoder_is_not_trained_and_components_are_normalised(data, tmp_path, encoder):
    train(SMALL, data, tmp_path, progress=False)
    model = load_world_model(tmp_path)
    pretrained = feature_cache.pretrained_network(SMALL.model)
    for name, tensor in model.encoder.network.state_dict().items():
        assert torch.equal(tensor, pretrained.state_dict()[name])
    latents = model.visual({"pixels": torch.from_numpy(data.array("pixels"))[:, None]})
    latents = latents.unflatten(-1, (-1, 4)).flatten(0, 2)
    assert latents.std(0).tolist() == pytest.approx([1.0] * 4, rel=1e-2)


@pytest.mark.parametrize("killed_at", [2, 6])
def test_resumed_in_either_phase_it_is_the_same_to_the_bit(killed_at, data, tmp_path):
    whole = train(SMALL, data, tmp_path / "whole", progress=False)

    class Killed(Exception):
        pass

    def kill(step, errors):
        if step == killed_at + 1:
            raise Killed

    often = {"progress": False, "validate_every": 1, "checkpoint_every": killed_at}
    with pytest.raises(Killed):
        train(SMALL, data, tmp_path / "killed", callback=kill, **often)
    resumed = train(SMALL, data, tmp_path / "killed", resume=True, progress=False)
    one, other = state_of(whole.folder)["average"], state_of(resumed.folder)["average"]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.errors == whole.errors


@pytest.mark.parametrize(("predictor", "heads"), [("transformer", 2), ("perceptron", 0)])
def test_it_learns_to_predict(predictor, heads, tmp_path):
    """Open-loop predictions of the training episodes are better than no change, after 20 environment steps."""
    phases = (Phase(0.5, 5, 32), Phase(0.5, 15, 32))
    sizes = dataclasses.replace(SMALL.model, predictor=predictor, heads=heads)
    recipe = dataclasses.replace(SMALL, model=sizes, steps=200, lr=3e-3, phases=phases)
    train(recipe, dots(episodes=60), tmp_path, progress=False)
    model, known = load_world_model(tmp_path), dots(episodes=60)
    shape = (len(known), 21)
    seen = {key: torch.as_tensor(known.array(key)).unflatten(0, shape) for key in ("pixels", "proprio")}
    latents = model.encode(seen)[:, ::5]
    actions = model.model_actions(torch.as_tensor(known.actions).unflatten(0, (len(known), 4, 5)))
    predicted = rollout(model, latents[:, :1], actions)
    error = (predicted - latents[:, 1:]).square().mean((0, 2))
    still = (latents[:, :1] - latents[:, 1:]).square().mean((0, 2))
    assert float(error[-1]) < 0.8 * float(still[-1])


def test_pictures_on_disk_are_encoded_once(tmp_path, monkeypatch):
    folder = collect("wall", 6, tmp_path / "walks", pixels=64, workers=1, progress=False)
    other = collect("wall", 5, tmp_path / "others", pixels=64, seed=1, workers=1, progress=False)
    recipe = dataclasses.replace(SMALL, steps=2, horizons=(5,))
    first = train(recipe, [folder, other], tmp_path / "first", progress=False)
    kept = sorted(path.name for path in (folder / ".arrays").glob("latents-*"))
    assert len(kept) == 1 and kept[0].endswith(".npy")
    rows = len(read(folder, keys=("state",)).array("state"))
    assert np.load(folder / ".arrays" / kept[0], mmap_mode="r").shape == (rows, recipe.model.visual)

    def never(*_):
        raise AssertionError("pictures were encoded again")

    monkeypatch.setattr(LatentModel, "visual", never)
    again = train(recipe, [folder, other], tmp_path / "again", progress=False)
    assert again.errors == first.errors


def test_an_interrupted_encoding_is_continued(tmp_path, monkeypatch):
    folder = collect("wall", 6, tmp_path / "walks", pixels=64, workers=1, progress=False)
    same = collect("wall", 6, tmp_path / "same", pixels=64, workers=1, progress=False)
    recipe = dataclasses.replace(SMALL, steps=2, horizons=(5,))
    monkeypatch.setattr(feature_cache, "AT_ONCE", 50)
    whole = train(recipe, same, tmp_path / "whole", progress=False)
    encode, calls = LatentModel.visual, []

    def stopping(model, observations):
        calls.append(len(observations["pixels"]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(model, observations)

    monkeypatch.setattr(LatentModel, "visual", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, folder, tmp_path / "model", progress=False)
    assert [path.suffix for path in (folder / ".arrays").glob("latents-*")] == [".partial"]
    trained = train(recipe, folder, tmp_path / "model", progress=False)
    rows = len(read(folder, keys=("state",)).array("state"))
    assert sum(calls) == rows + 50, "complete batches were encoded again"
    assert trained.errors == whole.errors


def test_another_camera_and_changed_pictures_are_encoded_anew(tmp_path):
    """Episodes of one folder can hold other pictures; the stored latents belong to pictures, not to folders."""
    folder = collect("wall", 3, tmp_path / "walks", pixels=64, workers=1, progress=False)
    learner = build_learner(SMALL)
    one = read(folder, keys=learner.observations)
    other = dataclasses.replace(one, observations={**one.observations, "pixels": 255 - one.array("pixels")})
    (first,) = learner.encoded([one], device=torch.device("cpu"), seed=0, fitted=False, progress=False)
    (second,) = learner.encoded([other], device=torch.device("cpu"), seed=0, fitted=True, progress=False)
    assert len(list((folder / ".arrays").glob("latents-*.npy"))) == 2
    assert not np.allclose(first.array("visual"), second.array("visual"), atol=0.1)


def test_episodes_whose_folder_is_gone_are_encoded_in_memory(tmp_path):
    folder = collect("wall", 3, tmp_path / "walks", pixels=64, workers=1, progress=False)
    learner = build_learner(SMALL)
    kept = read(folder, keys=learner.observations, cache=False)
    gone = dataclasses.replace(kept, source=tmp_path / "gone")
    (there,) = learner.encoded([kept], device=torch.device("cpu"), seed=0, fitted=False, progress=False)
    (found,) = learner.encoded([gone], device=torch.device("cpu"), seed=0, fitted=True, progress=False)
    assert not (tmp_path / "gone").exists()
    assert np.array_equal(found.array("visual"), there.array("visual"))


def test_components_are_those_of_the_selected_episodes():
    """Pictures of other episodes in the same arrays change nothing."""
    some = dots(episodes=6)
    pictures = some.array("pixels").copy()
    pictures[some.select([0, 5]).observation_rows] = 0
    spoiled = dataclasses.replace(some, observations={**some.observations, "pixels": pictures})
    found = []
    for episodes in (some, spoiled):
        learner = build_learner(SMALL)
        learner.encoded([episodes.select([1, 3])], device=torch.device("cpu"), seed=0, fitted=False, progress=False)
        found.append(learner.model.encoder.components.directions)
    assert torch.equal(*found)


TWO_DEVICES = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_patch_training import SMALL, random_weights
from grasp_planner.models import LatentModel
from grasp_planner.training import FabricEngine, feature_cache, train
feature_cache.pretrained_network = random_weights
encode, rows = LatentModel.visual, []
def counting(model, observations):
    rows.append(len(observations["pixels"]))
    return encode(model, observations)
LatentModel.visual = counting
if __name__ == "__main__":
    engine = FabricEngine(2, "cpu")
    result = train(SMALL, sys.argv[1], sys.argv[2], engine=engine, progress=False)
    print(f"rank {{engine.rank}} of {{engine.processes}}: {{result.errors}}: {{sum(rows)}}")
"""


@pytest.mark.slow
def test_two_devices_encode_each_picture_once(tmp_path):
    pytest.importorskip("lightning_fabric")
    folder = collect("wall", 6, tmp_path / "walks", pixels=64, workers=1, progress=False)
    script = tmp_path / "two.py"
    script.write_text(TWO_DEVICES.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, str(script), str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank "))
    assert [line.split(": ")[0] for line in lines] == ["rank 0 of 2", "rank 1 of 2"]
    errors = {line.partition(": ")[2].rpartition(": ")[0] for line in lines}
    assert len(errors) == 1, "the processes ended with different models"
    rows = len(read(folder, keys=("state",)).array("state"))
    assert sum(int(line.rpartition(": ")[2]) for line in lines) == rows
    assert [path.suffix for path in (folder / ".arrays").glob("latents-*")] == [".npy"]


def test_data_of_other_sizes_are_refused(data, tmp_path):
    wrong = dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, state_size=3))
    with pytest.raises(GraspPlannerError, match="--model.state-size 2"):
        train(wrong, data, tmp_path, progress=False)
    still = dataclasses.replace(data, observations={**data.observations, "pixels": np.zeros_like(data.array("pixels"))})
    with pytest.raises(GraspPlannerError, match="nothing moves"):
        train(SMALL, still, tmp_path / "still", progress=False)


def test_frozen_phases_are_refused():
    with pytest.raises(GraspPlannerError, match="encoder is trained"):
        dataclasses.replace(SMALL, phases=(Phase(0.5, 5, 8), Phase(0.5, 5, 8, frozen=True)))


def test_recipes_of_dino_wm_need_only_flags():
    """The recipe of patches with DINOv2 in place of EfficientNet is a valid recipe."""
    large = RECIPES["pusht-patches-large"]
    model = dataclasses.replace(
        large.model, encoder="dinov2_vits14", strides=(), patch=14, pixels=224, encoder_pixels=196, components=64
    )
    assert dataclasses.replace(large, model=model).model.patches == 196


@pytest.mark.parametrize("context", [1, 3])
def test_the_loss_is_teacher_forcing_and_an_open_loop_path(context):
    """A predictor that returns its input has the loss of paths that stand still."""
    recipe = dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, context=context, proprio_size=0))
    learner = build_learner(recipe)

    class Still(torch.nn.Module):
        shortest = 1

        def forward(self, frames, actions):
            return frames

    learner.model.predictor = Still()
    visual = torch.randn(2, context + 3, recipe.model.visual, generator=torch.Generator().manual_seed(0))
    batch = {"visual": visual, "actions": torch.zeros(2, context + 2, 10), "state": torch.zeros(2, context + 3, 2)}

    def distance(gap):
        return ((gap.square().sum(-1) + 1).sqrt() - 1).mean()

    steps = (visual[:, 1:] - visual[:, :-1]).unfold(1, context, 1).movedim(-1, 2)
    one_step = distance(steps)
    probe = (
        0.3
        * torch.nn.functional.smooth_l1_loss(
            learner.model.probe.read(visual), learner.model.probe.features(batch["state"]), beta=0.1
        ).detach()
    )
    losses = [learner(batch, torch.Generator().manual_seed(seed)) for seed in range(20)]
    found = [float(loss.detach() - probe - one_step) for loss in losses]
    wanted = [float(distance(visual[:, k:] - visual[:, k - 1 : k])) for k in range(1, context + 1)]
    near = [[abs(one - other) < 1e-3 for other in wanted] for one in found]
    assert all(map(any, near)), "a loss is that of no path"
    assert all(map(any, zip(*near))), "no path starts after some number of frames"


@pytest.mark.parametrize("known", [1, 2, 3])
def test_training_and_planning_predict_the_same(known):
    """The open-loop prediction of the loss is the rollout of a problem that starts from the same frames."""
    config = dataclasses.replace(SMALL.model, context=3)
    model = build_learner(dataclasses.replace(SMALL, model=config)).model.eval().requires_grad_(False)
    model.predictor.patch_change.weight.mul_(30)
    draw = torch.Generator().manual_seed(0)
    frames, actions = torch.randn(2, known, config.size, generator=draw), torch.randn(2, 5, 10, generator=draw)
    filled = torch.cat([frames[:, :1].expand(-1, 3 - known, -1), frames], dim=1)
    absent = (torch.arange(3) < 3 - known).expand(2, -1)
    past = torch.cat([torch.zeros(2, 3 - known, 10), actions[:, : known - 1]], dim=1)
    states = marked(filled, absent, 3)
    problem = Problem(model, states, past, states[:, -1], 6 - known, model.low, model.high, scale=model.scale)
    found = problem.rollout(actions[:, known - 1 :])
    torch.testing.assert_close(found[..., :-1], rollout(model, frames, actions), atol=1e-5, rtol=1e-4)
    assert float(found.diff(dim=1).abs().max()) > 0.1, "the model predicts no change"


def test_the_rate_of_samples_is_printed(data, tmp_path, capsys):
    train(SMALL, data, tmp_path / "m", progress=True)
    shown = " ".join(capsys.readouterr().err.split())
    assert SMALL.windows(8) == 4 * 8 + 4 * 4
    assert "windows" in shown and "48/48" in shown and re.search(r"\d/s", shown)
