"""A killed and resumed training gives exactly the result of an uninterrupted training."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_data import CART, cart

from full_disk import largest_file
from grasp_planner import GraspPlannerError
from grasp_planner.io.interrupts import delayed_interrupt
from grasp_planner.training import train
from grasp_planner.training.logs import CSVLog


class Stopped(Exception):
    pass


def stop_at(step):
    def callback(at, _errors):
        if at == step:
            raise Stopped

    return callback


def contents(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "config.json", "validation.csv")}


def states(folder):
    return torch.load(folder / "training_state.pt", weights_only=True)


def assert_equal(one, other, where="state"):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "seconds":
                assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other)):
            assert_equal(a, b, f"{where}[{index}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("stop", [12, 24, 36])
def test_resumed_it_equals_the_uninterrupted_to_the_bit(tmp_path, stop):
    often = {"progress": False, "validate_every": 6, "checkpoint_every": 10, "log_every": 5}
    whole = train(CART, cart(), tmp_path / "whole", **often)
    with pytest.raises(Stopped):
        train(CART, cart(), tmp_path / "parts", callback=stop_at(stop), **often)
    assert states(tmp_path / "parts")["step"] == stop // 10 * 10 < stop, "work after the checkpoint is lost on purpose"
    torch.rand(7)  # the use of the global random stream in the new process must have no effect
    parts = train(CART, cart(), tmp_path / "parts", resume=True, **often)

    assert contents(whole.folder) == contents(parts.folder)
    assert whole.errors == parts.errors
    assert_equal(states(whole.folder), states(parts.folder))
    losses = [
        [",".join(line.split(",")[:1] + line.split(",")[2:]) for line in (f / "log.csv").read_text().splitlines()]
        for f in (whole.folder, parts.folder)
    ]
    assert losses[0] == losses[1], "the log has the same rows, none twice"


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from training_data import CART, cart
from grasp_planner.training import train
import dataclasses
settings = dataclasses.replace(CART, steps=4000)
train(settings, cart(), sys.argv[1], progress=False, checkpoint_every=5, validate_every=10**9)
"""


def test_killed_by_the_system_it_resumes(tmp_path):
    folder = tmp_path / "killed"
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)])
    deadline = time.monotonic() + 60
    while not (folder / "training_state.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = states(folder)["step"]
    assert step % 5 == 0 and 0 < step < 4000
    settings = dataclasses.replace(CART, steps=4000)
    with pytest.raises(Stopped):
        resume = {"resume": True, "progress": False, "validate_every": step + 15, "checkpoint_every": 5}
        train(settings, cart(), folder, callback=stop_at(step + 15), **resume)
    assert states(folder)["step"] == step + 10


def test_resuming_a_finished_training_changes_nothing(tmp_path):
    first = train(CART, cart(), tmp_path, progress=False)
    before = contents(tmp_path)
    again = train(CART, cart(), tmp_path, resume=True, progress=False)
    assert contents(tmp_path) == before and again.steps == first.steps and again.errors == first.errors


def test_nothing_to_resume(tmp_path):
    with pytest.raises(GraspPlannerError, match="nothing to resume"):
        train(CART, cart(), tmp_path, resume=True, progress=False)


def test_another_recipe_is_refused(tmp_path):
    train(CART, cart(), tmp_path, progress=False)
    with pytest.raises(GraspPlannerError, match="another recipe .*different: lr"):
        train(dataclasses.replace(CART, lr=5e-3), cart(), tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_truncated_state_is_one_clear_error(tmp_path, keep):
    train(CART, cart(), tmp_path, progress=False)
    file = tmp_path / "training_state.pt"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(GraspPlannerError, match=r"training_state.pt cannot be read"):
        train(CART, cart(), tmp_path, resume=True, progress=False)


def test_a_state_that_runs_code_is_refused(tmp_path):
    train(CART, cart(), tmp_path, progress=False)
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return marker.touch, ()

    torch.save({"recipe": Payload()}, tmp_path / "training_state.pt")
    with pytest.raises(GraspPlannerError, match="cannot be read"):
        train(CART, cart(), tmp_path, resume=True, progress=False)
    assert not marker.exists()


@pytest.mark.parametrize("limit", [0, 100, 3000])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, limit):
    often = {"progress": False, "checkpoint_every": 10}
    whole = train(CART, cart(), tmp_path / "whole", **often)
    with pytest.raises(Stopped):
        train(CART, cart(), tmp_path / "parts", callback=stop_at(20), validate_every=20, **often)
    folder = tmp_path / "parts"
    before = (folder / "training_state.pt").read_bytes()
    with largest_file(limit), pytest.raises(OSError, match="File too large") as caught:
        train(CART, cart(), folder, resume=True, **often)
    assert str(caught.value.filename).startswith(str(folder))
    assert (folder / "training_state.pt").read_bytes() == before
    assert not [p for p in folder.iterdir() if p.name.startswith(".")], "litter"
    train(CART, cart(), folder, resume=True, **often)
    assert (folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    assert_equal(states(whole.folder), states(folder))


def test_a_row_of_the_log_that_was_not_written_to_its_end_is_dropped(tmp_path):
    path = tmp_path / "log.csv"
    log = CSVLog(path, 0)
    for step in (100, 200, 2100):
        log.write({"step": step, "loss": 0.5})
    whole = path.read_bytes()
    for cut in range(len(b"step,loss\r\n100,0.5\r\n200,0.5\r\n"), len(whole)):
        path.write_bytes(whole[:cut])
        CSVLog(path, 2000).write({"step": 2100, "loss": 0.5})
        assert path.read_bytes() == whole


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("presses", [1, 7, 20])
def test_ctrl_c_saves_the_step_that_it_came_in(tmp_path, monkeypatch, presses):
    """There is no earlier checkpoint. After resuming, the training equals an uninterrupted training."""
    seldom = {"progress": False, "checkpoint_every": 10**9}
    whole = train(CART, cart(), tmp_path / "whole", **seldom)
    real, steps = torch.optim.AdamW.step, []

    def step(self, *arguments, **options):
        steps.append(len(steps) + 1)
        if steps[-1] == presses:
            signal.raise_signal(signal.SIGINT)  # in the middle of a step: some weights would be new, others old
        return real(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(CART, cart(), tmp_path / "parts", **seldom)
    assert signal.getsignal(signal.SIGINT) is usual
    assert states(tmp_path / "parts")["step"] == presses == steps[-1]
    parts = train(CART, cart(), tmp_path / "parts", resume=True, **seldom)
    assert_equal(states(whole.folder), states(parts.folder))
    assert (whole.folder / "model.safetensors").read_bytes() == (parts.folder / "model.safetensors").read_bytes()


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), delayed_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("still here")


def test_a_ctrl_c_that_the_block_does_not_look_at_is_not_lost():
    after = []
    with pytest.raises(KeyboardInterrupt), delayed_interrupt():
        signal.raise_signal(signal.SIGINT)
        after.append(1)
    assert after


def test_a_process_that_ignores_ctrl_c_still_does():
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delayed_interrupt() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGINT, usual)


def test_outside_the_main_thread_nothing_is_changed(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(train, CART, cart(), tmp_path, progress=False).result().steps == CART.steps
