"""Why episodes failed: the search, or the model; and by how much the goal was missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_records import all_records, episode_records, in_model, shown_records

from grasp_planner.bench.analysing.failures import explanation, judged_distances, outcome_of
from grasp_planner.bench.analysing.result_tables import failure_table, tables
from grasp_planner.bench.records import PlannedMoments, ShownRecord
from grasp_planner.bench.tasks import TASKS
from grasp_planner.domains.domain import Domain
from grasp_planner.domains.registry import DOMAINS

MISSED = "The position is 113 px from the goal, and a success needs less than 20 px."


def test_failures_are_counted_by_their_cause() -> None:
    # All plans of episodes 0 to 6 reach the goal under the model. GRASP fails in episodes 6 and 7.
    (table,) = [table for table in tables(all_records()) if table.name == "failures"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["GRASP, model wrong"] == rows["GRASP, search failed"] == ("1 of 2", "1 of 2")
    assert rows["CEM, model wrong"][0] == "6 of 7" and rows["CEM, search failed"][0] == "1 of 7"
    solved = [replace(one, success=True) for one in episode_records()]
    assert {cell for row in failure_table(solved).rows for cell in row[1:]} == {"no failure"}


def test_models_that_do_not_decode_states_are_no_columns_of_the_table() -> None:
    undecoded = [replace(one, success_model=None) for one in episode_records()]
    assert not failure_table(undecoded).rows
    both = failure_table([*episode_records(), *(in_model(one, "pusht-pixels") for one in undecoded)])
    assert len(both.columns) == 3 and not any("pixels" in column for column in both.columns)


def test_episodes_that_succeed_although_the_model_predicts_a_failure_are_not_failures() -> None:
    lucky = [replace(one, success=True, success_model=False) for one in episode_records()]
    assert {cell for row in failure_table(lucky).rows for cell in row[1:]} == {"no failure"}
    assert outcome_of(replace(shown_records()[1], success=True)) == "solved"


def test_a_failed_episode_says_what_it_missed_and_why() -> None:
    cem, gd, grasp = shown_records()
    assert [outcome_of(one) for one in (cem, gd, grasp)] == ["model wrong", "search failed", "solved"]
    assert explanation(cem) == f"{MISSED} Under the model, the plan reaches the goal (position 0 px and angle 0°)."
    assert explanation(gd) == (
        f"{MISSED} Under the model, the plan does not reach the goal either (position 113 px and angle 0°)."
    )
    assert explanation(grasp) == (
        "The position is 0 px from the goal, and a success needs less than 20 px. "
        "The angle is 0° from the goal, and a success needs less than 20°."
    )


def with_end(record: ShownRecord, end: np.ndarray) -> ShownRecord:
    """Return the record with another last state of the last plan's rollout."""
    assert record.recording is not None
    rollouts = [*record.recording.rollouts[:-1], [*record.recording.rollouts[-1][:-1], end.tolist()]]
    return replace(record, recording=replace(record.recording, rollouts=rollouts))


def test_the_cause_depends_on_the_last_state_of_the_last_plan_by_the_success_rule() -> None:
    cem, _, _ = shown_records()
    goal = np.array(cem.goal)
    near, far, turned = goal + [0, 0, 19.9, 0, 0, 0, 0], goal + [0, 0, 20.1, 0, 0, 0, 0], goal + [0, 0, 0, 0, 0.4, 0, 0]
    assert [outcome_of(with_end(cem, end)) for end in (near, far, turned)] == [
        *("model wrong", "search failed", "search failed")
    ]
    assert "does not reach the goal either (position 0 px and angle 22.9°)" in explanation(with_end(cem, turned))


def test_distances_of_simulator_and_model_are_compared_with_the_limits() -> None:
    cem, gd, _ = shown_records()
    position, angle = judged_distances(replace(cem, distances={"position_px": 1234.5, "angle_deg": 20.0, "other": 9.0}))
    assert (position.name, position.limit, angle.limit) == ("position_px", 20.0, pytest.approx(20.0))
    assert position.missed(position.simulator) and not position.missed(position.model)
    assert position.text(position.simulator) == "1,234 px" and angle.text(angle.simulator) == "20°"
    (position, _) = judged_distances(gd)
    assert position.model == pytest.approx(position.simulator)


def test_what_is_not_known_is_not_guessed() -> None:
    cem, gd, grasp = shown_records()
    undecoded = replace(cem, recording=None)
    assert outcome_of(undecoded) == "failed" and {one.model for one in judged_distances(undecoded)} == {None}
    assert explanation(undecoded).startswith(f"{MISSED} Whether the search failed or the model was wrong is not known")
    assert outcome_of(replace(grasp, recording=None)) == "solved"
    elsewhere = replace(cem, work=replace(cem.work, task="mine/dset/v1"))
    assert not judged_distances(elsewhere) and explanation(elsewhere).endswith("no task is called mine/dset/v1.")
    lost = replace(gd, distances={"position_px": None, "angle_deg": 0.0})
    assert explanation(lost).startswith("The position is not finite. Under the model,")
    older = replace(gd, distances={"block_px": 80.0})
    assert not judged_distances(older) and explanation(older) == (
        "Under the model, the plan does not reach the goal either."
    )


def test_episodes_of_other_worlds_and_variants_are_explained_too() -> None:
    record = ShownRecord(
        work=replace(shown_records()[0].work, task="ball_nav_hook_300/random_state/v1"),
        episode=0,
        success=False,
        distances={"position_m": 2.5},
        env="BallNav-v1",
        frameskip=1,
        executed=[[0.0, 0.0], [0.5, 0.0]],
        goal=[3.0, 0.0],
        recording=PlannedMoments((0,), [[[2.6, 0.0]]], None, (1.0,)),
    )
    assert record.work.task in TASKS and outcome_of(record) == "model wrong"
    assert explanation(record) == (
        "The position is 2.5 m from the goal, and a success needs less than 0.5 m. "
        "Under the model, the plan reaches the goal (position 0.4 m)."
    )


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_the_tolerances_of_a_world_are_its_success_rule(domain: Domain) -> None:
    rng = np.random.default_rng(0)
    goal = rng.uniform(0, 1, {"push_t": 7, "point_maze": 4}.get(domain.name, 2))
    spread = np.full(len(goal), max(domain.tolerances.values()) / 2)
    spread[4:] = 0.3  # rad
    states = goal + spread * rng.standard_normal((400, len(goal)))
    distances = domain.distances(states, goal)
    within = np.all([distances[name] < limit for name, limit in domain.tolerances.items()], axis=0)
    np.testing.assert_array_equal(domain.success(states, goal), within)
    assert 0.1 < within.mean() < 0.9
