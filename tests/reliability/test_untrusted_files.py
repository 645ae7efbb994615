"""Damaged, swapped, oversized and malicious files are refused with a ``GraspPlannerError``."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy
import pytest
import torch
from safetensors.torch import save_file

from damage import changed
from grasp_planner import GD, GraspPlannerError, MultiStart, load_planner, load_world_model, save_planner
from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.record_json import SCHEMA
from grasp_planner.bench.suites.loading import load_suite, suites
from grasp_planner.data import collect, read
from grasp_planner.io.pickle_limits import check_pickle
from grasp_planner.io.text_files import read_yaml
from grasp_planner.io.torch_files import read_parts
from grasp_planner.models.learned_policy import LearnedPolicy, LearnedPolicyConfig
from grasp_planner.models.registry import checkpoints
from grasp_planner.models.state.model import StateModel, StateModelConfig
from grasp_planner.training.checkpoints import load_state, save_state
from lerobot_files import version_3

CASES, SLOWEST = 40, 10.0
"""Number of damaged files per reader and file; most seconds that one file may take on a busy machine."""


class Call:
    """An object that is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


# For every reader: how to make what it reads, which file to change, how to read it.


def checkpoint(folder: Path) -> None:
    StateModel(StateModelConfig(state_size=2, action_size=2, width=8, depth=2)).save_pretrained(folder)


def policy(folder: Path) -> None:
    config = LearnedPolicyConfig(latent_size=2, action_size=2, horizon=4, width=8, depth=2)
    LearnedPolicy(config).save_pretrained(folder)


def planner(folder: Path) -> None:
    folder.mkdir()
    save_planner(MultiStart(GD(), starts=3), folder / "planner.json")


def parts(folder: Path) -> None:
    folder.mkdir()
    torch.save({"net": torch.nn.Linear(3, 4), "epoch": 3}, folder / "x.pth")


def yaml(folder: Path) -> None:
    folder.mkdir()
    (folder / "x.yaml").write_text("model:\n  width: 3\n  names: [a, b]\nother: {a: 1.5, b: null}\n")


def minari(folder: Path) -> None:
    collect("wall", 3, folder, workers=1, steps=10, progress=False)


def minari_unpacked(folder: Path) -> None:
    minari(folder)
    read(folder)


def published(folder: Path) -> None:
    folder.mkdir()
    torch.save(torch.randn(3, 6, 2), folder / "states.pth")
    torch.save(torch.randn(3, 6, 2), folder / "actions.pth")
    (folder / "seq_lengths.pkl").write_bytes(pickle.dumps([6, 5, 4]))


def training(folder: Path) -> None:
    folder.mkdir()
    save_state(folder, {"recipe": {"a": 1}, "step": 3, "weights": {"w": torch.ones(3)}})


def records(folder: Path) -> None:
    folder.mkdir()
    work = {"suite": "s", "task": "t", "horizon": 25, "model": "m", "model_hash": "0", "arm": "cem", "rollouts": 9}
    work |= {"mode": "open-loop", "split": "validation", "planner": {"name": "cem", "samples": 8}}
    clock = {"seconds": 1.5, "batch": 2, "machine": "x", "at": 3}
    found = {"round": 0, "episodes": [0, 1], "success": [True, False], "cost": [0.5, None], "transitions": 9}
    head = {"schema": SCHEMA, "kind": "sweep", **work, **found, "clock": clock}
    lines = [head | {"trial": i} for i in range(5)]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def suite(folder: Path) -> None:
    folder.mkdir()
    shutil.copy(next(iter(suites().values())), folder / "mine.toml")


READERS: dict[str, tuple[Callable[[Path], None], str, Callable[[Path], object]]] = {
    "config of a checkpoint": (checkpoint, "config.json", load_world_model),
    "weights of a checkpoint": (checkpoint, "model.safetensors", load_world_model),
    "pickle of an adapter": (parts, "x.pth", lambda folder: read_parts(folder / "x.pth", ["net"])),
    "settings of an adapter": (yaml, "x.yaml", lambda folder: read_yaml(folder / "x.yaml")),
    "metadata of a data set": (minari, "data/metadata.json", lambda folder: read(folder, cache=False)),
    "arrays of a data set": (minari, "data/main_data.hdf5", lambda folder: read(folder, cache=False)),
    "index of unpacked arrays": (minari_unpacked, ".arrays/vectors/index.json", read),
    "an unpacked array": (minari_unpacked, ".arrays/vectors/0.npy", read),
    "tensors of DINO-WM's layout": (published, "states.pth", lambda folder: read(folder, cache=False)),
    "lengths of DINO-WM's layout": (published, "seq_lengths.pkl", lambda folder: read(folder, cache=False)),
    "state of a training": (training, "training_state.pt", lambda folder: load_state(folder, {"a": 1})),
    "records": (records, "records.jsonl", lambda folder: read_records([folder / "records.jsonl"])),
    "suite": (suite, "mine.toml", lambda folder: load_suite(folder / "mine.toml")),
    "weights of a policy": (policy, "model.safetensors", LearnedPolicy.from_pretrained),
    "settings of a planner": (planner, "planner.json", lambda folder: load_planner(folder / "planner.json")),
}

if find_spec("pyarrow") is not None:
    READERS |= {
        "description of a LeRobot data set": (version_3, "meta/info.json", lambda folder: read(folder, cache=False)),
        "table of a LeRobot data set": (
            version_3,
            "data/chunk-000/file-999.parquet",
            lambda folder: read(folder, cache=False),
        ),
    }


def refused_or_read(reader: Callable[[Path], object], folder: Path) -> bool:
    """Return whether a file was refused. Any other error than a GraspPlannerError, or a slow reader, fails the test."""
    started = time.perf_counter()
    try:
        reader(folder)
        return False
    except GraspPlannerError as error:
        assert len(str(error)) > 20, "an error says what was needed"
        return True
    finally:
        assert time.perf_counter() - started < SLOWEST


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_refused_or_read(name: str, tmp_path: Path, figure, monkeypatch):
    make, file, reader = READERS[name]
    make(tmp_path / "set")
    reader(tmp_path / "set")
    path = tmp_path / "set" / file
    data, draw, refused = path.read_bytes(), random.Random(name), 0
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    times = path.stat()
    for _ in range(CASES):
        path.write_bytes(changed(data, draw))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that the unpacked arrays count as current
        refused += refused_or_read(reader, tmp_path / "set")
        figure("files fuzzed")
    assert refused >= CASES // 8, "most damage is seen"
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    reader(tmp_path / "set")


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_kind_is_refused(name: str, tmp_path: Path, figure):
    """Every file is replaced by files of other kinds."""
    make, file, reader = READERS[name]
    make(tmp_path / "set")
    others = {
        "nothing": b"",
        "zeros": bytes(4096),
        "JSON": b"[1, 2]",
        "JSON, nested": b"[" * 20_000,
        "JSON, large": b'{"a": ' + b"9" * 5000 + b"}",
        "text": "schön\n".encode() * 100,
        "Latin": b"\xe4\xf6\xfc\n" * 100,
        "YAML": b"- 2024-13-41\n",
        "pickle": pickle.dumps(Call(os.mkdir, str(tmp_path / "run"))),
        "weights": (checkpoints()["pusht-state"] / "model.safetensors").read_bytes()[:100_000],
    }
    for make_other, other_file, _ in list(READERS.values())[::3]:
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        make_other(tmp_path / "other")
        if other_file != file:
            others[other_file] = (tmp_path / "other" / other_file).read_bytes()
    refused = 0
    for content in others.values():
        (tmp_path / "set" / file).write_bytes(content)
        refused += refused_or_read(reader, tmp_path / "set")
        figure("files fuzzed")
    assert refused >= len(others) - 3
    assert not (tmp_path / "run").exists(), "something in a file was run"


# Malicious files.


def nested_tuples() -> bytes:
    """Nested tuples as a key, which is hashed: deep enough to crash the interpreter."""
    return b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."


def nested_by_alias() -> bytes:
    """Return the same nesting, made of lists that are stored first, filled later and converted to tuples."""
    step = b"ctorch\nSize\n]q\x01"
    deep = b")q\x02"
    for _ in range(5000):
        deep += b"0" + step + b"h\x02ah\x01" + b"0" + b"\x85Rq\x02"
    return b"\x80\x02}" + deep + b"K\x01s."


PICKLES = {
    "nested tuples": nested_tuples(),
    "nested by alias": nested_by_alias(),
    "a far place": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a far place in text": b"Np999999999999\n.",
    "a long string": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
    "an empty stack": b"\x80\x02s.",
    "no mark": b"\x80\x02]e.",
    "no end": b"\x80\x02]",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_that_would_exhaust_the_reader(kind: str, tmp_path: Path, figure):
    with pytest.raises(ValueError):
        check_pickle(PICKLES[kind])
    parts(tmp_path / "set")
    path = tmp_path / "set" / "x.pth"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, PICKLES[kind] if name.endswith("data.pkl") else data)
    with pytest.raises(GraspPlannerError):
        read_parts(path, ["net"])
    published(tmp_path / "other")
    (tmp_path / "other" / "seq_lengths.pkl").write_bytes(PICKLES[kind])
    with pytest.raises(GraspPlannerError):
        read(tmp_path / "other", cache=False)
    figure("files fuzzed", 2)


def zipped(path: Path, **changes: bytes) -> None:
    """Rewrite an archive with compressed members, and with some members replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (members | changes).items():
            archive.writestr(name, data)


def test_zip_bombs(tmp_path: Path, figure):
    parts(tmp_path / "a")
    zipped(tmp_path / "a" / "x.pth", **{"x/data/0": bytes(10**8)})
    assert (tmp_path / "a" / "x.pth").stat().st_size < 10**6
    with pytest.raises(GraspPlannerError, match="compressed"):
        read_parts(tmp_path / "a" / "x.pth", ["net"])
    published(tmp_path / "b")
    zipped(tmp_path / "b" / "states.pth")
    with pytest.raises(GraspPlannerError, match="compressed"):
        read(tmp_path / "b", cache=False)
    training(tmp_path / "c")
    zipped(tmp_path / "c" / "training_state.pt")
    with pytest.raises(GraspPlannerError, match="compressed"):
        load_state(tmp_path / "c", {"a": 1})
    figure("files fuzzed", 3)


def test_a_member_that_leads_out_of_its_archive(tmp_path: Path, figure):
    for name in ("../../out", "/out", "x/../../out"):
        parts(tmp_path / "set")
        with zipfile.ZipFile(tmp_path / "set" / "x.pth", "a") as archive:
            archive.writestr(name, b"out")
        with pytest.raises(GraspPlannerError, match="leads out"):
            read_parts(tmp_path / "set" / "x.pth", ["net"])
        shutil.rmtree(tmp_path / "set")
        figure("files fuzzed")


def test_a_tensor_that_repeats_its_storage_beyond_all_memory(tmp_path: Path, figure):
    torch.save({"net": {"w": torch.zeros(1).expand(2**20, 2**20)}}, tmp_path / "x.pth")
    with pytest.raises(GraspPlannerError, match="beyond all reason"):
        read_parts(tmp_path / "x.pth", ["net"])
    figure("files fuzzed")


@pytest.mark.parametrize("field", ["width", "depth", "octaves", "state_size"])
def test_a_configuration_that_asks_for_more_than_its_weights_hold(field: str, tmp_path: Path, figure):
    checkpoint(tmp_path / "set")
    path = tmp_path / "set" / "config.json"
    for value in (2**14, 2**40, 10**30):
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
        started = time.perf_counter()
        with pytest.raises(GraspPlannerError, match="does not fit"):
            load_world_model(tmp_path / "set")
        assert time.perf_counter() - started < SLOWEST
        figure("files fuzzed")


def test_weights_that_are_not_numbers(tmp_path: Path, figure):
    checkpoint(tmp_path / "set")
    path = tmp_path / "set" / "model.safetensors"
    tensors = StateModel(StateModelConfig(state_size=2, action_size=2, width=8, depth=2)).state_dict()
    name = next(key for key in tensors if tensors[key].ndim == 2)
    for value in (torch.nan, torch.inf):
        save_file(tensors | {name: torch.full_like(tensors[name], value)}, path)
        with pytest.raises(GraspPlannerError, match="NaN or infinity"):
            load_world_model(tmp_path / "set")
        figure("files fuzzed")


HDF5 = {
    "a link to another file": lambda file: file["episode_0/observations"].__setitem__(
        "state", h5py.ExternalLink("../../secret.hdf5", "/episode_0/observations/state")
    ),
    "a soft link": lambda file: file["episode_0/observations"].__setitem__("state", h5py.SoftLink("/episode_1")),
    "a circle": lambda file: file["episode_0/observations"].__setitem__("state", file["episode_0"]),
    "numbers of another file": lambda file: file["episode_0/observations"].create_dataset(
        "state", (11, 2), "u1", external=[("/etc/passwd", 0, 22)]
    ),
    "an array without end": lambda file: file["episode_0/observations"].create_dataset(
        "state", (11, 2**40), "f4", chunks=(11, 2**20), compression="gzip"
    ),
    "a bomb": lambda file: file["episode_0/observations"].create_dataset(
        "state", (11, 2**25), "f4", chunks=(11, 2**20), fillvalue=0.0
    ),
}


@pytest.mark.parametrize("kind", HDF5)
def test_data_sets_that_lead_elsewhere_or_claim_too_much(kind: str, tmp_path: Path, figure):
    minari(tmp_path / "set")
    shutil.copy(
        tmp_path / "set" / "data" / "main_data.hdf5", tmp_path / "secret.hdf5"
    )  # would be read if the link were followed
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations/state"]
        HDF5[kind](file)
    started = time.perf_counter()
    with pytest.raises(GraspPlannerError, match="main_data.hdf5"):
        read(tmp_path / "set", cache=False)
    assert time.perf_counter() - started < SLOWEST
    figure("files fuzzed")


def test_an_index_that_leads_out_of_its_folder(tmp_path: Path, figure):
    minari_unpacked(tmp_path / "set")
    index = tmp_path / "set" / ".arrays" / "vectors" / "index.json"
    content = json.loads(index.read_text())
    for name in ("../../../secret.npy", str(tmp_path / "secret.npy"), ".."):
        first = next(iter(content["arrays"].values()))
        shutil.copy(index.parent / "0.npy", tmp_path / "secret.npy")
        index.write_text(json.dumps(content | {"arrays": content["arrays"] | {"state": first | {"file": name}}}))
        with pytest.raises(GraspPlannerError, match=r"leads out of the folder|not readable"):
            read(tmp_path / "set")
        figure("files fuzzed")


def test_an_array_of_objects(tmp_path: Path, figure):
    """A file in numpy's format can hold a pickle."""
    minari_unpacked(tmp_path / "set")
    for file in (tmp_path / "set" / ".arrays" / "vectors").glob("*.npy"):
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.array([Call(os.mkdir, str(tmp_path / "run"))], dtype=object), allow_pickle=True)
        file.write_bytes(buffer.getvalue())
        figure("files fuzzed")
    with pytest.raises(GraspPlannerError, match="not readable as numpy array"):
        read(tmp_path / "set")
    assert not (tmp_path / "run").exists()


def test_a_playlist_in_place_of_a_video(tmp_path: Path, figure):
    """ffmpeg would follow a playlist to other files or to the network."""
    published(tmp_path / "set")
    (tmp_path / "set" / "obses").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    for index in range(3):
        content = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n"
        (tmp_path / "set" / "obses" / f"episode_{index:03d}.mp4").write_text(content)
        figure("files fuzzed")
    with pytest.raises(GraspPlannerError, match=r"not readable as video.*(moov|Invalid data)"):
        read(tmp_path / "set", cache=False)
