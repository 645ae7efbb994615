"""Files and folders appear complete or not at all, whatever happens to the writer."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.io.atomic import (
    make_folder,
    replace_folder,
    staged_files,
    write_atomically,
    write_folder_atomically,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(temporary):
    (temporary if not temporary.is_dir() else temporary / "x").write_bytes(b"half")
    raise RuntimeError("the power went out")


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="power"):
        write_atomically(path, failing)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["x.bin"]


def test_a_file_is_written_under_its_own_suffix_and_can_be_read_by_others(tmp_path):
    seen = []
    write_atomically(tmp_path / "x.png", lambda temporary: seen.append(temporary.name) or temporary.write_bytes(b"new"))
    assert seen == ["x.png"] and (tmp_path / "x.png").read_bytes() == b"new" and names(tmp_path) == ["x.png"]
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "x.png").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    code = (
        "import sys, time; from pathlib import Path; from grasp_planner.io.atomic import write_atomically\n"
        "def write(temporary):\n"
        "    temporary.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
        f"write_atomically(Path({str(path)!r}), write)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.glob("*.txt")] == ["x.txt"], "what is left does not look like a result"


def test_a_folder_that_fails_leaves_the_old_folder_and_no_litter(tmp_path):
    folder = tmp_path / "set"
    write_folder_atomically(folder, lambda temporary: (temporary / "x").write_text("old"))
    with pytest.raises(RuntimeError, match="power"):
        write_folder_atomically(folder, failing)
    assert (folder / "x").read_text() == "old" and names(tmp_path) == ["set"]


def test_a_folder_replaces_an_older_one_and_makes_its_parents(tmp_path):
    folder = tmp_path / "a" / "b"
    for content in ("old", "new"):
        write_folder_atomically(folder, lambda temporary, content=content: (temporary / content).write_text(content))
    assert names(folder) == ["new"] and names(folder.parent) == ["b"]


def test_a_folder_that_is_not_there_cannot_replace_another(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "missing", tmp_path / "x")
    assert names(tmp_path) == []


def test_staged_files_appear_together(tmp_path):
    folder = tmp_path / "out"
    make_folder(folder)
    (folder / "a").write_text("old")
    with pytest.raises(RuntimeError, match="power"):
        with staged_files(folder) as staging:
            (staging / "a").write_text("new")
            raise RuntimeError("the power went out")
    assert (folder / "a").read_text() == "old" and names(folder) == ["a"]
    with staged_files(folder) as staging:
        for name in ("a", "b"):
            (staging / name).write_text("new")
        assert (folder / "a").read_text() == "old"
    assert names(folder) == ["a", "b"] and (folder / "a").read_text() == "new"


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for refused in (lambda: make_folder(tmp_path / "file"), lambda: staged_files(tmp_path / "file" / "x").__enter__()):
        with pytest.raises(GraspPlannerError, match="needed a folder that can be written"):
            refused()
