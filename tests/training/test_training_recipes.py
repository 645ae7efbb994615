"""Recipes, schedules, symmetries and losses."""

import dataclasses

import numpy as np
import pytest
import torch
from training_data import CART, cart

from grasp_planner import GraspPlannerError
from grasp_planner.training import RECIPES, Phase, recipe, train
from grasp_planner.training.losses import latent_health, path_loss, pseudo_huber
from grasp_planner.training.recipes import build_learner
from grasp_planner.training.schedules import running_average, warmup_then_cosine
from grasp_planner.training.symmetry import push_t
from grasp_planner.training.validation import open_loop_errors


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_by_name(name):
    assert recipe(name) is RECIPES[name]
    assert dataclasses.replace(RECIPES[name], seed=1) != RECIPES[name]


def test_an_unknown_recipe_is_suggested():
    with pytest.raises(GraspPlannerError, match="did you mean 'pusht-state'"):
        recipe("pusht_stat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"phases": ()}, "at least one phase"),
        ({"phases": (Phase(0.5, 1, 8),)}, "add up to 1"),
        ({"precision": "int4"}, "'float32' or 'bfloat16', got 'int4'"),
        ({"horizons": (7,)}, "multiples of frameskip 5"),
        ({"model": dataclasses.replace(CART.model, substeps=1)}, "multiples of 5"),
    ],
)
def test_recipes_that_make_no_sense(change, message):
    with pytest.raises(GraspPlannerError, match=message):
        dataclasses.replace(CART, **change)
    with pytest.raises(GraspPlannerError, match="share"):
        Phase(0.0, 1, 1)


def test_no_random_state_of_a_gpu_is_moved(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("every GPU was seeded"))
    before = torch.get_rng_state()
    build_learner(CART)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_symmetry(tmp_path):
    with pytest.raises(GraspPlannerError, match="did you mean 'push_t'"):
        train(dataclasses.replace(CART, symmetry="pusht"), cart(), tmp_path, progress=False)


def test_phases_follow_each_other():
    settings = dataclasses.replace(CART, steps=10, phases=(Phase(0.3, 1, 1), Phase(0.7, 5, 1)))
    assert [settings.phase(step).unroll for step in range(10)] == [1] * 3 + [5] * 7


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = learning_rates(1e-2, warmup=0.1, steps=100)
    assert rates[:10] == pytest.approx(np.linspace(1e-3, 1e-2, 10), rel=1e-12)
    cosine = 1e-2 * 0.5 * (1 + np.cos(np.pi * np.arange(90) / 90))
    assert rates[10:] == pytest.approx(cosine, rel=1e-8)
    assert all(a >= b for a, b in zip(rates[9:], rates[10:])) and rates[-1] < 1e-4 and min(rates) > 0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_trainings_have_a_learning_rate(steps):
    assert learning_rates(1.0, warmup=0.02, steps=steps)[:2] == pytest.approx([1.0, 1.0][:steps])


def learning_rates(lr, warmup, steps):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule, rates = warmup_then_cosine(optimiser, warmup, steps), []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return rates


def test_the_running_average_forgets_the_first_weights_quickly():
    model = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(model.weight, 5.0)
    average, expected = running_average(model, decay=0.5), 5.0
    for n in range(1, 21):
        torch.nn.init.constant_(model.weight, float(n % 3))
        average.update_parameters(model)
        kept = min(0.5, n / (n + 9))
        expected = kept * expected + (1 - kept) * (n % 3)
        assert float(average.module.weight) == pytest.approx(expected, rel=1e-12)
    resumed = running_average(average.module, decay=0.5, step=20)
    for one in (average, resumed):
        torch.nn.init.constant_(model.weight, 7.0)
        one.update_parameters(model)
    assert torch.equal(average.module.weight, resumed.module.weight)


def test_pseudo_huber_is_quadratic_below_and_linear_above():
    small, large = torch.tensor(1e-3).double(), torch.tensor(1e3).double()
    assert float(pseudo_huber(small**2, 0.5)) == pytest.approx(float(small**2) / 2 / 0.5, rel=1e-3)
    assert float(pseudo_huber(large**2, 0.5)) == pytest.approx(float(large), rel=1e-3)


def test_a_path_that_is_right_costs_nothing_and_scale_divides():
    target = torch.rand(2, 3, 4)
    assert float(path_loss(target, target, torch.ones(4), 0.1)) == 0
    scale = torch.full((4,), 100.0)
    one = path_loss(target + 1, target, torch.ones(4), 0.1)
    assert float(path_loss(100 * target + 100, 100 * target, scale, 0.1)) == pytest.approx(float(one), rel=1e-4)


def test_health_tells_full_from_flat():
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(4000, 4, generator=generator)
    assert latent_health(full, torch.ones(4))["effective_rank"] > 3.9
    flat = full[:, :1] @ torch.ones(1, 4)
    assert latent_health(flat, torch.ones(4))["effective_rank"] < 1.01
    assert latent_health(full, torch.full((4,), 10.0))["latent_std_min"] == pytest.approx(0.1, rel=0.1)


def test_validation_reports_the_error_that_is_there():
    """The test uses a model whose prediction is wrong by a known amount at every step."""

    class Learner:
        def cut(self, unroll):
            from grasp_planner.training.learner import Cut

            return Cut(1, unroll, 1, ("state",))

        def errors(self, model, batch):
            steps = torch.arange(1, batch["actions"].shape[1] // 5 + 1)
            return {"off_px": steps.expand(len(batch["state"]), -1)}

    class Model(torch.nn.Module):
        frameskip = 5

    measured = open_loop_errors(Learner(), Model(), cart(), (5, 15), device=torch.device("cpu"))
    assert measured == {
        "off_px": {"5": {"mean": 1, "median": 1, "p90": 1}, "15": {"mean": 3, "median": 3, "p90": 3}},
    }


def test_mirrored_and_turned_the_simulator_does_the_same():
    """The symmetry holds for the simulator: mirrored actions from a mirrored state give a mirrored path."""
    pytest.importorskip("pymunk")
    from grasp_planner.domains.push_t.physics import Simulation

    def simulate(state, actions):
        simulation = Simulation(state)
        path = [simulation.state()]
        for action in actions:
            simulation.step(*action)
            path.append(simulation.state())
        return np.array(path)

    rng = np.random.default_rng(0)
    starts, pushes = [], []
    for _ in range(16):
        block, angle = rng.uniform(120, 390, 2), rng.uniform(0, 2 * np.pi)
        pusher = block + 45 * np.array([-np.sin(angle), np.cos(angle)]) + rng.normal(0, 90, 2)
        starts.append([*pusher, *block, angle, 0.0, 0.0])
        pushes.append((block - pusher) / 250 + rng.normal(0, 0.1, (30, 2)))
    paths = np.array([simulate(np.array(s), a) for s, a in zip(starts, pushes)])
    moved = np.linalg.norm(paths[:, -1, 2:4] - paths[:, 0, 2:4], axis=-1)
    assert (moved > 20).sum() > 8, "the test needs pushes that move the block"

    # The start is prepended to the path and turned with it, since the simulator's first state follows a physics step.
    with_start = torch.tensor(np.concatenate([np.array(starts)[:, None], paths], axis=1))
    padded = torch.tensor(np.concatenate([np.zeros((16, 1, 2)), np.array(pushes)], axis=1))
    turned, turned_pushes = push_t(with_start, padded, torch.Generator().manual_seed(0))
    again = np.array([simulate(s, a) for s, a in zip(turned[:, 0].numpy(), turned_pushes[:, 1:].numpy())])
    expected = turned[:, 1:].numpy()
    angle = (again[..., 4] - expected[..., 4] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(np.delete(again - expected, 4, axis=-1)).max() < 1e-6 and np.abs(angle).max() < 1e-6
    assert (
        len({tuple(row.round(6)) for row in (turned_pushes[:, 1] / padded[:, 1].norm(dim=-1, keepdim=True)).numpy()})
        > 4
    )
