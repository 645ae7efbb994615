"""The closed loop when an observation is missing, late or wrong, a plan fails, or a goal changes."""

from __future__ import annotations

import re

import numpy
import pytest
import torch
from driven import ENVIRONMENTS, Encoder, World, agent
from faults import Broken, Fault
from hypothesis import given, settings
from hypothesis import strategies as st

import grasp_planner.control.agent
from grasp_planner import (
    GD,
    GRASP,
    Budget,
    Constrained,
    GoalDistance,
    GraspPlannerError,
    Margin,
    MultiStart,
    Sequential,
    always,
)
from grasp_planner.control.current_plans import Source
from grasp_planner.core.plans import score
from grasp_planner.models import Cautious

P, C, F, IDLE = Source.PLANNED, Source.CONTINUED, Source.FALLBACK, Source.IDLE


@pytest.fixture
def asked(monkeypatch):
    """The problems, warm starts and random streams that the agent plans with."""
    seen, inner = [], grasp_planner.control.agent.run

    def watched(problem, planner, budget, **rest):
        seen.append((problem, rest["warm_start"], rest["seeds"]))
        return inner(problem, planner, budget, **rest)

    monkeypatch.setattr(grasp_planner.control.agent, "run", watched)
    return seen


def test_without_observations_it_follows_its_plan_to_the_end_and_then_does_nothing():
    one = agent(batch=None, execute=2)
    world = World(one)
    first = one.act({"state": world.state[0]}, {"state": world.goal["state"][0]})
    sources, taken = [], [first]
    for _ in range(6):
        taken.append(one.act(None))
        sources.append(one.report.source[0])
    assert sources == [C, F, F, IDLE, IDLE, IDLE]
    assert one.report.reason == ("there is no observation",) and not one.report.sound
    torch.testing.assert_close(torch.from_numpy(numpy.stack(taken[:4])), one.plan.actions[0, :, None])
    assert not numpy.stack(taken[4:]).any()
    one.act({"state": world.state[0]})
    assert one.report.source == (P,) and one.report.age == (0,) and "was missing" in one.report.reason[0]
    one.act({"state": world.state[0]})
    one.act({"state": world.state[0]})
    assert one.report.source == (P,) and one.report.sound


def test_a_late_observation_is_brought_up_to_date_by_what_was_done_since(asked):
    """The model is exact in this test, so planning starts from the true states of the world."""
    one = agent(batch=None)
    world = World(one)
    history = [world.state]
    for late in (0, 0, None, 1, 0, None, None, 2):
        observation = None if late is None else {"state": history[-1 - late][0]}
        block = one.act(observation, {"state": world.goal["state"][0]}, late=late or 0)
        assert one.report.source == ((F if late is None else P),)
        if late is not None:
            window = numpy.stack([history[max(0, len(history) - 2)][0], history[-1][0]])
            torch.testing.assert_close(asked[-1][0].states[0], torch.from_numpy(window), rtol=1e-8, atol=1e-8)
        world.step(block[None])
        history.append(world.state)


@pytest.mark.parametrize("late", [-1, 1, 9, 0.5, True])
def test_an_observation_from_before_the_beginning_is_refused(late):
    one = agent()
    world = World(one)
    with pytest.raises(GraspPlannerError, match="late must be a whole number from 0 to 0"):
        one.act(world.observation(), world.goal, late=late)


def test_a_gap_in_the_history_is_filled_with_the_planned_state(asked):
    one = agent()
    world = World(one)
    for seen in (True, True, False, True):
        world.step(one.act(world.observation() if seen else None, world.goal))
    window = asked[-1][0].states
    torch.testing.assert_close(window[:, 1], torch.from_numpy(world.before), rtol=0, atol=0)
    assert torch.isfinite(window[:, 0]).all() and one.report.source == (P,) * ENVIRONMENTS
    assert "was missing" in one.report.reason[0]
    world.step(one.act(world.observation(), world.goal))
    assert one.report.sound


BAD = {
    "another shape": (lambda seen: {"state": seen["state"][:, :2]}, r"must be \(3, 3\) like the first, got \(3, 2\)"),
    "another axis": (lambda seen: {"state": seen["state"][..., None]}, "like the first"),
    "one environment fewer": (lambda seen: {"state": seen["state"][:2]}, "must have 3 environments in front"),
    "a number": (lambda seen: {"state": 1.0}, "must have 3 environments in front"),
    "another key": (lambda seen: {"position": seen["state"]}, "lacks 'state', which the first one had"),
    "nothing in it": (lambda seen: {}, "must be a mapping of arrays, got dict"),
    "no mapping": (lambda seen: seen["state"], "must be a mapping of arrays, got ndarray"),
    "words": (lambda seen: {"state": numpy.array(["a", "b", "c"])}, "must be an array of numbers"),
    "objects": (lambda seen: {"state": numpy.array([None] * 3)}, "must be an array of numbers"),
    "ragged": (lambda seen: {"state": [[1.0], [1.0, 2.0], [1.0]]}, "must be an array of numbers"),
    "NaN": (lambda seen: {"state": seen["state"] * numpy.nan}, "NaN or infinity"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_observation_that_cannot_be_used(kind):
    spoil, message = BAD[kind]
    one, undisturbed = agent(), agent()
    world = World(one)
    first = one.act(world.observation(), world.goal)
    undisturbed.act(world.observation(), world.goal)
    world.step(first)
    found = one.act(spoil(world.observation()), world.goal)
    assert one.report.source == (F,) * ENVIRONMENTS and all(reason for reason in one.report.reason)
    assert re.search(message, one.report.reason[0]), one.report.reason[0]
    assert numpy.array_equal(found, undisturbed.act(None)), "the rest of the last good plan"
    world.step(found)
    one.act(world.observation(), world.goal)
    assert one.report.source == (P,) * ENVIRONMENTS


def test_without_a_plan_to_follow_the_first_call_says_what_is_wrong():
    world = World(agent())
    with pytest.raises(GraspPlannerError, match="no observation"):
        agent().act(None, world.goal)
    with pytest.raises(GraspPlannerError, match="no goal yet"):
        agent().act(world.observation())
    with pytest.raises(GraspPlannerError, match="NaN or infinity"):
        agent().act({"state": world.state * numpy.nan}, world.goal)
    with pytest.raises(GraspPlannerError, match="goal encodes to NaN"):
        agent().act(world.observation(), {"state": world.state * numpy.inf})


def test_calls_before_the_first_plan_that_fail_leave_the_state_unchanged():
    one, other = agent(), agent()
    world = World(one)
    for _ in range(3):
        with pytest.raises(GraspPlannerError):
            one.act({"state": world.state * numpy.nan}, world.goal)
    assert numpy.array_equal(one.act(world.observation(), world.goal), other.act(world.observation(), world.goal))


def test_a_call_that_raised_left_the_state_unchanged(asked):
    """The error is the encoder's. The history that the next plan starts from has no trace of the call."""
    fault = Fault("exception", "encode", "whole batch", "once", 1)
    one = agent(fault)
    world = World(one)
    world.step(one.act(world.observation(), world.goal))
    fault.step = 1
    with pytest.raises(Broken):
        one.act(world.observation(), world.goal)
    one.act(world.observation(), world.goal)
    expected = torch.from_numpy(numpy.stack([world.before, world.state], axis=1))
    torch.testing.assert_close(asked[-1][0].states, expected, rtol=0, atol=0)


def test_a_call_with_a_new_goal_and_a_late_observation_that_raised_left_the_state_unchanged():
    """Everything that a call changes before the model fails: the goal, the plans, and a moment of the past."""
    fault = Fault("exception", "encode", "whole batch", "once", 1)
    one, undisturbed = agent(fault, execute=3), agent(execute=3)
    world = World(one)
    for _ in range(2):
        block = one.act(world.observation(), world.goal)
        assert numpy.array_equal(block, undisturbed.act(world.observation(), world.goal))
        world.step(block)
    report, plan, diagnosis = one.report, one.plan, one.diagnosis
    fault.step = 1
    with pytest.raises(Broken):
        one.act({"state": world.before + 1.0}, {"state": world.goal["state"] + 1.0}, late=1)
    assert one.report is report and one.plan is plan and one.diagnosis is diagnosis
    for _ in range(3):
        block = one.act(world.observation(), world.goal)
        assert numpy.array_equal(block, undisturbed.act(world.observation(), world.goal))
        assert one.report == undisturbed.report and one.report.sound
        world.step(block)


def test_a_changed_goal_is_planned_for_at_once_and_without_a_warm_start(asked):
    one = agent(execute=4)
    world = World(one)
    world.step(one.act(world.observation(), world.goal))
    moved = world.goal["state"].copy()
    moved[1] += 1.0
    one.act(world.observation(), {"state": moved})
    assert one.report.source == (C, P, C) and one.report.sound
    problem, warm_start, _ = asked[-1]
    assert warm_start is None and problem.batch == 1
    torch.testing.assert_close(problem.goal, torch.from_numpy(moved[1:2]))
    one.act(world.observation(), {"state": moved.copy()})
    assert one.report.source == (C, C, C) and len(asked) == 2, "the same goal in another array"


def test_a_goal_that_cannot_be_used_is_ignored_and_reported():
    one = agent()
    world = World(one)
    for goal in (world.goal, {"state": world.state * numpy.nan}, {"other": world.state}, {"state": world.state[:, :1]}):
        world.step(one.act(world.observation(), goal))
        assert one.report.source == (P,) * ENVIRONMENTS
        assert one.report.sound == (goal is world.goal)
    assert torch.equal(one._state.goals.latents, torch.from_numpy(world.goal["state"]))


@pytest.mark.parametrize("batch", [None, ENVIRONMENTS])
def test_a_wrongly_shaped_first_observation_fixes_nothing(batch):
    """The call raises, and the calls that follow are those of an agent that never saw the observation."""
    one, undisturbed = agent(batch=batch), agent(batch=batch)
    world = World(one)
    rows = slice(None) if batch else 0
    state, goal = world.state[rows], world.goal["state"][rows]
    wrong = (state[..., :2], state[..., None], numpy.stack([state, state], axis=-2))
    for spoiled in ({"state": part} for part in wrong):
        for spoiled_goal in (None, {"state": goal + 1.0}):
            before = one._state
            with pytest.raises((GraspPlannerError, RuntimeError)):
                one.act(spoiled, spoiled_goal)
            assert one._state is before
    extra = {"state": state, "clock": numpy.zeros(batch or 1)[rows]}
    with pytest.raises(GraspPlannerError, match="no goal yet"):
        one.act(extra)
    assert numpy.array_equal(
        one.act({"state": state}, {"state": goal}), undisturbed.act({"state": state}, {"state": goal})
    )
    assert one.report.sound


@pytest.mark.parametrize("kind", ["exception", "interrupt"])
def test_a_call_that_raises_leaves_everything_as_it_was(kind, figure):
    """Whichever call of the model raises: that of a new goal, of the observation, or any of those of planning."""

    class Raising(Encoder):
        calls, raises_at = 0, -1

        def count(self):
            self.calls += 1
            if self.calls - 1 == self.raises_at:
                raise Broken if kind == "exception" else KeyboardInterrupt

        def __call__(self, states, actions):
            self.count()
            return super().__call__(states, actions)

        def encode(self, observations):
            self.count()
            return super().encode(observations)

    one = agent(planner=GD(), execute=2)
    one.model = Raising()
    world = World(one)
    world.step(one.act(world.observation(), world.goal))
    raised, at = 0, 0
    while True:
        before, one.model.calls, one.model.raises_at = one._state, 0, at
        try:
            one.act(world.observation(), {"state": world.goal["state"] + 1.0})
        except (Broken, KeyboardInterrupt):
            assert one._state is before and one.plan is before.plan
            assert torch.equal(one._state.goals.latents, torch.from_numpy(world.goal["state"]))
            raised += 1
        else:
            one._state = before
            if one.model.calls <= at:
                break
        at += 1
    assert raised >= 2
    figure("calls of an agent that raised", raised)


@pytest.mark.parametrize("batch", [None, ENVIRONMENTS])
def test_a_goal_may_be_a_tensor_of_latents(batch):
    one, other = agent(batch=batch), agent(batch=batch)
    world = World(one)
    rows = slice(None) if batch else 0
    latents = torch.from_numpy(world.goal["state"][rows])
    for _ in range(3):
        observation = {"state": world.state[rows]}
        found = one.act(observation, latents)
        assert numpy.array_equal(found, other.act(observation, {"state": world.goal["state"][rows]}))
        assert one.report == other.report and one.report.sound
        world.step(found if batch else found[None])
    before = one.plan
    one.act({"state": world.state[rows]}, latents.float()[None] if batch is None else latents[0].clone())
    assert one.report.sound and one.plan is not before, "(1, s), and one goal for all environments"
    one.act({"state": world.state[rows]}, latents[..., :2])
    assert "goal must be latents" in one.report.reason[0] and "(3,), got (" in one.report.reason[0]
    one.act({"state": world.state[rows]}, latents * torch.nan)
    assert "goal encodes to NaN" in one.report.reason[0]


class Seeing(Encoder):
    """Reads a picture and proprioception, of which the goal weights leave out the latter."""

    def __init__(self, weights=(1.0, 1.0, 0.0)) -> None:
        super().__init__()
        self.goal_weights = torch.tensor(weights, dtype=torch.float64)

    def encode(self, observations):
        for key in ("pixels", "proprio"):
            if key not in observations:
                raise GraspPlannerError(f"encode needs observations[{key!r}], got the keys {sorted(observations)}")
        return torch.cat([observations["pixels"], observations["proprio"]], dim=-1).double()


def seen(state):
    return {"pixels": state[..., :2], "proprio": state[..., 2:], "not read": numpy.zeros(len(state))}


def test_a_goal_may_lack_what_does_not_count_towards_it():
    one, other = agent(), agent()
    one.model, other.model = Seeing(), Seeing()
    world = World(one)
    whole = {"pixels": world.goal["state"][:, :2], "proprio": world.goal["state"][:, 2:]}
    for _ in range(2):
        found = one.act(seen(world.state), {"pixels": whole["pixels"]})
        assert one.report.sound
        numpy.testing.assert_allclose(found, other.act(seen(world.state), whole), rtol=1e-12, atol=1e-12)
        world.step(found)
    one.act(None, {"pixels": whole["pixels"] + 1.0})
    assert one.report.reason == ("there is no observation",) * ENVIRONMENTS


def test_a_goal_that_lacks_what_counts_towards_it_is_answered_with_what_it_lacks():
    for model, objective in ((Seeing((1.0, 1.0, 0.1)), None), (Seeing(), GoalDistance())):
        one = agent(objective=objective)
        one.model = model
        world = World(one)
        with pytest.raises(GraspPlannerError, match=r"goal lacks \['not read', 'proprio'\], which the cost depends on"):
            one.act(seen(world.state), {"pixels": world.goal["state"][:, :2]})
    with pytest.raises(GraspPlannerError, match=r"the goal cannot be encoded: encode needs goal\['pixels'\]"):
        one.act({"proprio": world.state[:, 2:]}, {"proprio": world.state[:, 2:]})


def test_with_another_objective_a_goal_may_lack_what_the_model_does_not_read():
    one = agent(objective=Cautious(GoalDistance(), weight=0.0))
    one.model = Seeing()
    world = World(one)
    whole = {"pixels": world.goal["state"][:, :2], "proprio": world.goal["state"][:, 2:]}
    with pytest.raises(GraspPlannerError, match=r"goal lacks \['not read', 'proprio'\]"):
        one.act(seen(world.state), {"pixels": whole["pixels"]})
    one.act(seen(world.state), whole)
    assert one.report.sound


@pytest.mark.parametrize(
    "seeds", [5, numpy.int64(5), numpy.uint8(5), numpy.array([5] * 3), torch.tensor(5), [numpy.int32(5)] * 3]
)
def test_seeds_and_settings_may_be_integers_of_numpy(seeds):
    one, other = agent(), agent(seeds=seeds, execute=numpy.int64(1), batch=numpy.int32(3), horizon=numpy.int16(4))
    world = World(one)
    for _ in range(2):
        found = one.act(world.observation(), world.goal)
        assert numpy.array_equal(found, other.act(world.observation(), world.goal))
        world.step(found)


WRONG = {
    "execute": (0, -1, 5, 1.0, True, "1", None, numpy.float64(1), [1], torch.tensor(1.0)),
    "batch": (0, -1, 1.5, True, "3", numpy.nan, [3], (3,)),
    "horizon": (0, -1, 4.0, True, "4", None, numpy.float32(4), [4]),
    "seeds": (0.5, "5", "567", [0.5] * 3, object(), {}, [None] * 3, numpy.ones(3), torch.ones(3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_of_a_wrong_type_get_one_clear_error(name):
    for value in WRONG[name]:
        with pytest.raises(GraspPlannerError, match=f"^{name}.* (integer|integers).*got"):
            agent(**{name: value})


def test_autocast_of_the_caller_does_not_change_what_is_encoded_and_planned():
    class Casting(Encoder):
        def encode(self, observations):
            return (observations["state"].float() @ torch.eye(3)).double()

    one, other = agent(), agent()
    one.model, other.model = Casting(), Casting()
    world = World(one)
    found = one.act(world.observation(), world.goal)
    with torch.autocast("cpu", torch.bfloat16):
        assert numpy.array_equal(found, other.act(world.observation(), world.goal))


def test_after_a_plan_that_failed_the_next_plan_has_no_warm_start(asked):
    """The model predicts NaN for one environment in one plan, so the environment follows the rest of its last plan."""

    class Failing(Encoder):
        broken = False

        def __call__(self, states, actions):
            out = super().__call__(states, actions)
            # The fault is in the model's first call, for all environments. The model is not evaluated again for failed
            # problems.
            if self.broken and len(out) == ENVIRONMENTS:
                out[1] = torch.nan
            return out

    one = agent()
    one.model = Failing()
    world = World(one)
    world.step(one.act(world.observation(), world.goal))
    rest = one.plan.actions[1, 1]
    one.model.broken = True
    found = one.act(world.observation(), world.goal)
    assert one.report.source == (P, F, P) and "no plan of finite cost" in one.report.reason[1]
    torch.testing.assert_close(torch.from_numpy(found[1, 0]), rest)
    one.model.broken = False
    world.step(found)
    one.act(world.observation(), world.goal)
    assert one.report.source == (P, P, P) and one.report.sound
    warm = asked[-1][1].actions
    assert not warm[1].any() and warm[0].any() and warm[2].any()


@pytest.mark.parametrize("seeds", [[5, 6, 7], [0, 1, 2], [-1, 0, 2**62]])
def test_no_two_plans_of_an_agent_share_a_random_stream(asked, seeds):
    """This holds for plans of one environment, and for plans of environments with consecutive seeds."""
    one = agent(seeds=seeds)
    world = World(one)
    for _ in range(6):
        world.step(one.act(world.observation(), world.goal))
    streams = torch.cat([noise.seeds for _, _, noise in asked]).tolist()
    assert len(streams) == 6 * ENVIRONMENTS == len(set(streams))
    drawn = torch.cat([noise.normal((4,), torch.float64) for _, _, noise in asked])
    assert len(drawn.unique()) == drawn.numel()


def test_a_plan_draws_the_same_noise_whichever_other_environments_are_planned_for(asked):
    """A stream is a function of the environment's seed and of how often the environment was planned for."""
    batch = agent(seeds=[5, 6, 7])
    world = World(batch)
    batch.act(world.observation(), world.goal)
    moved = {"state": world.goal["state"] + numpy.array([[0.0], [1.0], [0.0]])}
    batch.act({"state": numpy.where([[True], [False], [True]], numpy.nan, world.state)}, moved)
    only = asked[-1][2].seeds
    alone = agent(seeds=6, batch=None)
    for _ in range(2):
        alone.act({"state": world.state[1]}, {"state": world.goal["state"][1]})
    assert only.tolist() == asked[-1][2].seeds.tolist() and len(only) == 1


class Guess:
    """A planner with only the three methods of the interface."""

    def init(self, problem, actions, noise):
        return actions

    def step(self, problem, state, noise):
        found = score(problem, problem.clamp(state + noise.normal(tuple(state.shape[1:]), state.dtype)))
        return found.actions, found

    def actions(self, state):
        return state


@pytest.mark.parametrize(
    "planner",
    [Guess(), MultiStart(Guess(), starts=3), Sequential(MultiStart(GRASP(sync_every=2)), Guess()), GRASP(sync=Guess())],
    ids=["three methods", "multi_start", "sequential", "sync"],
)
def test_any_planner_drives_an_agent(planner):
    """The planned actions are executed, and in each call some plan is better than no action."""
    one = agent(planner=planner, budget=Budget(steps=6))
    world = World(one)
    for _ in range(3):
        world.step(one.act(world.observation(), world.goal))
        assert one.report.source == (P,) * ENVIRONMENTS and one.report.sound
        assert one.plan.actions.any()


def test_a_wrong_number_of_seeds_is_refused():
    with pytest.raises(GraspPlannerError, match=r"seeds: needed one integer .* or 3 .*, got 2"):
        agent(seeds=[1, 2])


def test_an_environment_may_overwrite_its_observation(asked):
    one, buffer = agent(), None
    world = World(one)
    buffer = world.state.copy()
    one.act({"state": buffer}, world.goal)
    buffer += 100.0
    world.step(one.act(world.observation(), world.goal))
    assert asked[-1][0].states.abs().max() < 50


@settings(max_examples=5)
@given(data=st.data())
def test_environments_of_a_batch_do_not_influence_each_other(data, figure):
    """Each environment alone acts as in the batch, with any faults of observations and goals."""
    figure("random cases")
    execute = data.draw(st.integers(1, 3))
    batch = agent(execute=execute, planner=GD(), seeds=[5, 6, 7], budget=Budget(steps=1))
    alone = [
        agent(execute=execute, planner=GD(), seeds=5 + i, batch=None, budget=Budget(steps=1))
        for i in range(ENVIRONMENTS)
    ]
    world = World(batch)
    for call in range(4):
        state, goal = world.state.copy(), world.goal["state"].copy()
        if call:
            state[data.draw(st.lists(st.integers(0, 2), max_size=2), label="NaN")] = numpy.nan
            goal[data.draw(st.lists(st.integers(0, 2), max_size=1), label="moved")] += 0.5 * call
        found = batch.act({"state": state}, {"state": goal})
        for i, one in enumerate(alone):
            mine = one.act({"state": state[i]}, {"state": goal[i]})
            assert one.report.source[0] == batch.report.source[i] and one.report.reason[0] == batch.report.reason[i]
            numpy.testing.assert_allclose(mine, found[i], rtol=1e-8, atol=1e-8)
        world.step(found)


def test_it_reports_and_executes_a_plan_that_violates_the_constraint():
    """The first environment starts beyond the limit, and the others start within it."""
    limit = always(Margin(lambda states, actions: 1.0 - states[..., 0]))
    one = agent(objective=Constrained(GoalDistance(), limit))
    starts = {"state": numpy.array([[2.0, 0.0, 0.0], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])}
    taken = one.act(starts, {"state": numpy.zeros((3, 3))})
    assert one.report.reason == ("the plan violates the constraint (VIOLATED)", "", "")
    assert one.report.source == (P, P, P)
    torch.testing.assert_close(torch.from_numpy(taken), one.plan.actions[:, :1])
