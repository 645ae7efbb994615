"""The comparisons of step_cost.py under pytest-benchmark, for statistics and for comparing versions of the code.

python -m pytest benchmarks/test_step_cost.py --benchmark-group-by=param:name,param:size
python -m pytest benchmarks/test_step_cost.py --benchmark-autosave, and later --benchmark-compare
"""

from __future__ import annotations

import pytest
from step_models import CASES
from step_timing import LIFTED, bare, bare_rollout, loop_over_time, one_step, problem

from grasp_planner import CEM, GD, Chunked

SIZES = [("mlp", (1, 50)), ("mlp", (64, 50)), ("lewm", (1, 10)), ("lewm", (1, 50)), ("lewm-3", (1, 50))]
WORKS = {
    "bare": lambda task, model: bare(task, model),
    "loop over time": lambda task, model: loop_over_time(task, model),
    "GRASP": lambda task, model: one_step(task, LIFTED),
    "GRASP in pieces": lambda task, model: one_step(task.through(Chunked(model, rows=25)), LIFTED),
    "GD": lambda task, model: one_step(task, GD()),
    "bare rollouts": lambda task, model: bare_rollout(task, model, 16),
    "CEM": lambda task, model: one_step(task, CEM(samples=16, elites=4)),
}


@pytest.mark.parametrize(("name", "size"), SIZES, ids=lambda value: str(value))
@pytest.mark.parametrize("work", WORKS)
def test_cost(benchmark, name, size, work):
    case = CASES[name]
    model = case.model()
    benchmark.pedantic(WORKS[work](problem(model, case, *size, "cpu"), model), rounds=5, warmup_rounds=1)
