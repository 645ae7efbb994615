"""Two thousand crafted files: each gives a ``GraspPlannerError`` or a valid result, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy
import pytest
import torch
from crafted import EXPLOSIVE, archive, program, tensor_program, with_nonsense
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_untrusted_files import READERS, checkpoint, minari, minari_unpacked, published, records, training

import toys
from grasp_planner import CEM, GRASP, Budget, GraspPlannerError, MultiStart, load_world_model, plan
from grasp_planner.bench.record_files import read_records
from grasp_planner.bench.suites.loading import load_suite, suites
from grasp_planner.control.saving import _digest, load_plan, save_plan
from grasp_planner.data import read
from grasp_planner.data.statistics import statistics
from grasp_planner.io.pickles import read_plain_pickle
from grasp_planner.io.text_files import read_yaml
from grasp_planner.io.torch_files import load_tensors, read_parts
from grasp_planner.models.latent.model import LatentModel, LatentModelConfig, PatchModelConfig
from grasp_planner.training.checkpoints import load_state

SLOWEST, LARGEST = 20.0, 2**30
"""Most seconds for one file on a busy machine, which is far above the time that a file takes; most bytes of memory."""


@pytest.fixture
def readable(figure, tmp_path: Path, monkeypatch):
    """Read one crafted file: a GraspPlannerError or a result. Returns whether the file was read."""
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("something in a file was run"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def one(reader: Callable[[Path], Any], path: Path) -> bool:
        started = time.perf_counter()
        try:
            reader(path)
            return True
        except GraspPlannerError as error:
            assert 10 < len(str(error)) < 20_000
            return False
        finally:
            figure("crafted files")
            assert time.perf_counter() - started < SLOWEST
            assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < LARGEST

    return one


def pth(path: Path) -> Any:
    return read_parts(path, ["net"])


@pytest.mark.parametrize("seed", range(4))
def test_random_pickles(seed: int, tmp_path: Path, readable):
    draw = random.Random(seed)
    for _ in range(60):
        data = program(draw)
        archive(tmp_path / "x.pth", data)
        (tmp_path / "x.pkl").write_bytes(data)
        readable(pth, tmp_path / "x.pth")
        readable(load_tensors, tmp_path / "x.pth")
        readable(read_plain_pickle, tmp_path / "x.pkl")


@pytest.mark.parametrize("kind", EXPLOSIVE)
def test_pickles_that_grow(kind: str, tmp_path: Path, readable):
    archive(tmp_path / "x.pth", EXPLOSIVE[kind])
    (tmp_path / "x.pkl").write_bytes(EXPLOSIVE[kind])
    assert not readable(pth, tmp_path / "x.pth")
    assert not readable(load_tensors, tmp_path / "x.pth") or kind == "encoded over and over"
    assert not readable(read_plain_pickle, tmp_path / "x.pkl")


def test_a_pickle_leaves_nothing_behind(tmp_path: Path, readable):
    for name in ("_codecs\nencode", "torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "builtins\nset"):
        data = f"c{name}\n(N}}X\x06\x00\x00\x00spoiltK\x01stb.".encode()
        archive(tmp_path / "x.pth", b"\x80\x02" + data)
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + data)
        assert not readable(pth, tmp_path / "x.pth")
        assert not readable(load_tensors, tmp_path / "x.pth")
        assert not readable(read_plain_pickle, tmp_path / "x.pkl")
    import grasp_planner.io.torch_archive as archives
    import grasp_planner.io.torch_files as files

    found = [one for module in (archives, files) for one in vars(module).values()]
    found += [method for cls in (files._Names,) for method in vars(cls).values()]
    assert not any(hasattr(one, "spoilt") for one in found)


TENSORS = {
    "stride 0": (2**30, 0, [2**30], [0], 1),
    "stride 0, honest count": (4, 0, [2**28], [0], 1),
    "400 views": (4, 0, [2**23], [0], 400),
    "a huge size": (4, 0, [10**1000], [1], 1),
    "a huge stride": (4, 0, [2], [10**1000], 1),
    "a negative size": (4, 0, [-1], [1], 1),
    "many dimensions": (4, 0, [1] * 500, [0] * 500, 1),
    "an offset": (4, 2**40, [1], [1], 1),
    "more numbers than are there": (2**20, 0, [2**20], [1], 1),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_claim_too_much(kind: str, tmp_path: Path, readable):
    archive(tmp_path / "x.pth", tensor_program(*TENSORS[kind]))
    assert not readable(pth, tmp_path / "x.pth")
    assert not readable(load_tensors, tmp_path / "x.pth")


def test_shared_tensors_stay_shared(tmp_path: Path):
    tied = torch.randn(1000)
    torch.save({"net": {f"w{i}": tied for i in range(400)}}, tmp_path / "x.pth")
    found = read_parts(tmp_path / "x.pth", ["net"])["net"].tensors
    assert len({one.data_ptr() for one in found.values()}) == 1 and torch.equal(found["w7"], tied)


def test_modules_that_are_shared_at_every_level(tmp_path: Path, readable):
    module = torch.nn.Linear(1, 1)
    for _ in range(45):
        module = torch.nn.Sequential(module, module)
    torch.save({"net": module}, tmp_path / "x.pth")
    assert not readable(pth, tmp_path / "x.pth")


def test_archives_with_many_members(tmp_path: Path, readable):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        for number in range(40_000):
            file.writestr(zipfile.ZipInfo(f"x/data/{number}"), b"")
    assert not readable(pth, tmp_path / "x.pth") and not readable(load_tensors, tmp_path / "x.pth")


def json_files(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    checkpoint(folder / "state")
    LatentModel(LatentModelConfig(state_size=2, action_size=2, width=4, channels=2)).save_pretrained(folder / "latent")
    LatentModel(
        PatchModelConfig(state_size=2, action_size=2, strides=(4,), patch=32, components=2, width=4, hidden=4)
    ).save_pretrained(folder / "patches")
    minari_unpacked(folder / "set")
    statistics(folder / "set")
    return {
        "state": (folder / "state" / "config.json", lambda path: load_world_model(path.parent)),
        "latent": (folder / "latent" / "config.json", lambda path: load_world_model(path.parent)),
        "patches": (folder / "patches" / "config.json", lambda path: load_world_model(path.parent)),
        "metadata": (folder / "set" / "data" / "metadata.json", lambda path: read(path.parents[1], cache=False)),
        "index": (folder / "set" / ".arrays" / "vectors" / "index.json", lambda path: read(path.parents[2])),
        "statistics": (folder / "set" / "statistics.json", lambda path: statistics(path.parent)),
    }


@pytest.mark.parametrize("name", ["state", "latent", "patches", "metadata", "index", "statistics"])
def test_json_with_nonsense(name: str, tmp_path: Path, readable):
    path, reader = json_files(tmp_path)[name]
    content, draw, times = json.loads(path.read_text()), random.Random(name), path.stat()
    for _ in range(100):
        path.write_text(json.dumps(with_nonsense(content, draw)))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        readable(reader, path)


def test_settings_of_the_wrong_type(tmp_path: Path, readable):
    LatentModel(LatentModelConfig(state_size=2, action_size=2, width=4, channels=2)).save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    content = json.loads(path.read_text())
    for change in ({"view": []}, {"isotropic": "x"}, {"own_radius": float("nan")}, {"angles": [0.5]}, {"still": 1}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(GraspPlannerError, match=next(iter(change))):
            load_world_model(tmp_path / "m")
    path.write_text('{"x": 1' + "".join(f',"{i}":1' for i in range(4_000_000)) + "}")
    assert not readable(load_world_model, tmp_path / "m")


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_no_files(reader: str, tmp_path: Path, readable):
    make, file, load = READERS[reader]
    make(tmp_path / "set")
    path = tmp_path / "set" / file
    for put in (os.mkfifo, lambda name: name.symlink_to("/dev/zero"), os.mkdir):
        path.unlink()
        put(path)
        assert not readable(load, tmp_path / "set")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_text("")


def test_weights_of_other_kinds(tmp_path: Path, readable):
    checkpoint(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.complex64):
        save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, path)
        assert not readable(load_world_model, tmp_path / "m")
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)
    assert readable(load_world_model, tmp_path / "m")
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = "{" + ",".join(f'"w{i}":{empty}' for i in range(600_000)) + "}"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert not readable(load_world_model, tmp_path / "m")


@pytest.mark.parametrize("seed", range(3))
def test_saved_plans_with_nonsense(seed: int, tmp_path: Path, readable):
    planner = MultiStart(GRASP(sync=CEM(samples=4, elites=2), sync_every=2, sync_steps=1), starts=2)
    path = save_plan(plan(toys.problem(2, 3), planner, Budget(steps=3)), tmp_path / "a.plan")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["grasp_planner"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    draw, refused = random.Random(seed), 0
    for _ in range(100):
        content, held = header["content"], dict(tensors)
        if draw.random() < 0.3:
            name = draw.choice(sorted(held))
            held[name] = draw.choice(
                [held[name][:1], held[name].long(), held[name].double() * torch.nan, torch.zeros(0)]
            )
        else:
            content = with_nonsense(content, draw)
        changes = {"content": content, "sha256": _digest(content, held)}
        save_file(
            {name: one.contiguous() for name, one in held.items()},
            path,
            {"grasp_planner": json.dumps(header | changes)},
        )
        refused += not readable(load_plan, path)
    assert refused > 60


def as_toml(content: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {text(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(text, value)) + "]"
        if isinstance(value, float):
            return repr(value)
        return "1979-05-27" if value is None else json.dumps(value)

    return "\n".join(f"{json.dumps(key)} = {text(value)}" for key, value in content.items())


@pytest.mark.parametrize("name", ["smoke", "ablation", "push-t-long"])
def test_suites_with_nonsense(name: str, tmp_path: Path, readable):
    import tomllib

    content, draw, refused = tomllib.loads(suites()[name].read_text()), random.Random(name), 0
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(content))
    assert readable(load_suite, path)
    for _ in range(100):
        path.write_text(as_toml(with_nonsense(content, draw)))
        try:
            load_suite(path)
        except GraspPlannerError as error:
            assert str(path) in str(error)
        refused += not readable(load_suite, path)
    assert refused > 80


def test_records_and_training_states_with_nonsense(tmp_path: Path, readable):
    records(tmp_path / "r")
    path, draw = tmp_path / "r" / "records.jsonl", random.Random(0)
    lines = path.read_text().splitlines()
    for _ in range(200):
        path.write_text("\n".join([*lines[1:], json.dumps(with_nonsense(json.loads(lines[0]), draw))]) + "\n")
        readable(lambda file: read_records([file]), path)
    training(tmp_path / "t")
    state = {"recipe": {"a": 1}, "step": 3, "weights": {"w": torch.ones(3)}, "betas": (0.9, [1, {"x": None}])}
    for _ in range(60):
        torch.save(with_nonsense(state, draw), tmp_path / "t" / "training_state.pt")
        readable(lambda file: load_state(file, {"a": 1}), tmp_path / "t")


def test_yaml_that_grows(tmp_path: Path, readable):
    laughs = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
    lists = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    texts = [
        laughs,
        lists,
        "a: &a [*a]\n",
        "[" * 3000,
        "{" * 30_000,
        "- " * 10_000,
        "? " * 10_000,
        "a: 0x" + "f" * 30_000,
    ]
    for text in [
        *texts,
        "a: " + "1:" * 900 + "1.5",
        "a: !!python/object/apply:os.system [x]",
        "a: [" + "1," * 40_000 + "]",
    ]:
        (tmp_path / "x.yaml").write_text(text)
        assert not readable(read_yaml, tmp_path / "x.yaml")


def _twice(file: h5py.File) -> None:
    group = file["episode_0/observations"].create_group("g0")
    for number in range(1, 45):
        inner = file["episode_0/observations"].create_group(f"g{number}")
        inner["a"] = inner["b"] = group
        group = inner


GROUPS = ["/", "episode_0", "episode_0/observations"]
LINKS: dict[str, Callable[[h5py.Group, str], None]] = {
    "external": lambda group, key: group.__setitem__(key, h5py.ExternalLink("secret.hdf5", "/episode_0")),
    "soft": lambda group, key: group.__setitem__(key, h5py.SoftLink("/episode_1")),
    "hard": lambda group, key: group.__setitem__(key, group.file["episode_1"]),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("level", range(3))
def test_links_at_every_level(link: str, level: int, tmp_path: Path, readable):
    minari(tmp_path / "set")
    path = tmp_path / "set" / "data" / "main_data.hdf5"
    (path.parent / "secret.hdf5").write_bytes(path.read_bytes())
    with h5py.File(path, "a") as file:
        key = ["episode_0", "observations", "state"][level]
        del file[GROUPS[level]][key]
        LINKS[link](file[GROUPS[level]], key)
    assert not readable(lambda folder: read(folder, cache=False), tmp_path / "set")


ARRAYS: dict[str, Callable[[h5py.File], None]] = {
    "shared groups": _twice,
    "many arrays": lambda file: [
        file["episode_0/observations"].create_dataset(f"x{i}", (11, 2**20), "f4", chunks=(11, 2**10)) for i in range(40)
    ],
    "a chunk": lambda file: file["episode_0/observations"].create_dataset(
        "x", (11, 1), "f4", chunks=(2**14, 2**14), maxshape=(None, None)
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_claim_too_much_together(kind: str, tmp_path: Path, readable):
    minari(tmp_path / "set")
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "a") as file:
        ARRAYS[kind](file)
    assert not readable(lambda folder: read(folder, cache=False), tmp_path / "set")


def test_strings_are_left_out_unread(tmp_path: Path, readable):
    minari(tmp_path / "set")
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "a") as file:
        for name in ("episode_0", "episode_1", "episode_2"):
            rows = len(file[f"{name}/actions"]) + 1
            file[f"{name}/observations"].create_dataset("words", (rows,), h5py.string_dtype(), data=["x"] * rows)
    assert readable(lambda folder: read(folder, cache=False), tmp_path / "set")
    assert "words" not in read(tmp_path / "set", cache=False).keys


def test_tables_of_dino_wm_with_nonsense(tmp_path: Path, readable):
    published(tmp_path / "set")
    draw = random.Random(0)
    tensors = [torch.zeros(3, 6), torch.zeros(0), torch.zeros(3, 6, 2, dtype=torch.bool), torch.zeros(3, 0, 2), [1], {}]
    tensors += [torch.full((3, 6, 2), torch.nan), torch.zeros(4, 6, 2), torch.zeros(3, 6, 2).expand(3, 6, 2), 3]
    lengths = [[], [2, 2], ["a"] * 3, [2.5] * 3, [[2], [2], [2]], [None] * 3, 7, numpy.full(3, 2), [numpy.int64(2)] * 3]
    import pickle

    for _ in range(40):
        torch.save(
            draw.choice(tensors), tmp_path / "set" / draw.choice(["states.pth", "actions.pth", "velocities.pth"])
        )
        (tmp_path / "set" / "seq_lengths.pkl").write_bytes(pickle.dumps(draw.choice(lengths)))
        readable(lambda folder: read(folder, cache=False), tmp_path / "set")


def test_the_digest_is_what_the_file_says(tmp_path: Path):
    """The crafted plans above carry a true checksum, so that the check of fields is what refuses them."""
    assert _digest({"a": 1}, {}) == hashlib.sha256(json.dumps({"a": 1}, sort_keys=True).encode()).hexdigest()
