"""Problem: its two ways to evaluate the model, its cost, and every invalid input."""

from __future__ import annotations

import dataclasses

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toys
from grasp_planner import Dynamics, GoalDistance, GraspPlannerError, Markov, Problem


def model_of(context: int):
    return toys.Nonlinear() if context == 1 else toys.Remembering(context)


@pytest.mark.parametrize("context", [1, 2, 3, 5])
@given(batch=st.integers(1, 5), horizon=st.integers(1, 7), seed=st.integers(0, 100))
def test_predicting_along_a_rollout_gives_the_rollout_back(context, batch, horizon, seed):
    problem = toys.problem(batch, horizon, model_of(context), seed=seed)
    actions = toys.fixed(batch, horizon, 2, seed=seed + 50)
    rolled_out = problem.rollout(actions)
    torch.testing.assert_close(rolled_out, toys.rollout_by_hand(problem, actions), rtol=1e-12, atol=1e-12)
    states = torch.cat([problem.start[:, None], rolled_out[:, :-1]], dim=1)
    torch.testing.assert_close(problem.predict(states, actions), rolled_out, rtol=1e-12, atol=1e-12)


def shapes_of(model: toys.Counted) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the shapes of the states and actions in every call of the model."""
    return [(tuple(states.shape), tuple(actions.shape)) for states, actions in zip(model.states, model.actions)]


@pytest.mark.parametrize("context", [1, 3])
def test_the_model_sees_windows_and_is_called_as_often_as_said(context):
    model = toys.Counted(model_of(context), keep=True)
    problem = toys.problem(2, 4, model)
    problem.rollout(torch.zeros(2, 4, 2, dtype=torch.float64))
    assert shapes_of(model) == [((2, context, 3), (2, context, 2))] * 4
    problem.predict(toys.fixed(2, 4, 3, seed=1), torch.zeros(2, 4, 2, dtype=torch.float64))
    assert shapes_of(model)[4:] == [((8, context, 3), (8, context, 2))]


@pytest.mark.parametrize("context", [1, 2, 3])
def test_windows_written_out(context):
    problem = toys.problem(2, 4, model_of(context))
    states, actions = toys.fixed(2, 4, 3, seed=1), toys.fixed(2, 4, 2, seed=2)
    windows, blocks = problem.windows(states, actions)
    for i in range(2):
        seen = [*problem.states[i, :-1], *states[i]]
        taken = [*problem.past_actions[i], *actions[i]]
        for t in range(4):
            assert torch.equal(windows[4 * i + t], torch.stack(seen[t : t + context]))
            assert torch.equal(blocks[4 * i + t], torch.stack(taken[t : t + context]))


def test_a_prediction_depends_on_no_later_state_or_action():
    problem = toys.problem(1, 5, toys.Remembering(3))
    states, actions = toys.fixed(1, 5, 3, seed=1), toys.fixed(1, 5, 2, seed=2)
    first = problem.predict(states, actions)
    for t in range(5):
        other_states, other_actions = states.clone(), actions.clone()
        other_states[:, t] += 1.0
        other_actions[:, t] += 1.0
        changed = (problem.predict(other_states, other_actions) != first).any(-1)[0].tolist()
        assert changed == [t <= k < t + 3 for k in range(5)]


@pytest.mark.parametrize("length", [1, 3, 9])
def test_both_doors_take_any_length(length):
    problem = toys.problem(2, 4, toys.Remembering(3))
    actions = toys.fixed(2, length, 2, seed=2)
    assert problem.rollout(actions).shape == problem.predict(toys.fixed(2, length, 3, seed=1), actions).shape


OBJECTIVES = [
    GoalDistance(),
    GoalDistance(weights=(1.0, 0.0, 3.0)),
    GoalDistance(weights=torch.tensor([0.5, 2.0, 1.0])),
    GoalDistance(stage_weight=0.4),
    GoalDistance(effort=0.3),
    GoalDistance(weights=[2.0, 1.0, 0.5], stage_weight=0.25, effort=0.1),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("horizon", [1, 4])
def test_cost_against_a_hand_sum(objective, scaled, horizon):
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64) if scaled else None
    problem = toys.problem(3, horizon, toys.Remembering(2), objective=objective, scale=scale)
    actions = toys.fixed(3, horizon, 2, seed=2)
    cost = problem.cost(problem.rollout(actions), actions)
    assert cost.shape == (3,)
    torch.testing.assert_close(cost, toys.cost_by_hand(problem, actions))


def test_the_unit_is_the_distance_the_size_of_the_goal_or_one():
    start = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    goal = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    bound = torch.ones(1, dtype=torch.float64)
    problem = Problem.between(Markov(lambda s, a: s), start, goal, 1, -bound, bound)
    size = 12.5**0.5
    expected = torch.tensor([[size] * 2, [size] * 2, [1.0] * 2], dtype=torch.float64)
    torch.testing.assert_close(problem.unit, expected)


@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_repeat_puts_candidates_beside_each_other(candidates):
    problem = toys.problem(3, 4, toys.Remembering(3), scale=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
    many = problem.repeat(candidates)
    assert many.batch == 3 * candidates
    actions = toys.fixed(3 * candidates, 4, 2, seed=2)
    states = many.rollout(actions)
    cost = many.cost(states, actions)
    for i in range(3):
        for j in range(candidates):
            row = [i * candidates + j]
            one = toys.rows(problem, [i])
            torch.testing.assert_close(states[row], one.rollout(actions[row]))
            torch.testing.assert_close(cost[row], one.cost(one.rollout(actions[row]), actions[row]))
    assert problem.batch == 3, "the original is as it was"


def test_repeat_of_a_repeat():
    problem = toys.problem(2, 3)
    assert torch.equal(problem.repeat(2).repeat(3).goal, problem.repeat(6).goal)


def test_clamp_takes_any_leading_axes_and_leaves_open_sides_open():
    problem = dataclasses.replace(
        toys.problem(1, 1),
        low=torch.tensor([-1.0, -torch.inf], dtype=torch.float64),
        high=torch.tensor([0.5, 2.0], dtype=torch.float64),
    )
    for shape in ((2,), (4, 2), (3, 4, 5, 2)):
        actions = 100.0 * toys.fixed(*shape, seed=1)
        expected = torch.stack([actions[..., 0].clamp(-1, 0.5), actions[..., 1].clamp(max=2.0)], dim=-1)
        assert torch.equal(problem.clamp(actions), expected)


def test_properties():
    problem = toys.problem(4, 6, toys.Remembering(3), latent=3, action=2)
    assert (problem.batch, problem.context, problem.latent_size, problem.action_size) == (4, 3, 3, 2)
    assert torch.equal(problem.start, problem.states[:, -1])


def test_problems_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        toys.problem().horizon = 3


def test_between_is_a_history_of_the_start_alone():
    start, goal, bound = torch.zeros(2, 3), torch.ones(2, 3), torch.ones(4)
    problem = Problem.between(Markov(lambda s, a: s), start, goal, 7, -bound, bound)
    assert problem.states.shape == (2, 1, 3) and problem.past_actions.shape == (2, 0, 4)
    assert isinstance(problem.objective, GoalDistance) and problem.scale is None and problem.horizon == 7


def test_markov_reads_the_newest_of_a_window():
    double = Markov(lambda state, action: 2 * state + action)
    assert double.context == 1 and isinstance(double, Dynamics)
    states, actions = toys.fixed(3, 2, 4, seed=1), toys.fixed(3, 2, 4, seed=2)
    assert torch.equal(double(states, actions), 2 * states[:, 1] + actions[:, 1])


def test_gradients_pass_both_doors():
    problem = toys.problem(2, 3, toys.Remembering(3))
    actions = torch.zeros(2, 3, 2, dtype=torch.float64, requires_grad=True)
    problem.rollout(actions).sum().backward()
    assert (actions.grad != 0).all()


def test_gradients_wanted_where_the_model_gives_none_are_an_error():
    problem = toys.problem(2, 3, Markov(lambda s, a: (s + a.sum(-1, keepdim=True)).detach()))
    actions = torch.zeros(2, 3, 2, dtype=torch.float64)
    assert problem.rollout(actions).shape == (2, 3, 3)
    with torch.no_grad():
        assert problem.rollout(actions.clone().requires_grad_()).shape == (2, 3, 3)
    with pytest.raises(GraspPlannerError, match="does not depend on the actions"):
        problem.rollout(actions.requires_grad_())


# --- bad input ------------------------------------------------------------------------------------------------------

GOOD = {
    "dynamics": toys.Remembering(3),
    "states": toys.fixed(2, 3, 3, seed=1),
    "past_actions": torch.zeros(2, 2, 2, dtype=torch.float64),
    "goal": toys.fixed(2, 3, seed=2),
    "horizon": 4,
    "low": -torch.ones(2, dtype=torch.float64),
    "high": torch.ones(2, dtype=torch.float64),
}
NAN, INF = float("nan"), float("inf")


class NoContext:
    def __call__(self, states, actions):
        return states[:, -1]


class OddContext:
    def __init__(self, context) -> None:
        self.context = context

    def __call__(self, states, actions):
        return states[:, -1]


class HalfAnObjective:
    def terminal(self, states, goal):
        return states.sum(-1)


def spoilt(name: str, place: tuple[int, ...], value: float) -> torch.Tensor:
    tensor = GOOD[name].clone()
    tensor[place] = value
    return tensor


BAD = {
    "dynamics a number": ({"dynamics": 3}, "dynamics must have `context: int`.*got int.*Markov"),
    "dynamics a function": ({"dynamics": lambda s, a: s}, "dynamics must have.*got function.*Markov"),
    "dynamics without context": ({"dynamics": NoContext()}, "dynamics must have.*got NoContext"),
    "dynamics a class": ({"dynamics": toys.Nonlinear}, "dynamics must have.*Markov"),
    "context zero": ({"dynamics": OddContext(0)}, "context must be an integer >= 1, got 0"),
    "context a float": ({"dynamics": OddContext(1.0)}, "context must be an integer >= 1, got 1.0"),
    "context a bool": ({"dynamics": OddContext(True)}, "context must be an integer >= 1, got True"),
    "horizon zero": ({"horizon": 0}, "horizon must be an integer >= 1.*got 0"),
    "horizon negative": ({"horizon": -2}, "horizon.*got -2"),
    "horizon a float": ({"horizon": 4.0}, "horizon.*got 4.0"),
    "horizon a bool": ({"horizon": True}, "horizon.*got True"),
    "horizon none": ({"horizon": None}, "horizon.*got None"),
    "states a list": ({"states": [[1.0]]}, "states must be a tensor, got list"),
    "goal a list": ({"goal": [[0.0] * 3] * 2}, "goal must be a tensor, got list"),
    "goal an array of another size": ({"goal": numpy.zeros((2, 4))}, r"goal must be \(2, 3\).*got \(2, 4\)"),
    "low a word": ({"low": "-1"}, "low must be a tensor, got str"),
    "low a bool": ({"low": False}, "low must be a tensor, got bool"),
    "low a number above high": ({"low": 2.0}, "low <= high"),
    "scale a number": ({"scale": 1.0}, "scale must be a tensor, got float"),
    "states without a batch": ({"states": toys.fixed(3, 3, seed=1)}, r"states must be \(b, h, s\).*got \(3, 3\)"),
    "states of another context": ({"states": toys.fixed(2, 2, 3, seed=1)}, r"h = 3 .*got \(2, 2, 3\)"),
    "no problems": ({"states": torch.zeros(0, 3, 3).double()}, r"no empty axis, got \(0, 3, 3\)"),
    "no latent": ({"states": torch.zeros(2, 3, 0).double()}, r"no empty axis, got \(2, 3, 0\)"),
    "states whole numbers": ({"states": torch.zeros(2, 3, 3, dtype=torch.int64)}, "floating point.*got torch.int64"),
    "states in half precision": (
        {"states": torch.zeros(2, 3, 3, dtype=torch.float16)},
        "floating point, torch.float32 or torch.float64, got torch.float16.*LowPrecision",
    ),
    "states in bfloat16": ({"states": torch.zeros(2, 3, 3, dtype=torch.bfloat16)}, "got torch.bfloat16"),
    "start and goal too far apart": (
        {
            "states": torch.full((2, 3, 3), -1.5e308, dtype=torch.float64),
            "goal": torch.full((2, 3), 1.5e308, dtype=torch.float64),
        },
        r"distance from start to goal must be finite.*problem\(s\) \[0, 1\].*scale=",
    ),
    "states complex": ({"states": torch.zeros(2, 3, 3, dtype=torch.complex64)}, "floating point.*got torch.complex64"),
    "past actions of another length": (
        {"past_actions": torch.zeros(2, 3, 2).double()},
        r"past_actions must be \(2, 2, 2\).*got \(2, 3, 2\)",
    ),
    "past actions of another size": (
        {"past_actions": torch.zeros(2, 2, 5).double()},
        r"past_actions must be \(2, 2, 2\).*got \(2, 2, 5\)",
    ),
    "goal of another size": ({"goal": torch.zeros(2, 4).double()}, r"goal must be \(2, 3\).*got \(2, 4\)"),
    "goal of another batch": ({"goal": torch.zeros(1, 3).double()}, r"goal must be \(2, 3\).*got \(1, 3\)"),
    "goal with a time axis": ({"goal": torch.zeros(2, 1, 3).double()}, r"goal must be \(2, 3\).*got \(2, 1, 3\)"),
    "low with a batch": ({"low": torch.zeros(2, 2).double()}, r"low must be \(a,\), got \(2, 2\)"),
    "no actions": ({"low": torch.zeros(0).double()}, r"low must be \(a,\), got \(0,\)"),
    "high of another size": ({"high": torch.ones(3).double()}, r"high must be \(2,\).*got \(3,\)"),
    "scale of another size": ({"scale": torch.ones(2).double()}, r"scale must be \(3,\).*got \(2,\)"),
    "goal of another dtype": ({"goal": torch.zeros(2, 3)}, "goal must be torch.float64 on cpu.*got torch.float32"),
    "low of another dtype": ({"low": -torch.ones(2)}, "low must be torch.float64.*got torch.float32"),
    "scale of another dtype": ({"scale": torch.ones(3)}, "scale must be torch.float64.*got torch.float32"),
    "goal on another device": ({"goal": torch.zeros(2, 3, device="meta").double()}, "goal must be.*on cpu.*on meta"),
    "start nan": ({"states": spoilt("states", (1, 2, 0), NAN)}, r"states must be finite.*problem\(s\) \[1\]"),
    "history infinite": ({"states": spoilt("states", (0, 0, 0), INF)}, r"states must be finite.*\[0\]"),
    "goal nan": ({"goal": spoilt("goal", (1, 1), NAN)}, r"goal must be finite.*\[1\]"),
    "past actions infinite": ({"past_actions": spoilt("past_actions", (1, 0, 0), -INF)}, "past_actions must be finite"),
    "bounds upside down": (
        {"low": torch.tensor([0.0, 2.0]).double()},
        r"low <= high.*got low \[0.0, 2.0\], high \[1.0",
    ),
    "low nan": ({"low": torch.tensor([0.0, NAN]).double()}, "low <= high"),
    "high nan": ({"high": torch.tensor([NAN, 1.0]).double()}, "low <= high"),
    "low plus infinity": (
        {"low": torch.tensor([0.0, INF]).double(), "high": torch.tensor([1.0, INF]).double()},
        "leave no action",
    ),
    "scale zero": (
        {"scale": torch.tensor([1.0, 0.0, 1.0]).double()},
        r"scale must be finite and > 0.*\[1.0, 0.0, 1.0\]",
    ),
    "scale negative": ({"scale": torch.tensor([1.0, -2.0, 1.0]).double()}, "scale must be finite and > 0"),
    "scale nan": ({"scale": torch.tensor([1.0, NAN, 1.0]).double()}, "scale must be finite and > 0"),
    "scale infinite": ({"scale": torch.tensor([1.0, INF, 1.0]).double()}, "scale must be finite and > 0"),
    "objective a number": ({"objective": 2.0}, "objective must have methods terminal.*stage.*got float"),
    "objective without stage": ({"objective": HalfAnObjective()}, "objective must have.*got HalfAnObjective"),
    "objective a class": ({"objective": GoalDistance}, "objective must have.*got"),
    "too few weights": ({"objective": GoalDistance(weights=(1.0, 1.0))}, r"weights must be \(3,\).*got \(2,\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(case):
    changes, message = BAD[case]
    with pytest.raises(GraspPlannerError, match=message) as caught:
        Problem(**{**GOOD, **changes})
    assert "\n" not in str(caught.value)


def test_the_good_input_is_good():
    Problem(**GOOD)


@pytest.mark.parametrize(
    ("start", "low", "message"),
    [
        (torch.zeros(3), torch.zeros(1), r"start must be \(b, s\), got \(3,\)"),
        (torch.zeros(1, 3), torch.zeros(1, 1), r"low must be \(a,\), got \(1, 1\)"),
        ([[0.0]], torch.zeros(1), "start must be a tensor, got list"),
        (torch.zeros(1, 3), "0", "low must be a tensor, got str"),
        (torch.zeros(1, 1, 3), torch.zeros(1), r"start must be \(b, s\), got \(1, 1, 3\)"),
    ],
)
def test_bad_input_to_between(start, low, message):
    with pytest.raises(GraspPlannerError, match=message):
        Problem.between(Markov(lambda s, a: s), start, torch.zeros(1, 3), 2, low, torch.ones(1))


def test_between_needs_a_model_of_context_one():
    with pytest.raises(GraspPlannerError, match="h = 3"):
        Problem.between(toys.Remembering(3), torch.zeros(1, 3), torch.zeros(1, 3), 2, -torch.ones(2), torch.ones(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": (1.0, -1.0)}, "weights"),
        ({"weights": (1.0, NAN)}, "weights"),
        ({"weights": (INF,)}, "weights"),
        ({"weights": torch.ones(2, 2)}, "weights"),
        ({"weights": 3.0}, "weights"),
        ({"weights": "heavy"}, "weights"),
        ({"weights": ("a", "b")}, "weights"),
        ({"weights": ()}, "weights"),
        ({"stage_weight": -1.0}, "stage_weight"),
        ({"stage_weight": NAN}, "stage_weight"),
        ({"stage_weight": INF}, "stage_weight"),
        ({"stage_weight": "much"}, "stage_weight"),
        ({"effort": -0.1}, "effort"),
        ({"effort": NAN}, "effort"),
        ({"effort": None}, "effort"),
    ],
)
def test_bad_objectives(settings, message):
    with pytest.raises(GraspPlannerError, match=f"GoalDistance.{message}"):
        GoalDistance(**settings)


def test_an_effort_on_infinite_actions_of_weight_zero_is_zero():
    """Zero times infinity is NaN, so without effort the stage cost does not read the actions."""
    nothing = torch.zeros(1, 2, dtype=torch.float64)
    cost = GoalDistance().stage(nothing, torch.full((1, 2), 1e200, dtype=torch.float64), nothing)
    assert cost == 0


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_objectives_reduce_the_last_axis_only(shape):
    objective = GoalDistance(weights=(1.0, 2.0, 3.0), stage_weight=0.5, effort=0.2)
    states, goal, actions = toys.fixed(*shape, 3, seed=1), toys.fixed(*shape, 3, seed=2), toys.fixed(*shape, 2, seed=3)
    assert objective.terminal(states, goal).shape == shape == objective.stage(states, actions, goal).shape
    expected = ((states - goal) ** 2 * torch.tensor([1.0, 2.0, 3.0])).sum(-1)
    torch.testing.assert_close(objective.terminal(states, goal), expected)
    torch.testing.assert_close(objective.stage(states, actions, goal), 0.5 * expected + 0.2 * (actions**2).sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_follow_the_dtype_of_the_states(dtype):
    for weights in ((1.0, 2.0, 3.0), torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)):
        cost = GoalDistance(weights=weights).terminal(torch.ones(2, 3, dtype=dtype), torch.zeros(2, 3, dtype=dtype))
        assert cost.dtype == dtype and cost.tolist() == [6.0, 6.0]


def test_arrays_and_numbers_are_taken_where_tensors_are():
    """Arrays become tensors like `states`. A number is the bound of every coordinate."""
    arrays = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in GOOD.items()}
    expected = Problem(**GOOD)
    for changes in (arrays, {**arrays, "low": float(GOOD["low"][0])}, {**GOOD, "goal": arrays["goal"].astype("f4")}):
        made = Problem(**changes)
        for name in ("states", "past_actions", "goal", "low", "high"):
            value, wanted = getattr(made, name), getattr(expected, name)
            assert value.dtype == wanted.dtype and value.shape == wanted.shape
            if name != "low" or isinstance(changes["low"], (torch.Tensor, numpy.ndarray)):
                torch.testing.assert_close(value, wanted, rtol=1e-6, atol=1e-6)
    assert Problem(**{**GOOD, "low": -7, "high": numpy.float32(7)}).low.tolist() == [-7.0, -7.0]


@pytest.mark.parametrize(
    ("low", "high", "size", "wanted"),
    [(-1.0, torch.ones(2), None, 2), (-torch.ones(2), 1, None, 2), (-1.0, 1.0, None, 1), (-1.0, 1.0, 3, 3)],
)
def test_numbers_as_bounds_of_between(low, high, size, wanted):
    model = Markov(lambda s, a: s + a.sum(-1, keepdim=True))
    made = Problem.between(model, numpy.zeros((1, 3), "f4"), torch.zeros(1, 3), 2, low, high, action_size=size)
    assert made.low.tolist() == [-1.0] * wanted and made.high.tolist() == [1.0] * wanted
    assert made.rollout(torch.ones(1, 2, wanted)).shape == (1, 2, 3)


def test_a_normalised_problem_is_the_same_problem_in_units_of_its_scale():
    scale = torch.tensor([0.5, 20.0, 3.0], dtype=torch.float64)
    for context in (1, 3):
        problem = toys.problem(2, 4, toys.Nonlinear() if context == 1 else toys.Remembering(context), scale=scale)
        normal, actions = problem.normalised(), toys.fixed(2, 4, 2, seed=3)
        states = torch.cat([problem.start[:, None], problem.rollout(actions)[:, :-1]], dim=1)
        for ours, theirs in (
            (normal.start * scale, problem.start),
            (normal.goal * scale, problem.goal),
            (normal.rollout(actions) * scale, problem.rollout(actions)),
            (normal.predict(states / scale, actions) * scale, problem.predict(states, actions)),
            (normal.repeat(2).rollout(actions.repeat_interleave(2, 0))[::2] * scale, problem.rollout(actions)),
            (normal.cost(normal.rollout(actions), actions), problem.cost(problem.rollout(actions), actions)),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        assert (problem.spent, normal.at(0.25).spent, normal.spent) == (0.0, 0.25, 0.0)
