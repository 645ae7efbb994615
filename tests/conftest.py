"""Fixtures of all tests: each test starts from a fixed random state, and no setting leaks to the next test."""

from __future__ import annotations

import os
import random

# This switch is for a second run of the same tests, in which every annotation of the core is checked at run time.
if os.environ.get("GRASP_PLANNER_TYPECHECK"):
    from jaxtyping import install_import_hook

    install_import_hook(
        [
            "grasp_planner.core",
            "grasp_planner.planners",
            "grasp_planner.planning",
        ],
        "typechecked.check",
    )

import hypothesis
import numpy
import pytest
import torch

hypothesis.settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    max_examples=10,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _one_state_of_the_world():
    """Start every test from the same global random state, in float32, with gradients enabled."""
    torch.manual_seed(0)
    numpy.random.seed(0)
    random.seed(0)
    threads = torch.get_num_threads()
    yield
    assert torch.get_default_dtype() == torch.float32, "a test or the library changed the default dtype"
    assert torch.is_grad_enabled(), "a test or the library switched gradients off"
    assert torch.get_num_threads() == threads, "a test or the library changed the number of threads"


@pytest.fixture
def figure(request):
    """Count something for the summary at the end of the run: ``figure(name, amount)``. A text is shown unchanged."""

    def note(name: str, amount: int | str = 1) -> None:
        request.node.user_properties.append(("figure", [name, amount]))

    return note


def pytest_terminal_summary(terminalreporter):
    """Print the counts of ``figure``, summed over all tests and processes."""
    total: dict[str, int | str] = {}
    for report in terminalreporter.getreports("passed"):
        for kind, entry in getattr(report, "user_properties", ()):
            if kind == "figure" and report.when == "call":
                name, amount = entry
                total[name] = amount if isinstance(amount, str) else int(total.get(name, 0)) + amount
    if total:
        terminalreporter.write_sep("-", "figures of this run")
        for name, amount in sorted(total.items()):
            terminalreporter.write_line(f"{name}: {amount:,}" if isinstance(amount, int) else f"{name}: {amount}")
