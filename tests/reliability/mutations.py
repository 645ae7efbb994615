"""Disable guards, one at a time, and show that a test fails without each.

    python tests/reliability/mutations.py [part of a guard's name]

A guard is a place in a named function of the source. The source is copied, the guard is disabled in the copy, and the
guard's test is run against the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from surgery import ROOT, SOURCE, Assignment, Call, Change, Condition, operated


class Guard(NamedTuple):
    """A guard, how to disable it, and the test that fails without it.

    Args:
        name: what the guard ensures.
        function: qualified name of the function that holds the guard.
        disabled: the change to that function that disables the guard.
        test: file of the test.
        only: which tests of the file, as pytest's ``-k`` takes it.
    """

    name: str
    function: str
    disabled: Change
    test: str
    only: str


MATRIX = "tests/reliability/test_fault_matrix.py"
GUARDED = "tests/reliability/test_guards.py"
AGENT = "tests/reliability/test_agent.py"
FILES = "tests/reliability/test_untrusted_files.py"
SAVING = "tests/contract/test_saving.py"
PICKLES = "tests/models/test_pickles.py"
GRASP = "tests/planners/test_grasp.py"
LIFTED = "tests/planners/test_lifted.py"
SYNC = "tests/planners/test_grasp_sync.py"
MPPI = "tests/planners/test_mppi.py"
TRACE = "tests/contract/test_bounds_and_best.py"
ATOMIC = "tests/io/test_atomic.py"
RESUME = "tests/training/test_training_resume.py"
SECOND_ORDER = "tests/planners/test_gauss_newton.py"
STARTS = "tests/planning/test_multi_start.py"

GUARDS = (
    Guard(
        "an objective's answer has the right shape",
        "costs_of",
        Condition("and must return"),
        MATRIX,
        "objective and wrong and cem",
    ),
    Guard(
        "a model's answer has the right shape",
        "Problem.call",
        Condition("and must return"),
        MATRIX,
        "forward and wrong and cem",
    ),
    Guard(
        "a gradient whose square overflows is a fault",
        "with_faults",
        Call("addcmul", "torch.where(torch.isfinite({0}), {0}, torch.nan)"),
        GUARDED,
        "marked_in_the_step and overflow",
    ),
    Guard(
        "a gradient that is not finite is a fault",
        "with_faults",
        Call("addcmul", "torch.nan_to_num({0})"),
        MATRIX,
        "gradient and inf and gd",
    ),
    Guard(
        "a candidate of infinite cost is never the best",
        "finite_costs",
        Call("where", "{1}"),
        MATRIX,
        "objective and inf and candidate and cem",
    ),
    Guard(
        "the leading candidate is one without a fault",
        "leading",
        Call("where", "{1}"),
        GUARDED,
        "leading_candidate",
    ),
    Guard(
        "only a finite cost is better",
        "better",
        Assignment("mask", "second.cost < first.cost"),
        MATRIX,
        "objective and inf and problem",
    ),
    Guard(
        "a cost that is not finite marks its problem",
        "_Search.take",
        Assignment("faulty |="),
        MATRIX,
        "forward and NaN and problem",
    ),
    Guard(
        "an action that is not finite marks its problem",
        "_Search.take",
        Assignment("faulty", "torch.zeros_like(running)"),
        GUARDED,
        "marked_in_the_step",
    ),
    Guard(
        "no model call starts after the deadline",
        "Meter.check_deadline",
        Condition("deadline"),
        MATRIX,
        "forward and slow and cem",
    ),
    Guard(
        "planning goes on after a call ran out of memory",
        "within_memory",
        Condition("is_out_of_memory", True),
        MATRIX,
        "memory and batch and cem",
    ),
    Guard(
        "an attempt that failed is not counted",
        "within_memory",
        Assignment("meter.calls"),
        MATRIX,
        "forward and memory and batch and cem",
    ),
    Guard(
        "a call of the agent that raised leaves its state unchanged",
        "Agent.act",
        Assignment("self._state"),
        AGENT,
        "state_unchanged",
    ),
    Guard(
        "the rest of an older plan is not a warm start after a plan that failed",
        "Agent._replan",
        Call("not_reusable", "{self}"),
        AGENT,
        "after_a_plan_that_failed",
    ),
    Guard(
        "a changed goal drops the plan",
        "Agent._change_goal",
        Call("dropped", "{self}"),
        AGENT,
        "changed_goal",
    ),
    Guard(
        "an agent keeps copies of observations",
        "frame_of",
        Call("clone", "{self}"),
        AGENT,
        "overwrite_its_observation",
    ),
    Guard(
        "a plan that is at its end is not followed",
        "CurrentPlans.current",
        Call("where", "{1}"),
        AGENT,
        "follows_its_plan_to_the_end",
    ),
    Guard(
        "a missing observation is replaced by the planned state",
        "History.states",
        Assignment("states[place]"),
        MATRIX,
        "encode and NaN and time",
    ),
    Guard(
        "an archive is not compressed",
        "check_archive",
        Condition("is compressed"),
        FILES,
        "zip_bombs",
    ),
    Guard(
        "the nesting of a pickle is limited",
        "check_pickle",
        Condition("MOST_NESTED"),
        FILES,
        "exhaust and nested",
    ),
    Guard(
        "a pickle names only known modules",
        "_Names.resolve",
        Condition("stand_ins", True),
        PICKLES,
        "nothing_in_a_file_is_run",
    ),
    Guard(
        "links in a data set are not followed",
        "each_episode",
        Call("_check_tree"),
        FILES,
        "lead_elsewhere and link",
    ),
    Guard(
        "an index does not lead out of its folder",
        "stored",
        Condition("leads out of the folder"),
        FILES,
        "leads_out_of_its_folder",
    ),
    Guard(
        "a configuration does not ask for more than its weights hold",
        "load_model",
        Condition("largest"),
        FILES,
        "asks_for_more and octaves",
    ),
    Guard(
        "an unknown version is refused",
        "_load",
        Condition("VERSION"),
        SAVING,
        "unknown_version",
    ),
    Guard(
        "a checksum is compared",
        "_load",
        Condition("_digest"),
        SAVING,
        "something_else or damaged",
    ),
    Guard(
        "GRASP.stop_gradient=True stops gradients to state inputs",
        "lifted_loss",
        Condition("stop_gradient", False),
        GRASP,
        "gradients_to_state_inputs",
    ),
    Guard(
        "GRASP.stop_gradient=False lets gradients flow to state inputs",
        "lifted_loss",
        Condition("stop_gradient", True),
        GRASP,
        "without_the_stop",
    ),
    Guard(
        "GRASP.stop_gradient=False does not use the formulas of stopped gradients",
        "lifted_gradients",
        Condition("stop_gradient", False),
        GRASP,
        "without_the_stop",
    ),
    Guard(
        "a lifted loss that is not finite spoils the gradients of its problem",
        "lifted_gradients",
        Call("with_faults", "{0}"),
        LIFTED,
        "spoils_its_problem",
    ),
    Guard(
        "GRASP.reset_states=True moves the states to the rollout",
        "GRASP.end_of_sync",
        Condition("reset_states", False),
        SYNC,
        "resetting_states",
    ),
    Guard(
        "GRASP.reset_states=False leaves the states",
        "GRASP.end_of_sync",
        Condition("reset_states", True),
        SYNC,
        "resetting_states",
    ),
    Guard(
        "GRASP.reset_moments=True resets the moments",
        "GRASP.end_of_sync",
        Condition("reset_moments", False),
        SYNC,
        "resetting_moments",
    ),
    Guard(
        "GRASP.reset_moments=False keeps the moments",
        "GRASP.end_of_sync",
        Condition("reset_moments", True),
        SYNC,
        "resetting_moments",
    ),
    Guard(
        "GRASP.goal_schedule lowers the goal weight",
        "GRASP.lifted_step",
        Assignment("gamma", "self.goal_weight, self.state_noise * left[self.noise_schedule]"),
        SYNC,
        "schedules_fall",
    ),
    Guard(
        "GRASP.noise_schedule lowers the noise",
        "GRASP.lifted_step",
        Assignment("gamma", "self.goal_weight * left[self.goal_schedule], self.state_noise"),
        SYNC,
        "schedules_fall",
    ),
    Guard(
        "a constant schedule does not fall",
        "GRASP.lifted_step",
        Assignment("left", "dict.fromkeys(('constant', 'linear'), 1.0 - state.phase / self.sync_every)"),
        GRASP,
        "papers_update or torch_adam",
    ),
    Guard(
        "GRASP.gap_std sets the deviation of the sync",
        "GRASP.sync_step",
        Call("with_gap_std", "{2}"),
        SYNC,
        "gap_std_is",
    ),
    Guard(
        "MPPI.refit_std=True refits the deviation",
        "MPPI.step",
        Condition("refit_std", False),
        MPPI,
        "equals_numpy",
    ),
    Guard(
        "MPPI.refit_std=False keeps the deviation",
        "MPPI.step",
        Condition("refit_std", True),
        MPPI,
        "equals_numpy",
    ),
    Guard(
        "MPPI.min_std limits the deviation from below",
        "MPPI.step",
        Call("clamp", "{self}"),
        MPPI,
        "equals_numpy",
    ),
    Guard(
        "a snapshot tells its time",
        "Recorder.add",
        Call("Snapshot", "Snapshot({0}, -{1}, {2}, {3}, {4})"),
        TRACE,
        "one_story",
    ),
    Guard(
        "the last snapshot tells its time",
        "Recorder.trace",
        Call("Snapshot", "Snapshot({0}, -{1}, {2}, {3}, {4})"),
        TRACE,
        "one_story",
    ),
    Guard(
        "temporary folders of living processes are kept",
        "remove_abandoned",
        Call("lock_file"),
        ATOMIC,
        "only_what_dead",
    ),
    Guard(
        "a device is not replaced by a file",
        "_check_replaceable",
        Condition("is_file"),
        ATOMIC,
        "device",
    ),
    Guard(
        "a training that is stopped saves a checkpoint",
        "train",
        Assignment("stopped", "False"),
        RESUME,
        "ctrl_c_saves",
    ),
    Guard(
        "actions that are free make up for a Gauss-Newton step beyond the bounds",
        "damped_step",
        Call("within_bounds", "{0}(torch.zeros_like({1}, dtype=torch.bool), torch.zeros_like({1}))"),
        SECOND_ORDER,
        "on_a_bound",
    ),
    Guard(
        "matrices of a linearisation beyond the memory limit are refused",
        "check_memory",
        Condition("limit"),
        SECOND_ORDER,
        "memory_beyond",
    ),
    Guard(
        "a move of the size of rounding does not correct the Jacobian",
        "with_secant",
        Assignment("informative", "torch.ones_like(accepted)"),
        SECOND_ORDER,
        "rounding_size",
    ),
    Guard(
        "a correction of the Jacobian that is not finite is not made",
        "with_secant",
        Assignment("sound", "informative"),
        SECOND_ORDER,
        "correction_that_overflows",
    ),
    Guard(
        "a Gauss-Newton step is accepted only if the cost falls",
        "GaussNewton.roll_out",
        Assignment("falls", "torch.isfinite(tried.cost)"),
        SECOND_ORDER,
        "damping_falls",
    ),
    Guard(
        "the kicks of restarts grow up to a limit",
        "MultiStart.restarted",
        Assignment("grown", "state.kick_std * self.kick_growth"),
        STARTS,
        "do_not_overflow",
    ),
)


def fails_without(guard: Guard) -> bool:
    """Return whether the test of a guard fails when the guard is disabled."""
    changed = operated(guard.function, guard.disabled)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "grasp_planner"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / changed.path).write_text(changed.text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", guard.test, "-k", guard.only, "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        # 1: tests failed. Negative: the interpreter crashed. Any other code, such as that for no test, shows nothing.
        return done.returncode == 1 or done.returncode < 0


def main() -> int:
    """Disable each guard whose name contains the argument. Return 1 if a guard's test still passes."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    unnoticed = 0
    for guard in GUARDS:
        if wanted in guard.name:
            noticed = fails_without(guard)
            unnoticed += not noticed
            print(f"{'seen    ' if noticed else 'UNSEEN  '} without: {guard.name}", flush=True)
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
