"""Turns guards off, one at a time, and shows that a test fails without each.

    python tests/reliability/mutations.py [part of a name]

Every guard is a line of the source and the line without it. The source is copied, the line is replaced in the copy, and
the named test is run against the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Guard(NamedTuple):
    """A guard, and the test that fails without it."""

    name: str
    file: str
    line: str
    without: str
    test: str
    only: str = ""


MATRIX = "tests/reliability/test_fault_matrix.py"
GUARDED = "tests/reliability/test_guards.py"
AGENT = "tests/reliability/test_agent.py"
FILES = "tests/reliability/test_untrusted_files.py"
SAVING = "tests/contract/test_saving.py"

GUARDS = (
    Guard(
        "an objective's answer has the right shape",
        "core/objectives.py",
        "if cost.shape != like.shape[:-1] or cost.dtype != like.dtype:",
        "if False:",
        MATRIX,
        "objective and wrong and cem",
    ),
    Guard(
        "a model's answer has the right shape",
        "core/problem.py",
        "if tuple(next_states.shape) != expected or next_states.dtype != states.dtype:",
        "if False:",
        MATRIX,
        "forward and wrong and cem",
    ),
    Guard(
        "a gradient whose square overflows is a fault",
        "planners/descent.py",
        "finite.append(torch.addcmul(gradient, gradient.square(), row))",
        "finite.append(torch.where(torch.isfinite(gradient), gradient, torch.nan))",
        MATRIX,
        "gradient and overflow and gd",
    ),
    Guard(
        "a gradient that is not finite is a fault",
        "planners/descent.py",
        "torch.addcmul(gradient, gradient.square(), row)",
        "torch.nan_to_num(gradient)",
        MATRIX,
        "gradient and inf and gd",
    ),
    Guard(
        "a candidate of infinite cost is never the best",
        "planners/candidates.py",
        "place = torch.where(torch.isfinite(cost), cost, torch.inf).argmin(1)",
        "place = cost.argmin(1)",
        MATRIX,
        "objective and inf and candidate and cem",
    ),
    Guard(
        "the plan in hand is one without a fault",
        "planners/candidates.py",
        "place = torch.where(sound.gather(1, leader[:, None])[:, 0], leader, sound.long().argmax(1))",
        "place = leader",
        GUARDED,
        "in_hand",
    ),
    Guard(
        "only a finite cost is better",
        "core/plans.py",
        "mask = finite & (~torch.isfinite(first.cost) | (second.cost < first.cost))",
        "mask = second.cost < first.cost",
        MATRIX,
        "objective and inf and problem",
    ),
    Guard(
        "a cost that is not finite marks its problem",
        "planning/loop.py",
        "faulty |= ~torch.isfinite(offer.cost)",
        "pass",
        MATRIX,
        "forward and NaN and problem",
    ),
    Guard(
        "an action that is not finite marks its problem",
        "planning/loop.py",
        "faulty = ~torch.isfinite(actions).flatten(1).all(1)",
        "faulty = torch.zeros_like(running)",
        GUARDED,
        "marked_in_the_step",
    ),
    Guard(
        "no model call starts after the deadline",
        "planning/meter.py",
        "if self.deadline is not None and before >= self.deadline:",
        "if False:",
        MATRIX,
        "forward and slow and cem",
    ),
    Guard(
        "out of memory is not the end",
        "planning/memory.py",
        "if not is_out_of_memory(error):",
        "if True:",
        MATRIX,
        "memory and batch and cem",
    ),
    Guard(
        "an attempt that failed is not counted",
        "planning/memory.py",
        "meter.calls, meter.rows = calls, rows",
        "pass",
        MATRIX,
        "forward and memory and batch and cem",
    ),
    Guard(
        "a call of the agent that failed has not been",
        "control/agent.py",
        "self._history.undo()",
        "pass",
        AGENT,
        "has_not_been",
    ),
    Guard(
        "a stale warm start is dropped",
        "control/agent.py",
        "self._in_hand.reusable &= ~failed",
        "pass",
        AGENT,
        "starts_afresh",
    ),
    Guard(
        "a changed goal drops the plan",
        "control/agent.py",
        "self._in_hand.drop(changed & usable)",
        "pass",
        AGENT,
        "changed_goal",
    ),
    Guard(
        "an observation is the agent's own",
        "control/agent.py",
        "arrays[key] = torch.as_tensor(value).clone()",
        "arrays[key] = torch.as_tensor(value)",
        AGENT,
        "write_to_its_observation",
    ),
    Guard(
        "a plan that is at its end is none",
        "control/current_plans.py",
        "block = torch.where(self.alive.to(idle.device)[:, None], self.actions[row, place], idle)",
        "block = self.actions[row, place]",
        AGENT,
        "follows_its_plan_to_the_end",
    ),
    Guard(
        "what was not seen is filled in",
        "control/history.py",
        "states[place] = torch.where(seen[:, place, None], states[place], expected)",
        "pass",
        MATRIX,
        "encode and NaN and time",
    ),
    Guard(
        "an archive is not compressed",
        "io/untrusted.py",
        "if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:",
        "if False:",
        FILES,
        "zip_bombs",
    ),
    Guard(
        "a pickle is not nested beyond reason",
        "io/untrusted.py",
        "if stack and stack[-1] is not None and stack[-1][0] > MOST_NESTED:",
        "if False:",
        FILES,
        "exhaust and nested",
    ),
    Guard(
        "a name in a pickle is known",
        "io/pickles.py",
        'if module.partition(".")[0] in _STAND_INS:',
        "if True:",
        "tests/models/test_pickles.py",
        "nothing_in_a_file_is_run",
    ),
    Guard(
        "links in a data set are not followed",
        "data/minari_reading.py",
        "_check_links(group, h5py)\n            for key",
        "pass\n            for key",
        FILES,
        "lead_elsewhere and link",
    ),
    Guard(
        "an index stays in its folder",
        "data/cache.py",
        "if Path(name).name != name:",
        "if False:",
        FILES,
        "leads_out_of_its_folder",
    ),
    Guard(
        "a configuration does not ask for more than its weights",
        "models/files.py",
        "if isinstance(number, int) and abs(number) > largest:",
        "if False:",
        FILES,
        "asks_for_more and octaves",
    ),
    Guard(
        "an unknown version is refused",
        "control/saving.py",
        'if header.get("version") != VERSION:',
        "if False:",
        SAVING,
        "unknown_version",
    ),
    Guard(
        "a checksum is compared",
        "control/saving.py",
        'if header.get("sha256") != _digest(header["content"], tensors):',
        "if False:",
        SAVING,
        "something_else or damaged",
    ),
)


def fails_without(guard: Guard) -> bool:
    """Whether the test of a guard fails when it is turned off."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "grasp_planner"
        shutil.copytree(ROOT / "src" / "grasp_planner", copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / guard.file
        path.write_text(path.read_text(encoding="utf-8").replace(guard.line, guard.without), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", guard.test, "-k", guard.only, "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        # 1: tests failed. Negative: the interpreter crashed. Anything else (no such test) shows nothing.
        return done.returncode == 1 or done.returncode < 0


def main() -> int:
    """Turn off each guard whose name holds the argument; 1 where a test does not notice."""
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
