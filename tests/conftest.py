"""Shared by all tests: nothing is random unless a test says so, and nothing leaks from one test into the next."""

from __future__ import annotations

import os
import random

# One switch for a second run of the same tests in which every annotation of the core is checked at run time.
if os.environ.get("GRASP_PLANNER_TYPECHECK"):
    from jaxtyping import install_import_hook

    install_import_hook(
        [
            "grasp_planner.evaluation",
            "grasp_planner.noise",
            "grasp_planner.objectives",
            "grasp_planner.planner",
            "grasp_planner.planners",
            "grasp_planner.plans",
            "grasp_planner.problem",
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
    """Every test starts from the same global random state, in float32, with gradients on."""
    torch.manual_seed(0)
    numpy.random.seed(0)
    random.seed(0)
    threads = torch.get_num_threads()
    yield
    assert torch.get_default_dtype() == torch.float32, "a test or the library changed the default dtype"
    assert torch.is_grad_enabled(), "a test or the library switched gradients off"
    assert torch.get_num_threads() == threads, "a test or the library changed the number of threads"
