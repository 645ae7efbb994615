"""Files and folders appear complete or not at all, even if the writer fails or is killed."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from full_disk import largest_file
from grasp_planner import GraspPlannerError
from grasp_planner.io.atomic import (
    locked,
    make_folder,
    remove_abandoned,
    replace_folder,
    staged_files,
    temporary_folder,
    write_atomically,
    write_bytes_atomically,
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
    write_atomically(tmp_path / "another", lambda temporary: temporary.write_text("new"))
    assert names(tmp_path) == ["another", "x.txt"], "the next writer in the folder removes what is left"


@pytest.mark.parametrize("begin", [make_folder, remove_abandoned, lambda folder: staged_files(folder).__enter__()])
def test_only_what_dead_processes_left_is_removed(tmp_path, begin):
    code = (
        "import sys, time; from pathlib import Path; from grasp_planner.io.atomic import temporary_folder\n"
        f"with temporary_folder(Path({str(tmp_path)!r})) as folder:\n"
        "    (folder / 'half').write_text('half'); print(folder, flush=True); time.sleep(60)\n"
    )
    run = [sys.executable, "-c", code]
    with (
        subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as dead,
        subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as living,
        temporary_folder(tmp_path) as own,
    ):
        assert dead.stdout is not None and living.stdout is not None
        places = [Path(process.stdout.readline().strip()) for process in (dead, living)]
        dead.kill()
        dead.wait()
        begin(tmp_path)
        assert not places[0].exists() and own.exists()
        assert (places[1] / "half").read_text() == "half"
        living.kill()
        living.wait()
        remove_abandoned(tmp_path)
        assert own.exists() and not places[1].exists()


def test_writers_and_cleaners_do_not_disturb_each_other(tmp_path, figure):
    """Eight threads write files and folders in one folder. Each write begins with the removal of abandoned folders."""
    from concurrent.futures import ThreadPoolExecutor

    def write(number):
        content = str(number).encode()
        write_bytes_atomically(tmp_path / f"file{number % 5}", content)
        write_folder_atomically(tmp_path / f"folder{number}", lambda place: (place / "x").write_bytes(content))
        return (tmp_path / f"folder{number}" / "x").read_bytes() == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(200)))
    assert not list(tmp_path.glob(".*"))
    figure("atomic writes of eight threads in one folder", 400)


@pytest.mark.parametrize("limit", [0, 1, 1000, 4999])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, limit):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with largest_file(limit), pytest.raises(OSError, match="File too large") as caught:
        write_bytes_atomically(path, bytes(5000))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["x.bin"]
    with largest_file(limit), pytest.raises(OSError, match="File too large") as caught:
        with staged_files(tmp_path) as staging:
            (staging / "y.bin").write_bytes(bytes(5000))
    assert str(caught.value.filename) in (str(tmp_path / "y.bin"), str(tmp_path)) and names(tmp_path) == ["x.bin"]
    with largest_file(limit), pytest.raises(OSError, match="File too large") as caught:
        write_folder_atomically(tmp_path / "set", lambda place: (place / "z").write_bytes(bytes(5000)))
    assert caught.value.filename == str(tmp_path / "set") and names(tmp_path) == ["x.bin"]
    write_bytes_atomically(path, bytes(5000))
    assert path.stat().st_size == 5000


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(GraspPlannerError, match=f"{name}, which is a folder or a device"):
            write_bytes_atomically(tmp_path / name, b"new")
        with pytest.raises(GraspPlannerError, match=f"{name}, which is a folder or a device"):
            with staged_files(tmp_path) as staging:
                (staging / name).write_bytes(b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and names(tmp_path) == ["folder", "pipe"]


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


def test_a_locked_folder_is_refused_until_the_block_ends(tmp_path):
    with locked(tmp_path):
        with pytest.raises(GraspPlannerError, match="another process works in .*give another folder"), locked(tmp_path):
            pass
        with pytest.raises(RuntimeError), locked(make_folder(tmp_path / "other")):
            raise RuntimeError
        write_atomically(tmp_path / "x.txt", lambda temporary: temporary.write_text("new"))
    with locked(tmp_path), locked(tmp_path / "other"):
        assert names(tmp_path) == ["other", "x.txt"]
