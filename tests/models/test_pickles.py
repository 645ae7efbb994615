"""Reading tensors from pickles: what is read, what is refused, and that no code of a file is run."""

import builtins
import functools
import os
import pickle
import sys
import zipfile
from collections import OrderedDict, defaultdict

import hypothesis.strategies as st
import numpy
import pytest
import torch
from foreign_dino_wm import Published
from hypothesis import given
from torch import nn

from grasp_planner import GraspPlannerError
from grasp_planner.io.torch_files import read_parts
from grasp_planner.models import load_dino_wm, load_jepa_wms, load_world_model


class Call:
    """An object that is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def rewritten(path, member, content):
    """Replace one member of a zip file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in members if name.endswith(member)]
    with zipfile.ZipFile(path, "w") as archive:
        for other, data in members.items():
            archive.writestr(other, content if other == name else data)


def test_tensors_of_every_kind_come_back(tmp_path):
    kinds = [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    ]
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {str(kind): base.to(kind) for kind in kinds}
    tensors |= {"strided": base[1:, ::2], "turned": base.mT, "number": torch.tensor(3.0), "empty": torch.zeros(0, 3)}
    torch.save({"weights": tensors, "epoch": 3}, tmp_path / "x.pth")
    (found,) = read_parts(tmp_path / "x.pth", ["weights", "missing"]).values()
    assert found.kind == "dict" and set(found.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(found.tensors[name], tensor, rtol=0, atol=0)


def test_a_module_is_read_as_its_state_dict(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ModuleList([nn.LayerNorm(3)]), nn.Dropout(0.1))
    module.register_buffer("kept", torch.ones(2))
    module.register_buffer("left_out", torch.ones(2), persistent=False)
    module.attribute = torch.ones(7)  # as DINO-WM keeps its mask
    torch.save({"net": module}, tmp_path / "x.pth")
    part = read_parts(tmp_path / "x.pth", ["net"])["net"]
    assert part.kind == "torch.nn.modules.container.Sequential"
    torch.testing.assert_close(part.tensors, dict(module.state_dict()), rtol=0, atol=0)


def test_what_stands_beside_the_weights_is_passed_over(tmp_path):
    module = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {
        "net": OrderedDict((f"module.{name}", value) for name, value in module.state_dict().items()),
        "opt": optimizer,
        "opt_state": optimizer.state_dict(),
        "metrics": defaultdict(list, loss=[1.0]),
        "best": numpy.float64(0.1),
        "array": numpy.ones(3),
        "partial": functools.partial(torch.zeros, 3),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "bytes": b"abc",
        "nothing": None,
    }
    torch.save(content, tmp_path / "x.pth")
    parts = read_parts(tmp_path / "x.pth", ["net", "nothing"])
    assert set(parts) == {"net"}
    torch.testing.assert_close(parts["net"].tensors, dict(module.state_dict()), rtol=0, atol=0)


ATTACKS = {
    "a call": lambda target: Call(os.system, f"touch {target}"),
    "eval": lambda target: Call(eval, f"open({str(target)!r}, 'w')"),
    "exec": lambda target: Call(exec, f"open({str(target)!r}, 'w')"),
    "import": lambda target: Call(builtins.__import__, "this"),
    "open": lambda target: Call(open, str(target), "w"),
    "in a list": lambda target: [1, [Call(os.mkdir, str(target))]],
    "as a key": lambda target: {Call(os.mkdir, str(target)): 1},
    "behind a stand-in": lambda target: functools.partial(os.mkdir, str(target)),
    "a method": lambda target: target.touch,
    "in a module": lambda target: _with_attribute(nn.Linear(2, 2), Call(os.mkdir, str(target))),
    "in a parameter's place": lambda target: OrderedDict(weight=Call(os.mkdir, str(target))),
    "by way of torch": lambda target: Call(torch.hub.load, str(target), "x", "local"),
    "by way of numpy": lambda target: Call(numpy.save, str(target), 1),
    "by way of pickle": lambda target: Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(target)))),
}
SILENT = ("a method", "by way of torch", "by way of numpy")  # checkpoints have these names, which become stand-ins


def _with_attribute(module, value):
    module.hook = value
    return module


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["predictor", "predictor_optimizer", "other"])
def test_nothing_in_a_file_is_run(tmp_path, attack, protocol, where):
    published, target = Published(), tmp_path / "run"
    folder = published.save(tmp_path / "model")
    path = folder / "checkpoints" / "model_latest.pth"
    content = {"predictor": 1, where: ATTACKS[attack](target)}
    torch.save(content, path, pickle_protocol=max(2, protocol))
    if protocol == 0:
        rewritten(path, "data.pkl", pickle.dumps(content, protocol=0))
    for read in (
        lambda: load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder),
        lambda: load_world_model(folder, statistics="published", allow_pickle=True),
    ):
        with pytest.raises(GraspPlannerError) as caught:
            read()
        if attack not in SILENT:
            assert "refused" in str(caught.value) and "Nothing in the file was run" in str(caught.value)
    assert not target.exists() and "this" not in sys.modules


def test_a_file_cannot_change_what_reads_it(tmp_path):
    """Opcodes may set attributes on the object of a name. No such object is used again."""
    path = tmp_path / "x.pth"
    torch.save({}, path)
    for name in ("torch._utils\n_rebuild_parameter", "torch\nanything", "collections\nOrderedDict"):
        program = f"c{name}\n(N(dS'__new__'\nS'spoilt'\nsS'find_class'\nS'spoilt'\nstb.".encode()
        rewritten(path, "data.pkl", program)
        with pytest.raises(GraspPlannerError):
            read_parts(path, ["net"])
    torch.save({"net": nn.Linear(2, 2)}, path)
    assert set(read_parts(path, ["net"])["net"].tensors) == {"weight", "bias"}


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1, -30])
def test_truncated_files(tmp_path, keep):
    published = Published()
    folder = published.save(tmp_path / "model")
    path = folder / "checkpoints" / "model_latest.pth"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GraspPlannerError, match="truncated"):
        load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(GraspPlannerError, match="none at"):
        read_parts(path, ["net"])
    torch.save({"net": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(GraspPlannerError, match=r"since PyTorch 1\.6"):
        read_parts(path, ["net"])
    torch.save([1, 2], path)
    with pytest.raises(GraspPlannerError, match="must hold a dictionary, got list"):
        read_parts(path, ["net"])
    torch.save({"net": 3}, path)
    with pytest.raises(GraspPlannerError, match="'net' .* must be a module or a dictionary of tensors, got int"):
        read_parts(path, ["net"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(GraspPlannerError, match=r"needed one data\.pkl in it, found 0"):
        read_parts(path, ["net"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))
        archive.writestr("x/constants.pkl", pickle.dumps(()))
    with pytest.raises(GraspPlannerError, match="TorchScript"):
        read_parts(path, ["net"])


def test_numbers_that_are_not_there(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"net": {"w": torch.zeros(8)}}, path)
    rewritten(path, "data/0", b"\0" * 16)
    with pytest.raises(GraspPlannerError, match="cannot be read"):
        read_parts(path, ["net"])
    torch.save({"net": {"w": torch.zeros(8)}}, path)
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        program = archive.read(name)
    assert program.count(b"K\x08") == 2  # the storage's length, and the tensor's
    rewritten(path, "data.pkl", program[::-1].replace(b"\x08K", b"\x7fK", 1)[::-1])
    with pytest.raises(GraspPlannerError, match="reaches beyond its storage of 8"):
        read_parts(path, ["net"])


@given(st.data())
def test_a_damaged_file_gives_an_error_or_its_tensors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "x.pth"
    torch.save({"net": nn.Linear(3, 3)}, path)
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        program = bytearray(archive.read(name))
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    rewritten(path, "data.pkl", bytes(program))
    try:
        parts = read_parts(path, ["net"])
    except GraspPlannerError:
        return
    assert all(isinstance(value, torch.Tensor) for part in parts.values() for value in part.tensors.values())


def test_missing_entries_are_named(tmp_path):
    published = Published()
    folder = published.save(tmp_path / "model")
    torch.save({"epoch": 3, "decoder": nn.Linear(2, 2)}, folder / "checkpoints" / "model_latest.pth")
    with pytest.raises(GraspPlannerError, match="must hold 'action_encoder'; it has none"):
        load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder)
    torch.save(
        {"predictor": nn.Linear(2, 2), "action_encoder": nn.Linear(2, 2)}, folder / "checkpoints/model_latest.pth"
    )
    with pytest.raises(GraspPlannerError, match=r"'action_encoder' .* is a torch.nn.modules.linear.Linear"):
        load_dino_wm(folder, "published", allow_pickle=True, encoder=published.encoder)
    with pytest.raises(GraspPlannerError, match="none at .*model_7.pth"):
        load_dino_wm(folder, "published", allow_pickle=True, epoch=7, encoder=published.encoder)


def test_weights_of_another_network_are_refused(tmp_path):
    published = Published()
    published.predictor.transformer.layers[1][1].net[1] = nn.Linear(21, 17)
    with pytest.raises(GraspPlannerError, match="does not hold DINO-WM's predictor: "):
        load_dino_wm(published.save(tmp_path / "m"), "published", allow_pickle=True, encoder=published.encoder)
    published = Published()
    published.predictor.pos_embedding.data[0, 0, 0] = torch.nan
    with pytest.raises(GraspPlannerError, match="pos_embedding holds NaN"):
        load_dino_wm(published.save(tmp_path / "n"), "published", allow_pickle=True, encoder=published.encoder)


def test_jepa_wms_files_are_read_in_the_same_way(tmp_path):
    target = tmp_path / "run"
    torch.save({"predictor": Call(os.mkdir, str(target))}, tmp_path / "x.pth.tar")
    settings = """
model_kwargs:
  pretrain_kwargs:
    tubelet_size_enc: 1
    visual_encoder: {enc_type: dino}
    predictor: {pred_type: dino_wm}
"""
    (tmp_path / "x.yaml").write_text(settings)
    for read in (
        lambda: load_jepa_wms(tmp_path / "x.pth.tar", tmp_path / "x.yaml", "published"),
        lambda: load_world_model(tmp_path, statistics="published"),
    ):
        with pytest.raises(GraspPlannerError, match=r"refused .*(nt|posix)\.mkdir"):
            read()
    assert not target.exists()
