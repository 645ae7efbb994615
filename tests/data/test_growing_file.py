"""Arrays that are computed piece by piece: continued after a stop, and never seen half-finished."""

import numpy as np
import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.data.growing_file import grown

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


def test_two_writers_at_a_time_are_refused(tmp_path):
    path = tmp_path / "latents.npy"

    def meanwhile(row):
        with pytest.raises(GraspPlannerError, match="another process is writing"):
            grown(path, (10, 3), np.float16, pieces)
        yield WHOLE[row:]

    assert np.array_equal(grown(path, (10, 3), np.float16, meanwhile), WHOLE)


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "latents.npy"
    with pytest.raises(GraspPlannerError, match="computed 10 rows, needed 11"):
        grown(path, (11, 3), np.float16, pieces)
    (tmp_path / "latents.partial").unlink()
    grown(path, (10, 3), np.float16, pieces)
    with pytest.raises(GraspPlannerError, match=r"latents\.npy"):
        grown(path, (10, 4), np.float16, pieces)
    path.write_bytes(b"not an array")
    with pytest.raises(GraspPlannerError, match=r"latents\.npy"):
        grown(path, (10, 3), np.float16, pieces)
