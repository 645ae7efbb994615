"""The comparison with other libraries: what is ours in it. No other library is imported."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from grasp_planner import GoalDistance, GraspPlannerError, Markov, Problem
from grasp_planner.core.plans import score

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """Yield other_libraries.py and other_planners.py."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("other_libraries"), importlib.import_module("other_planners")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("other_libraries", "other_planners"):
            del sys.modules[name]


@pytest.fixture
def planners(modules) -> ModuleType:
    return modules[1]


@pytest.fixture
def libraries(modules) -> ModuleType:
    return modules[0]


def problem(batch: int = 2, **rest: Any) -> Problem:
    dynamics = Markov(lambda state, action: state + 0.1 * torch.tanh(action))
    goal = torch.arange(2.0 * batch).reshape(batch, 2) + 1
    scale = torch.tensor([2.0, 0.5])
    return Problem.between(dynamics, torch.zeros(batch, 2), goal, 5, low=-torch.ones(2), high=1, scale=scale, **rest)


def test_costs_are_those_of_plans_within_the_bounds_and_count_transitions(planners: ModuleType) -> None:
    task = problem()
    search = planners.Search(task, 1.0)
    candidates = 3 * torch.randn(2, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    inside = candidates.clamp(-1, 1).flatten(0, 1)
    expected = score(task.normalised().repeat(4), inside).cost.unflatten(0, (2, 4))
    assert torch.allclose(search.costs(candidates), expected)
    assert search.transitions == 4 * 5


def test_single_steps_give_the_costs_of_rollouts(planners: ModuleType) -> None:
    """Libraries that roll out themselves minimise the same costs."""
    search = planners.Search(problem(), 1.0)
    candidates = 3 * torch.randn(2, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    states = search.problem.start[:, None].expand(2, 4, 2).flatten(0, 1)
    for t in range(5):
        states = search.step(states, candidates[:, :, t].flatten(0, 1))
    assert search.transitions == 4 * 5
    assert torch.allclose(search.end_costs(states).unflatten(0, (2, 4)), search.costs(candidates))


def test_no_iteration_begins_that_would_end_after_the_deadline(
    planners: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([10.0, 10.4, 10.7, 10.9])
    monkeypatch.setattr(planners.time, "perf_counter", lambda: next(moments))
    search = planners.Search(problem(), 1.0)
    assert [search.another() for _ in range(3)] == [True, True, False]  # the last: 10.9 + 0.2 > 11
    assert search.iterations == 3


def test_a_stage_cost_is_refused(planners: ModuleType) -> None:
    with pytest.raises(GraspPlannerError, match="last state only"):
        planners.Search(problem(objective=GoalDistance(stage_weight=1.0)), 1.0)


def test_settings_fit_the_planners_and_begin_with_the_documented(planners: ModuleType) -> None:
    for rival in planners.RIVALS:
        named = {name for name, one in inspect.signature(rival.plan).parameters.items() if one.kind is one.KEYWORD_ONLY}
        trials = [planners.drawn(rival, trial) for trial in range(40)]
        assert trials[0] == dict(rival.documented) and trials[1] == dict(rival.known)
        assert trials == [planners.drawn(rival, trial) for trial in range(40)]
        assert all(set(settings) == named for settings in trials)
        assert len({json.dumps(settings) for settings in trials}) > 10


def test_a_missing_library_is_named(planners: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planners, "find_spec", lambda name: None)
    for library, module in planners.MODULES.items():
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
        with pytest.raises(GraspPlannerError, match=f"pip install {library}"):
            planners.needed(library)


def test_a_missing_library_leaves_no_file(
    libraries: ModuleType, planners: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, planners.MODULES["mbrl"], None)
    with pytest.raises(GraspPlannerError, match="pip install mbrl"):
        libraries.main(["--libraries", "mbrl", "--out", str(tmp_path / "rows.jsonl")])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def kept_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def random_plans(search: Any, seed: int, *, std: float) -> torch.Tensor:
    """Stand in for a planner of another library: return one of the plans of every iteration, outside of the bounds."""
    shape = (search.problem.batch, 4, search.problem.horizon, search.problem.action_size)
    candidates = std * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    search.costs(candidates)
    while search.another():
        search.costs(candidates)
    return candidates[:, 0]


@pytest.fixture
def run(
    libraries: ModuleType,
    planners: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kept_threads: None,
    capsys: pytest.CaptureFixture[str],
) -> tuple[Path, str]:
    """Return the file and the output of a tiny run with a stand-in for another library."""
    rival = planners.Rival("stand-in", "random", random_plans, True, {"std": 9.0}, {"std": 8.0}, {"std": (7.0,)})
    monkeypatch.setattr(libraries, "RIVALS", (rival,))
    monkeypatch.setattr(libraries, "LIBRARIES", ("grasp-planner", "stand-in"))
    monkeypatch.setattr(libraries, "needed", lambda library: None)
    monkeypatch.setattr(libraries, "version", lambda name: "1.0")
    monkeypatch.setattr(libraries, "WARM_UP", 0.01)
    out = tmp_path / "rows.jsonl"
    tiny = ["--problems", "2", "--horizon", "10", "--seconds", "0.03", "--trials", "3", "--validation", "1"]
    libraries.main([*tiny, "--out", str(out)])
    return out, capsys.readouterr().out


def test_a_tiny_run(libraries: ModuleType, run: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    out, printed = run
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["settings"]["std"] for record in records if record["kind"] == "trial"] == [9.0, 8.0, 7.0]
    arms = [tuple(record[name] for name in libraries.NAMES) for record in records if record["kind"] == "arm"]
    assert arms == [
        *(("grasp-planner", name, "fixed") for name in ("recommended", "CEM", "MPPI")),
        ("stand-in", "random", "documented"),
        ("stand-in", "random", "tuned"),
    ]
    plans = [record for record in records if record["kind"] == "plan"]
    assert len(plans) == 5 * 2 * 2  # arms, modes, episodes
    for row in plans:
        assert row["transitions"] >= 2 and row["iterations"] >= (row["library"] == "stand-in")
        assert isinstance(row["success"], bool) and row["cost"] >= 0
        assert row["mode"] in (libraries.ONE, libraries.BATCH)
    rows = [line for line in printed.splitlines() if line.startswith(("| grasp-planner", "| stand-in"))]
    assert len(rows) == 2 * 5 and all(line.count("|") in (10, 4) for line in rows)
    libraries.main(["--table", str(out)])
    assert capsys.readouterr().out.strip() in printed


def test_an_earlier_run_is_not_overwritten(libraries: ModuleType, run: tuple[Path, str]) -> None:
    out, _ = run
    before = out.read_text()
    with pytest.raises(SystemExit):
        libraries.main(["--out", str(out)])
    assert out.read_text() == before


def test_tuning_prefers_successes_and_then_low_costs(libraries: ModuleType) -> None:
    def rows(*outcomes: tuple[bool, float]) -> list[dict[str, Any]]:
        return [{"success": success, "cost": cost} for success, cost in outcomes]

    one, two = rows((True, 5.0), (False, 5.0)), rows((True, 9.0), (True, 9.0))
    assert libraries.quality(two) > libraries.quality(one) > libraries.quality(rows((True, 6.0), (False, 6.0)))


def test_the_published_table_is_that_of_its_records(libraries: ModuleType) -> None:
    lines = (BENCHMARKS / "other_libraries.jsonl").read_text().splitlines()
    made = libraries.table(json.loads(line) for line in lines).splitlines()
    shown = (BENCHMARKS.parent / "docs" / "comparison.md").read_text().splitlines()
    assert len(made) > 10 and not [line for line in made if line.startswith("| ") and line not in shown]
