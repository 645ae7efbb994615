"""CONTRIBUTING.md is right: a planner and a model from outside work everywhere, and the named places exist.

The planner is the example of docs/writing_a_planner.md: three methods, nothing inherited.
"""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import toys
from grasp_planner import (
    GD,
    GRASP,
    PLANNERS,
    Agent,
    Budget,
    GraspPlannerError,
    MultiStart,
    Plan,
    Problem,
    Sequential,
    Status,
    check_world_model,
    load_world_model,
    plan,
)
from grasp_planner.control.saving import load_state, save_state
from grasp_planner.models.checkpoint import load_model, save_model
from grasp_planner.models.registry import KINDS

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "writing_a_planner.md").read_text()
HORIZON = 8


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """The names of the first example of the page."""
    names: dict[str, Any] = {"__name__": "example"}
    block = re.search(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert block is not None
    exec(compile(block[1], "writing_a_planner.md", "exec", dont_inherit=True), names)
    names["source"] = block[1]
    return names


@pytest.fixture
def planner(example: dict[str, Any]) -> Any:
    return example["HillClimbing"]()


def problem(batch: int = 3) -> Any:
    return toys.problem(batch, HORIZON)


def improved(found: Plan) -> bool:
    return bool((found.cost < found.trace.cost[0]).all())


def test_the_example_is_25_lines_and_inherits_nothing(example: dict[str, Any]) -> None:
    lines = [line for line in example["source"].split("\n\n\n", 1)[1].splitlines() if line.strip()]
    assert len(lines) <= 25
    assert example["HillClimbing"].__mro__ == (example["HillClimbing"], object)


@pytest.mark.parametrize(
    "budget, status",
    [
        (Budget(steps=40), Status.BUDGET),
        (Budget(transitions=41 * HORIZON), Status.BUDGET),
        (Budget(transitions=41 * HORIZON + 3), Status.BUDGET),
        (Budget(seconds=0.3), Status.DEADLINE),
        (Budget(steps=40, transitions=10 * HORIZON, seconds=60.0), Status.BUDGET),
    ],
    ids=["steps", "transitions", "transitions that fit no step", "seconds", "all"],
)
def test_it_plans_within_every_limit(planner: Any, budget: Budget, status: Status) -> None:
    started = time.perf_counter()
    found = plan(problem(), planner, budget)
    assert improved(found)
    assert (found.status == status).all()
    assert budget.steps is None or found.steps <= budget.steps
    assert budget.transitions is None or found.transitions <= budget.transitions
    assert budget.seconds is None or time.perf_counter() - started < budget.seconds + 1.0
    assert (found.actions >= problem().low).all() and (found.actions <= problem().high).all()


@pytest.mark.parametrize(
    "around",
    [
        lambda planner: MultiStart(planner, starts=3),
        lambda planner: GRASP(sync=planner, sync_every=3, sync_steps=5),
        lambda planner: Sequential(planner, GD(lr=0.1), share=0.5),
        lambda planner: Sequential(GD(lr=0.1), planner, share=0.5),
        lambda planner: MultiStart(Sequential(planner, GD(lr=0.1)), starts=2),
    ],
    ids=["multi_start", "grasp", "sequential first", "sequential second", "nested"],
)
def test_it_works_inside_other_planners(planner: Any, around: Any) -> None:
    found = plan(problem(), around(planner), Budget(transitions=100 * HORIZON))
    assert improved(found) and found.transitions <= 100 * HORIZON


def test_a_plan_depends_on_its_seed_and_not_on_its_batch(planner: Any) -> None:
    together = plan(problem(), planner, Budget(steps=20), seeds=[5, 6, 7])
    again = plan(problem(), planner, Budget(steps=20), seeds=[5, 6, 7])
    other = plan(problem(), planner, Budget(steps=20), seeds=[8, 9, 10])
    assert torch.equal(together.actions, again.actions)
    assert not torch.equal(together.actions, other.actions)
    assert torch.allclose(together.cost[:1], plan(problem(1), planner, Budget(steps=20), seeds=[5]).cost, rtol=1e-8)


def test_it_drives_an_agent(planner: Any) -> None:
    agent = Agent(load_world_model("ball-nav"), planner, Budget(steps=5), execute=2, horizon=4)
    here, there = ({"state": torch.tensor([x, 5.0])} for x in (2.0, 8.0))
    assert agent.act(here, there).shape == (5, 2)
    assert agent.act(here).shape == (5, 2)


def test_its_state_is_saved_and_planning_continues(planner: Any, example: dict[str, Any], tmp_path: Path) -> None:
    first = plan(problem(), planner, Budget(steps=10))
    save_state(first.warm_start, tmp_path / "state")
    loaded = load_state(tmp_path / "state", known=[example["HillState"], example["HillClimbing"]])
    more, same = (plan(problem(), planner, Budget(steps=10), warm_start=start) for start in (loaded, first.warm_start))
    assert torch.equal(more.actions, same.actions) and (more.cost <= first.cost).all()


def test_a_row_in_planners_makes_it_a_command(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grasp_planner.cli.main import main

    monkeypatch.setitem(PLANNERS, "hill_climbing", example["HillClimbing"])
    with pytest.raises(SystemExit) as ended:
        main(["plan", "planner:hill-climbing", "--help"])
    assert ended.value.code == 0 and "--planner.std" in capsys.readouterr().out


def test_the_places_that_contributing_names_exist() -> None:
    places = re.findall(r"^\| `([^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(places) >= 15
    for place in places:
        whole = place.split("<")[0]
        assert (ROOT / whole).exists() or (ROOT / whole).parent.is_dir(), place


# --- a model ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class DriftConfig:
    """The configuration of a model of a new kind: the numbers in a state."""

    size: int = 2


class Drift(torch.nn.Module):
    """A new kind of model: a state moves by the action, and along a learned direction."""

    context, frameskip = 1, 1

    def __init__(self, config: DriftConfig = DriftConfig()) -> None:
        super().__init__()
        self.config = config
        self.drift = torch.nn.Parameter(torch.full((config.size,), 0.01))
        for name, value in (("low", -1.0), ("high", 1.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((config.size,), value))

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """(n, 1, s), (n, 1, a) -> (n, s)."""
        return states[:, -1] + 0.2 * actions[:, -1] + self.drift

    def encode(self, observations: Any) -> torch.Tensor:
        """States are latents."""
        return torch.as_tensor(observations["state"]).float()


def test_a_row_adds_a_kind_of_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved, opened by `load_world_model`, checked, planned in and driven: the row in `KINDS` is all that it takes."""

    def load(folder: Path, device: str | torch.device) -> Any:
        return load_model(Drift, DriftConfig, folder, device)

    folder = save_model(Drift(), DriftConfig(), "drift", tmp_path / "mine")
    with pytest.raises(GraspPlannerError, match="unknown kind of model.*'drift'"):
        load_world_model(folder)
    monkeypatch.setitem(KINDS, "drift", load)
    model = load_world_model(folder)
    start = {"state": torch.zeros(3, 1, 2)}
    report = check_world_model(model, start)
    assert report.ok, report
    goals = {"state": torch.tensor([[[0.5, 0.5]], [[1.0, -1.0]], [[-0.3, 0.8]]])}
    found = plan(Problem.observed(model, start, goals, HORIZON), budget=Budget(steps=60))
    assert (found.cost < 1e-3).all()
    agent = Agent(model, GD(), Budget(steps=30), horizon=HORIZON)
    assert agent.act({"state": torch.zeros(2)}, {"state": torch.ones(2)}).shape == (1, 2)


@pytest.mark.parametrize("place", ["planners", "models", "domains"])
def test_the_named_places_exist(place: str) -> None:
    """Every file or folder of the package that CONTRIBUTING.md names, without those named after something new."""
    named = re.findall(r"`((?:src|tests|docs)/[^`]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    of_place = [path for path in named if f"/{place}/" in path]
    assert of_place
    for path in of_place:
        if "<" not in path:
            assert (ROOT / path).exists(), path
        else:
            assert (ROOT / path.partition("<")[0]).parent.exists(), path
