"""Arrays that are computed piece by piece: continued after a stop, computed once, and never seen half-finished."""

import errno
import threading
import time

import numpy as np
import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.data.growing_file import grown
from grasp_planner.io import atomic

WHOLE = np.arange(30, dtype=np.float16).reshape(10, 3)


class Stopped(Exception):
    pass


def pieces(first, size=2, stop=None, asked=None):
    for row in range(first, 10, size):
        if stop is not None and row >= stop:
            raise Stopped
        if asked is not None:
            asked.append(row)
        yield WHOLE[row : row + size]


def test_a_stopped_computation_continues_where_it_stopped(tmp_path):
    path, asked = tmp_path / "latents.npy", []
    with pytest.raises(Stopped):
        grown(path, (10, 3), np.float16, lambda row: pieces(row, stop=6))
    assert not path.exists() and (tmp_path / "latents.partial").exists()
    found = grown(path, (10, 3), np.float16, lambda row: pieces(row, asked=asked))
    assert asked == [6, 8] and np.array_equal(found, WHOLE) and not found.flags.writeable
    assert [one.name for one in tmp_path.iterdir()] == ["latents.npy"]
    assert np.array_equal(grown(path, (10, 3), np.float16, lambda row: pytest.fail("computed again")), WHOLE)


@pytest.mark.parametrize("kept", [0, 5, 64, 127, 128, 131, 150])
def test_part_of_a_row_or_of_the_header_is_computed_again(kept, tmp_path):
    path, unfinished = tmp_path / "latents.npy", tmp_path / "latents.partial"
    with pytest.raises(Stopped):
        grown(path, (10, 3), np.float16, lambda row: pieces(row, stop=6))
    unfinished.write_bytes(unfinished.read_bytes()[:kept])
    assert np.array_equal(grown(path, (10, 3), np.float16, pieces), WHOLE)


def test_an_unfinished_file_of_another_array_is_computed_again(tmp_path):
    path = tmp_path / "latents.npy"
    with pytest.raises(Stopped):
        grown(path, (10, 3), np.float32, lambda row: pieces(row, stop=6))
    assert np.array_equal(grown(path, (10, 3), np.float16, pieces), WHOLE)


def in_a_thread(path, parts, results):
    def work():
        try:
            results.append(grown(path, (10, 3), np.float16, parts))
        except Stopped:
            results.append("stopped")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("stop", [None, 6], ids=["finished", "stopped"])
def test_a_second_writer_waits_for_the_first(stop, tmp_path):
    """If the first writer finishes, the second computes nothing; if it is stopped, the second continues."""
    path, results, asked = tmp_path / "latents.npy", [], []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(row):
        begun.set()
        assert go_on.wait(30)
        yield from pieces(row, stop=stop)

    first = in_a_thread(path, slowly, results)
    assert begun.wait(30)
    second = in_a_thread(path, lambda row: pieces(row, asked=asked), results)
    time.sleep(0.2)
    assert second.is_alive() and asked == []
    go_on.set()
    first.join(30)
    second.join(30)
    assert asked == ([] if stop is None else [6, 8])
    arrays = [one for one in results if not isinstance(one, str)]
    assert len(arrays) == (2 if stop is None else 1) and all(np.array_equal(one, WHOLE) for one in arrays)
    assert [one.name for one in tmp_path.iterdir()] == ["latents.npy"]


def test_without_locks_each_call_computes_the_whole_array(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "fcntl", None)
    path, asked = tmp_path / "latents.npy", []
    with pytest.raises(Stopped):
        grown(path, (10, 3), np.float16, lambda row: pieces(row, stop=6))
    assert not path.exists()
    assert np.array_equal(grown(path, (10, 3), np.float16, lambda row: pieces(row, asked=asked)), WHOLE)
    assert asked == [0, 2, 4, 6, 8] and not (tmp_path / "latents.partial").exists()


def test_a_full_disk_is_reported_and_the_next_call_continues(tmp_path):
    path, asked = tmp_path / "latents.npy", []

    def no_room(row):
        yield WHOLE[row : row + 4]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GraspPlannerError, match=r"latents\.npy could not be written \(No space left on device\)"):
        grown(path, (10, 3), np.float16, no_room)
    assert np.array_equal(grown(path, (10, 3), np.float16, lambda row: pieces(row, asked=asked)), WHOLE)
    assert asked == [4, 6, 8]


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "latents.npy"
    with pytest.raises(GraspPlannerError, match="computed 10 rows, needed 11"):
        grown(path, (11, 3), np.float16, pieces)
    grown(path, (10, 3), np.float16, pieces)
    with pytest.raises(GraspPlannerError, match=r"latents\.npy"):
        grown(path, (10, 4), np.float16, pieces)
    path.write_bytes(b"not an array")
    with pytest.raises(GraspPlannerError, match=r"latents\.npy"):
        grown(path, (10, 3), np.float16, pieces)
