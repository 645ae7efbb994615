"""The models wall-state and pointmaze-state: the claims of their model cards, on few episodes."""

import numpy as np
import pytest
import torch

from grasp_planner import GD, Budget, check_world_model, load_world_model
from grasp_planner.bench.running.open_loop import evaluate
from grasp_planner.bench.tasks import episodes, task
from grasp_planner.models.state.model import StateModel

TASKS = {"wall-state": "wall/dset/v1", "pointmaze-state": "point_maze/dset/v1"}
FAR = {
    "wall-state": 2.0,
    "pointmaze-state": 0.4,
}  # px, m: largest median error at the end of a plan of 25 environment steps


@pytest.fixture(scope="module", params=sorted(TASKS))
def planned(request):
    model = load_world_model(request.param)
    assert isinstance(model, StateModel)
    asked = episodes(task(TASKS[request.param]), "validation", 12)
    found = evaluate(task(TASKS[request.param]), model, GD(), Budget(steps=150), asked)
    return request.param, model, asked, found


def test_it_keeps_the_contract(planned):
    _, model, asked, _ = planned
    report = check_world_model(model, {"state": np.stack([one.start for one in asked])[:, None]})
    assert report.ok, str(report)


def test_the_simulator_does_what_it_expects(planned):
    name, model, _, found = planned
    ends = np.stack([outcome.states[-1] for outcome in found.outcomes])
    expected = model.decode_state(torch.as_tensor(found.plan.states[:, -1])).numpy()
    assert float(np.median(np.linalg.norm((ends - expected)[:, :2], axis=-1))) < FAR[name]


def test_plans_in_it_reach_their_goals(planned):
    _, _, _, found = planned
    assert sum(outcome.success_end for outcome in found.outcomes) >= 8
