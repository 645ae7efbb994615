"""The load balancing term of a mixture of experts."""

import dataclasses

import pytest
import torch
from training_data import CART, cart

from grasp_planner import GraspPlannerError
from grasp_planner.data import Windows
from grasp_planner.models import StateModel, load_world_model
from grasp_planner.training import RECIPES, Recipe, train
from grasp_planner.training.losses import imbalance
from grasp_planner.training.recipes import build_learner
from grasp_planner.training.validation import to_tensors

MIXTURE = dataclasses.replace(CART, model=dataclasses.replace(CART.model, experts=3, width=8))


def test_equal_loads_cost_nothing_and_one_expert_costs_most():
    assert float(imbalance(torch.full((4, 5, 3), 1 / 3))) == pytest.approx(0, abs=1e-6)
    assert float(imbalance(torch.eye(3))) == pytest.approx(0, abs=1e-6), "sharp weights can have equal loads"
    assert float(imbalance(torch.eye(3)[[1, 1, 1]])) == pytest.approx(2)
    assert float(imbalance(torch.ones(7, 1))) == 0


def batch() -> dict[str, torch.Tensor]:
    cut = to_tensors(Windows(cart(), history=1, future=10, frameskip=1)[:64], torch.device("cpu"))
    return {name: tensor.double() for name, tensor in cut.items()}


@torch.no_grad()
def loss(recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a new model, and its load balancing term."""
    learner = build_learner(recipe)
    learner.prepare(cart(), seed=0)
    learner.double()
    data = batch()
    found = learner(data, torch.Generator())
    start = learner.model.encode({"state": data["state"][:, :1]})[:, 0]
    assert isinstance(learner.model, StateModel)
    return found, imbalance(learner.model.path_and_gates(start, learner.model.model_actions(data["actions"]))[1])


def test_the_loss_has_the_term_with_its_weight():
    without, term = loss(MIXTURE)
    balanced, _ = loss(dataclasses.replace(MIXTURE, balance=50.0))
    assert float(term) > 1e-7
    assert float(balanced - without) == pytest.approx(50 * float(term), rel=1e-6)


def test_training_with_the_term_makes_the_loads_more_equal(tmp_path):
    loads = []
    for balance in (0.0, 10.0):
        done = train(dataclasses.replace(MIXTURE, balance=balance), cart(), tmp_path / str(balance), progress=False)
        model = load_world_model(done.folder)
        assert isinstance(model, StateModel)
        model.double()
        data = batch()
        start = model.encode({"state": data["state"][:, :1]})[:, 0]
        loads.append(float(imbalance(model.path_and_gates(start, model.model_actions(data["actions"]))[1])))
    assert loads[1] < 0.5 * loads[0], loads


@pytest.mark.parametrize("balance", [-0.1, float("nan"), float("inf")])
def test_weights_of_the_term_that_make_no_sense(balance):
    with pytest.raises(GraspPlannerError, match="balance must be a finite number of at least 0"):
        dataclasses.replace(MIXTURE, balance=balance)


@pytest.mark.parametrize("recipe", [CART, RECIPES["wall-pixels"]], ids=["single", "pixels"])
def test_models_without_a_gate_have_no_such_term(recipe):
    with pytest.raises(GraspPlannerError, match="balance is for mixtures: choose .* or balance 0, got 0.1"):
        dataclasses.replace(recipe, balance=0.1)


def test_the_recipe_of_the_mixture_has_the_size_of_the_single_network():
    sizes = []
    for name in ("pusht-state", "pusht-state-mixture"):
        learner = build_learner(RECIPES[name])
        sizes.append(sum(parameter.numel() for parameter in learner.model.parameters()))
    assert 0.98 * sizes[0] < sizes[1] <= sizes[0]
    same = dataclasses.replace(RECIPES["pusht-state-mixture"], model=RECIPES["pusht-state"].model)
    assert same == RECIPES["pusht-state"], "only the model differs"
