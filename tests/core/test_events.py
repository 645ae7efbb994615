"""Events: exact margins against loops, smooth margins within their stated error, duality, and errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from grasp_planner import (
    Constrained,
    GoalDistance,
    GraspPlannerError,
    Margin,
    action_rate,
    along_the_way,
    always,
    eventually,
    inside_ball,
    inside_box,
)
from grasp_planner.core.events import Path, extremum

STATES, ACTIONS = toys.fixed(4, 7, 3, seed=1), toys.fixed(4, 6, 2, seed=2)


def coordinate(i: int) -> Margin:
    return Margin(lambda states, actions: states[..., i])


X, Y, Z = coordinate(0), coordinate(1), coordinate(2)


def by_hand(row: int, first: int, last: int, i: int) -> list[float]:
    return [float(STATES[row, t, i]) for t in range(first, last + 1)]


@pytest.mark.parametrize(("first", "last"), [(0, None), (0, 0), (2, 4), (3, None), (6, 6)])
def test_always_and_eventually_are_the_extremes_of_a_range_that_includes_both_ends(first, last):
    least, most = (event(X, first, last).margin(STATES, ACTIONS) for event in (always, eventually))
    for row in range(4):
        values = by_hand(row, first, 6 if last is None else last, 0)
        assert least[row] == min(values) and most[row] == max(values)


def test_and_or_not_are_smallest_largest_and_negative():
    x, y = always(X), always(Y)
    of_x, of_y = x.margin(STATES, ACTIONS), y.margin(STATES, ACTIONS)
    assert torch.equal((x & y).margin(STATES, ACTIONS), torch.minimum(of_x, of_y))
    assert torch.equal((x | y).margin(STATES, ACTIONS), torch.maximum(of_x, of_y))
    assert torch.equal((~x).margin(STATES, ACTIONS), -of_x)


def test_a_nested_range_begins_at_each_step():
    """x stays above its margin for three steps in a row, at some time; then y follows within two steps."""
    stays = eventually(always(X, last=2), last=4)
    follows = eventually(X & eventually(Y, 1, 2))
    for row in range(4):
        x, y = by_hand(row, 0, 6, 0), by_hand(row, 0, 6, 1)
        assert stays.margin(STATES, ACTIONS)[row] == max(min(x[t : t + 3]) for t in range(5))
        later = [max(y[min(t + 1, 6)], y[min(t + 2, 6)]) for t in range(7)]
        assert follows.margin(STATES, ACTIONS)[row] == max(map(min, x, later))


EVENTS = [
    always(X),
    eventually(X & Y, 1, 4),
    always(X | Y) & eventually(~Z, last=2),
    ~(always(X & Y) | eventually(Z)),
    eventually(always(X, last=2)),
    always(action_rate(0.4)) | always(inside_box(lambda s: s[..., :2], (-1.0, -2.0), (2.0, 1.0))),
]
# The smooth extremes of each event, from the outside in: how many numbers each is over.
COUNTS = [(7,), (2, 4), (2, 7, 3, 2), (2, 7, 2, 7), (3, 7), (7, 7, 2)]


@pytest.mark.parametrize("number", range(len(EVENTS)))
@pytest.mark.parametrize("smoothing", [0.01, 0.3, 2.0])
def test_a_smooth_margin_is_below_the_exact_margin_by_at_most_the_stated_error(number, smoothing):
    exact = EVENTS[number].margin(STATES, ACTIONS)
    error = exact - EVENTS[number].margin(STATES, ACTIONS, smoothing)
    assert (error >= -1e-12).all() and (error <= smoothing * sum(map(math.log, COUNTS[number])) + 1e-12).all()


@pytest.mark.parametrize("event", EVENTS)
def test_not_not_is_the_same_and_the_terms_have_the_margin_as_their_minimum(event):
    exact = event.margin(STATES, ACTIONS)
    assert torch.equal((~~event).margin(STATES, ACTIONS), exact)
    assert torch.equal((~event).margin(STATES, ACTIONS), -exact)
    assert torch.equal(event.terms(Path(STATES, ACTIONS), 0.0).amin(1), exact)


@pytest.mark.parametrize("event", EVENTS)
def test_a_tightened_event_has_a_margin_that_is_smaller_by_that_much(event):
    expected = event.margin(STATES, ACTIONS) - 0.7
    torch.testing.assert_close(event.tightened(0.7).margin(STATES, ACTIONS), expected)
    torch.testing.assert_close((~event.tightened(0.7)).margin(STATES, ACTIONS), -expected)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0.05, 2.0))
@settings(max_examples=30)
def test_smooth_extremes_are_below_the_exact_ones_by_at_most_their_error(values, smoothing):
    margins = torch.tensor(values, dtype=torch.float64)
    low, high = (extremum(margins, smoothing, smallest) for smallest in (True, False))
    error = smoothing * math.log(len(values)) + 1e-9
    assert min(values) - error <= low <= min(values) + 1e-9 and max(values) - error <= high <= max(values) + 1e-9
    for smallest in (True, False):  # no extremum falls if a margin grows
        larger = extremum(margins + torch.arange(len(values)).double(), smoothing, smallest)
        assert larger >= (low if smallest else high) - 1e-9


def test_terms_of_a_conjunction_of_always_are_one_for_each_step():
    event = always(X & Y, 1, 3) & always(~Z) & eventually(X)
    assert event.terms(Path(STATES, ACTIONS), 0.1).shape == (4, 3 + 3 + 7 + 1)


def test_ready_made_margins():
    states = torch.tensor([[[0.0, 0.0, 9.0], [3.0, 4.0, 9.0]]])
    actions = torch.tensor([[[1.0, 0.0]]])
    read = lambda s: s[..., :2]  # noqa: E731
    path = Path(states, actions)
    assert inside_ball(read, (0.0, 0.0), 2.0, scale=2.0).signal(path, 2, 0.0).tolist() == [[1.0, -1.5]]
    assert inside_box(read, (-1.0, -math.inf), (5.0, 1.0)).signal(path, 2, 0.0).tolist() == [[1.0, -3.0]]
    moves = Path(torch.zeros(1, 4, 1), torch.tensor([[[0.0, 1.0], [0.5, 1.0], [0.5, -1.0]]]))
    assert action_rate(1.0).signal(moves, 4, 0.0).tolist() == [[1.0, 0.5, -1.0, 1.0]]  # no change after the last action
    single = Path(torch.zeros(1, 4, 1), torch.tensor([[[0.0, 1.0], [0.5, 0.5], [0.5, -1.0]]]))
    assert action_rate(1.0, scale=0.5, frameskip=2).signal(single, 4, 0.0).tolist() == [[0.0, 1.0, -1.0, 2.0]]


@pytest.mark.parametrize("event", [X, ~X, (~inside_ball(lambda s: s, (0.0, 0.0, 0.0), 0.5, scale=2.0)).tightened(0.1)])
def test_the_margin_along_the_way_is_the_smallest_at_the_points_between_two_steps(event):
    way = along_the_way(event, points=3).signal(Path(STATES, ACTIONS), 7, 0.0)
    assert torch.equal(way[:, 0], event.signal(Path(STATES, ACTIONS), 1, 0.0)[:, 0])
    for step in range(1, 7):
        points = [STATES[:, step - 1] + (STATES[:, step] - STATES[:, step - 1]) * share / 3 for share in (1, 2, 3)]
        each = event.signal(Path(torch.stack(points, dim=1), ACTIONS[:, :3]), 3, 0.0)
        assert torch.allclose(way[:, step], each.amin(1), atol=1e-6)
    assert torch.equal(
        along_the_way(event, points=1).signal(Path(STATES, ACTIONS), 7, 0.0),
        event.signal(Path(STATES, ACTIONS), 7, 0.0),
    )


def test_steps_without_a_value_have_the_last_value():
    first = Margin(lambda states, actions: states[:, :1, 0])
    assert torch.equal(eventually(first, 3).margin(STATES, ACTIONS), STATES[:, 0, 0])
    taken = always(Margin(lambda states, actions: actions[..., 0]), 5)  # a_5 is the last action
    assert torch.equal(taken.terms(Path(STATES, ACTIONS), 0.0), ACTIONS[:, [5, 5], 0])


def test_centre_and_sides_are_not_rounded_to_single_precision():
    states, centre = torch.full((1, 2, 1), 0.1, dtype=torch.float64), (0.1,)
    read = lambda s: s  # noqa: E731
    assert always(inside_ball(read, centre, 0.0)).margin(states, states[:, :1]) == 0.0
    assert always(inside_box(read, centre, centre)).margin(states, states[:, :1]) == 0.0


def test_the_gradient_at_the_centre_of_a_ball_is_finite():
    states = torch.zeros(1, 2, 2, requires_grad=True)
    always(~inside_ball(lambda s: s, (0.0, 0.0), 1.0)).margin(states, torch.zeros(1, 1, 1)).sum().backward()
    assert torch.isfinite(states.grad).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Margin(lambda s, a: s, scale=0.0), "Margin.scale must be a number > 0, got 0.0"),
        (lambda: Margin(3.0), "Margin.function must be a function of states and actions, got 3.0"),
        (lambda: inside_ball(lambda s: s, (0.0,), -1.0), "inside_ball.radius must be a number >= 0, got -1.0"),
        (
            lambda: inside_box(lambda s: s, (0.0, 1.0), (1.0, 0.5)),
            r"low must be at most inside_box.high, got \[0.0, 1.0\] and \[1.0, 0.5\]",
        ),
        (lambda: action_rate(math.nan), "action_rate.limit must be a number >= 0, got nan"),
        (lambda: always(3), "an event is made by Margin"),
        (lambda: always(X) & "x", "an event is made by Margin"),
        (lambda: always(X, -1), "first must be a model step, a whole number >= 0, got -1"),
        (lambda: always(X, 0, 2.0), "last must be a model step, a whole number >= 0, got 2.0"),
        (lambda: eventually(X, 3, 2), "first <= last, got 3 and 2"),
        (lambda: always(X) and always(Y), "combine events with &, | and ~"),
        (lambda: not always(X), "combine events with &, | and ~"),
        (lambda: Constrained(GoalDistance(), X), "always"),
        (lambda: Constrained(GoalDistance(), always(X) & Y), "always"),
        (lambda: Constrained(GoalDistance(), always(X), weight=-1.0), "Constrained.weight"),
        (lambda: Constrained(Constrained(GoalDistance(), always(X)), always(Y)), "without constraints"),
        (lambda: along_the_way(always(X), 2), "needs a Margin"),
        (lambda: along_the_way(X, 0), "points must be an integer >= 1, got 0"),
        (lambda: along_the_way(X, True), "points must be an integer >= 1, got True"),
    ],
)
def test_errors_of_settings(make, words):
    with pytest.raises(GraspPlannerError, match=words):
        make()


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (inside_ball(lambda s: s, (0.0,), 1.0), r"inside_ball.centre must be \(3,\) .* got \(1,\)"),
        (inside_box(lambda s: s, (0.0, 0.0), (1.0, 1.0, 1.0)), r"inside_box.low must be \(3,\) .* got \(2,\)"),
        (inside_box(lambda s: s, (0.0, 0.0, 0.0), torch.tensor(1.0)), r"inside_box.high must be \(3,\) .* got \(\)"),
        (action_rate(1.0, frameskip=3), "frameskip must divide the 2 coordinates of an action, got 3"),
        (action_rate(1.0, frameskip=0), "frameskip must divide the 2 coordinates of an action, got 0"),
    ],
)
def test_errors_of_ready_made_margins(event, words):
    with pytest.raises(GraspPlannerError, match=words):
        always(event).margin(STATES, ACTIONS)


@pytest.mark.parametrize(
    "function",
    [
        lambda states, actions: 3.0,
        lambda states, actions: states,
        lambda states, actions: states[:1, :, 0],
        lambda states, actions: torch.cat([states, states], 1)[..., 0],
        lambda states, actions: states[..., 0].float(),
    ],
)
def test_a_margin_must_have_a_number_for_each_step(function):
    with pytest.raises(GraspPlannerError, match="function of a Margin"):
        always(Margin(function)).margin(STATES, ACTIONS)
