"""The guards of `mutations.py` are there, and one of them is turned off here and now."""

from __future__ import annotations

import pytest
from mutations import GUARDS, ROOT, fails_without


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_one_line_of_the_source(guard, figure):
    source = (ROOT / "src" / "grasp_planner" / guard.file).read_text(encoding="utf-8")
    assert source.count(guard.line) == 1, f"{guard.file} has changed: bring mutations.py up to date"
    assert (ROOT / guard.test).is_file()
    figure("guards with a test that fails without them")


def test_without_a_guard_its_test_fails():
    """The others take a minute or two: python tests/reliability/mutations.py."""
    assert fails_without(next(guard for guard in GUARDS if guard.file == "history.py"))
