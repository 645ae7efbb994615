"""Dataclasses convert to JSON values and back, and errors name the value that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.io.typed_json import from_json, to_json


@dataclass(frozen=True)
class Inner:
    number: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    pair: tuple[int, str]
    kind: Literal["a", "b"]
    by_name: dict[str, float]
    anything: Mapping[str, Any] = field(default_factory=dict)
    table: list[list[float]] | None = None


WHOLE = {
    "name": "x",
    "inner": [{"number": 1, "share": 0.5}, {"number": 2}],
    "pair": [1, "y"],
    "kind": "b",
    "by_name": {"u": 1.5},
    "anything": {"v": [1, None, "z"]},
    "table": [[1.0, 2.0], []],
}


def test_there_and_back() -> None:
    made = from_json(Outer, WHOLE)
    assert made.inner == (Inner(1, 0.5), Inner(2)) and made.pair == (1, "y") and made.table == [[1.0, 2.0], []]
    assert to_json(made) == WHOLE
    assert from_json(Outer, WHOLE | {"inner": [Inner(3)]}).inner == (Inner(3),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "here, field 'name': needed a text, got 3"),
        ({"inner": [{"number": True}]}, "here, field 'inner[0].number': needed a whole number, got True"),
        ({"inner": [{"number": 1}, {}]}, "here, field 'inner[1]': the field 'number' is missing"),
        ({"inner": {}}, "here, field 'inner': needed a list, got {}"),
        ({"pair": [1]}, "here, field 'pair': needed a list of 2, got [1]"),
        ({"kind": "c"}, "here, field 'kind': needed one of 'a', 'b', got 'c'"),
        ({"by_name": {"u": "1"}}, "here, field 'by_name.u': needed a number, got '1'"),
        ({"table": [[None]]}, "here, field 'table[0][0]': needed a number, got None"),
        ({"nam": "x"}, "here: unknown field 'nam': did you mean 'name'"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GraspPlannerError) as caught:
        from_json(Outer, WHOLE | change, "here")
    assert str(caught.value).startswith(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(WHOLE)), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(WHOLE)), value=JSON)
def test_any_value_is_accepted_or_refused_by_name(name: str, value: Any) -> None:
    try:
        from_json(Outer, WHOLE | {name: value}, "here")
    except GraspPlannerError as error:
        assert str(error).startswith(f"here, field '{name}")
