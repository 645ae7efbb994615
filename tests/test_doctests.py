"""Every example in a docstring runs and gives the output that it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import grasp_planner

MODULES = [
    module.name
    for module in pkgutil.walk_packages(grasp_planner.__path__, "grasp_planner.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["grasp_planner", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example that writes a file writes it there
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


PUBLIC = [name for name in grasp_planner.__all__ if name.isupper() or name[0].isupper()]


@pytest.mark.parametrize("name", PUBLIC + ["plan", "load_world_model", "check_world_model"])
def test_public_names_say_what_they_are(name):
    thing = getattr(grasp_planner, name)
    if not isinstance(thing, dict):
        assert (thing.__doc__ or "").strip(), f"{name} has no docstring"
