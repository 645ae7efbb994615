"""Each guard of `mutations.py` is found by its name, and one of them is disabled here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutations import GUARDS, fails_without
from surgery import ROOT, SOURCE, Assignment, Call, Change, Condition, Lost, operated, parsed


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_found_by_its_name(guard, figure):
    changed = operated(guard.function, guard.disabled)
    assert changed.text != ast.unparse(parsed(SOURCE / changed.path)), "the change changes something"
    compile(changed.text, changed.path, "exec")
    assert (ROOT / guard.test).is_file()
    figure("guards with a test that fails without them")


def test_without_a_guard_its_test_fails():
    """The other guards take minutes: python tests/reliability/mutations.py."""
    assert fails_without(next(guard for guard in GUARDS if guard.function == "History.states"))


SAMPLE = """
class Box:
    def put(self, item, most):
        if len(self.items) >= most and \\
                item is not None:
            raise ValueError(f"a box holds {most}, "
                             "and no more")
        if item is None:
            raise ValueError("put nothing")
        total = sum(self.items)
        total |= max(item, (0))
        self.check(
            item,
        )
        return total
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "box.py").write_text(SAMPLE)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Condition("most"), "if False:\n            raise ValueError(f'a box holds {most}, and no more')"),
        (Condition("and no more"), "if False:\n            raise ValueError(f'a box holds {most}, and no more')"),
        (Condition("put nothing", True), "if True:\n            raise ValueError('put nothing')"),
        (Assignment("total", "0"), "total = 0"),
        (Assignment("total |="), "total = sum(self.items)\n        pass\n        self.check(item)"),
        (Call("check"), "total |= max(item, 0)\n        pass\n        return total"),
        (Call("max", "min({1}, {0})"), "total |= min(0, item)"),
        (Call("check", "{self}.items"), "total |= max(item, 0)\n        self.items\n"),
    ],
)
def test_a_change_does_not_depend_on_the_layout_of_the_source(source: Path, change: Change, expected: str):
    assert expected in operated("Box.put", change, source).text


@pytest.mark.parametrize(
    ("function", "change"),
    [
        ("Box.take", Call("check")),
        ("put", Call("check")),
        ("Box.put", Call("look")),
        ("Box.put", Condition("other")),
        ("Box.put", Condition("item")),
        ("Box.put", Assignment("most")),
        ("Box.put", Call("max")),
    ],
)
def test_a_guard_that_is_gone_or_not_unique_is_an_error(source: Path, function: str, change: Change):
    with pytest.raises(Lost, match=r"^(0|2) (functions|places)"):
        operated(function, change, source)


def test_two_functions_of_one_name_are_an_error(source: Path):
    (source / "second.py").write_text(SAMPLE)
    with pytest.raises(Lost, match="2 functions are called Box.put"):
        operated("Box.put", Call("check"), source)
