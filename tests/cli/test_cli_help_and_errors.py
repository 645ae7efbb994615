"""Every command has fast help. Errors are one line with exit status 2, and leave no files behind."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grasp_planner import PLANNERS
from grasp_planner.bench.tasks import task
from grasp_planner.cli.main import COMMANDS, main
from grasp_planner.cli.parsing import described_fields
from grasp_planner.planners.presets import PRESETS


def outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command, and return its exit status, stdout and stderr."""
    try:
        status = main(arguments)
    except SystemExit as stopped:  # from tyro
        status = int(stopped.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_lists_every_command_and_needs_no_torch() -> None:
    script = (
        "import sys; from grasp_planner.cli.main import main; status = main(['--help']);"
        "assert status == 0; heavy = {'torch', 'tyro', 'gymnasium', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    took = time.perf_counter() - before
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert took < 10  # a second on an idle machine; torch alone takes several


def test_collecting_and_looking_at_data_need_no_torch() -> None:
    script = (
        "import sys; from grasp_planner.cli.commands import collect, data; import grasp_planner.data.collecting;"
        "import grasp_planner.data.preview; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [*COMMANDS, "data info", "data preview"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome([*command.split(), "--help"], capsys)
    assert status == 0 and out.startswith("usage: grasp data" if command == "data" else f"usage: grasp {command}")


def test_version_and_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    from grasp_planner import __version__

    assert outcome(["--version"], capsys)[:2] == (0, f"grasp-planner {__version__}\n")
    status, out, _ = outcome([], capsys)
    assert status == 2 and out.startswith("usage: grasp COMMAND")


def test_the_package_is_a_program() -> None:
    from grasp_planner import __version__

    command = [sys.executable, "-m", "grasp_planner"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"grasp-planner {__version__}\n"), done.stderr
    done = subprocess.run([*command, "demmo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("grasp: error: unknown command 'demmo'")


@pytest.mark.parametrize("name", list(PLANNERS))
def test_every_field_of_every_planner_is_a_flag_with_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(["plan", f"planner:{name.replace('_', '-')}", "--help"], capsys)
    assert status == 0
    explained, flat = described_fields(PLANNERS[name]), " ".join(out.replace("│", " ").split())
    for field in PLANNERS[name].__dataclass_fields__:
        flag = f"planner.{field.replace('_', '-')}"
        assert f"--{flag}" in out or f"{flag}:gd" in out
        assert " ".join(explained[field].split()[:3]) in flat


def test_a_planner_inside_a_planner_has_flags_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--planner.sync.lr" in outcome(["plan", "planner:grasp", "--help"], capsys)[1]
    out = outcome(["plan", "planner:grasp", "planner.sync:cem", "--help"], capsys)[1]
    assert "--planner.sync.samples" in out and "--planner.sync.lr" not in out
    assert "--planner.sync." not in outcome(["plan", "planner:grasp", "planner.sync:none", "--help"], capsys)[1]


def test_help_lists_every_planner_and_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(["plan", "--help"], capsys)
    for name in (*PLANNERS, *PRESETS):
        assert f"• planner:{name.replace('_', '-')}" in out
    _, out, _ = outcome(["plan", "planner:grasp", "--help"], capsys)
    assert "• planner.sync:cem" in out and "• planner.sync:none" in out and "• planner.sync:grasp" not in out


ERRORS = {
    "demmo": ["unknown command 'demmo'", "did you mean 'demo'"],
    "data inof": ["unknown command 'data inof'", "'data info'"],
    "plan planner:grsp": ["unknown planner 'grsp'", "did you mean 'grasp'"],
    "plan planner:grsp --planner.sync-every 5": ["unknown planner 'grsp'", "did you mean 'grasp'"],
    "plan planner:grasp planner.sync:ged": ["unknown planner inside GRASP 'ged'", "did you mean 'gd'"],
    "plan planner:grasp planner.sync:grasp": ["unknown planner inside GRASP 'grasp'", "gd"],
    "plan planner:grasp/papr": ["unknown planner 'grasp/papr'", "did you mean 'grasp/paper'"],
    "plan --planner cem": ["unknown option '--planner'", "write planner:cem", "grasp plan --help"],
    "plan planner:grasp --planner.sync=cem": ["unknown option '--planner.sync'", "write planner.sync:cem"],
    "plan planner:cem --planner.sync-every 5": ["unknown option '--planner.sync-every'", "grasp plan --help"],
    "plan planner:grasp --planner.sync-evry=5": ["unknown option '--planner.sync-evry'", "'--planner.sync-every'"],
    "plan --epsodes 5": ["unknown option '--epsodes'", "did you mean '--episodes'"],
    "plan push-t": ["unknown option 'push-t'", "grasp plan --help"],
    "plan --task push-tt": ["unknown task 'push-tt'", "push_t/dset"],
    "plan --task push-t/dst": ["unknown task", "did you mean 'push_t/dset/v2'"],
    "plan --model pusht-stat": ["unknown checkpoint 'pusht-stat'", "did you mean 'pusht-state'"],
    "plan --model no/such/folder": ["no folder no/such/folder"],
    "plan --model MODEL --task wall": ["does not fit the task wall/dset/v1", "'state'", "7", "wall-state"],
    "plan --model wall_state --task push-t": ["the model wall-state belongs to WallSingle-v1", "pusht-state"],
    "plan --model wall-state --task ball-nav": ["the model wall-state belongs to WallSingle-v1", "ball-nav"],
    "plan --model ball-nav --task wall": ["the model ball-nav belongs to BallNav-v1", "wall-state"],
    "plan --task wall --horizon 7": ["multiple of 5", "got 7"],
    "demo --model wall-state": ["the model wall-state belongs to WallSingle-v1", "pusht-state"],
    "diagnose path --task wall --model pusht-state": ["the model pusht-state belongs to PushT-v1", "wall-state"],
    "bench no/such.toml": ["there is no suite file no/such.toml", "smoke"],
    "bench nosuch.toml": ["there is no suite file nosuch.toml", "smoke"],
    "bench smok": ["unknown suite 'smok'", "did you mean 'smoke'"],
    "plan --horizon 0": ["horizon", "got 0"],
    "bench missing.toml": ["no suite file missing.toml", "smoke"],
    "bench no/such/suite": ["no suite file no/such/suite", "smoke"],
    "diagnose --model MODEL --horizon 7": ["multiple of 5", "got 7"],
    "plan --model MODEL --horizon 7": ["multiple of 5", "got 7"],
    "plan --episodes 0": ["--episodes", "got 0"],
    "plan --episodes 2 --show 2": ["--show", "got 2"],
    "plan --steps -1": ["Budget.steps", "-1"],
    "plan planner:grasp --planner.sync-every 0": ["GRASP.sync_every", "got 0"],
    "plan planner:cem --planner.elites 999": ["CEM.elites", "999"],
    "plan planner:grasp planner.sync:cem --planner.sync.momentum 1": ["CEM.momentum", "1.0"],
    "plan --threads 0": ["--threads", "got 0"],
    "plan --memory 0": ["--memory", "got 0"],
    "plan --device teapot": ["no device 'teapot'"],
    "demo --show 10": ["--show", "got 10"],
    "demo --model pusht-stat": ["did you mean 'pusht-state'"],
    "demo --seconds -1": ["Budget.seconds", "-1"],
    "train pusht-stat --data d --out o": ["unknown recipe 'pusht-stat'", "did you mean 'pusht-state'"],
    "train pusht-state --data nowhere --out o": ["nowhere"],
    "train pusht-state --data nowhere --out o --steps 0": ["steps >= 1"],
    "train pusht-state --data nowhere --out o --devices 0": ["--devices", "got 0"],
    "collect wal --episodes 1 --out o": ["unknown environment 'wal'", "WallSingle-v1"],
    "collect wall --episodes 0 --out o": ["episodes >= 1", "got 0"],
    "collect wall --episodes 1 --out o --pixels 65": ["pixels", "65"],
    "data info nowhere": ["nowhere"],
    "data preview nowhere": ["nowhere"],
    "data preview nowhere --out sheet.jpg": [".png", "sheet.jpg"],
    "check pusht-stat": ["did you mean 'pusht-state'"],
}


@pytest.mark.parametrize("words", list(ERRORS))
def test_errors_are_one_line_and_leave_nothing(
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = request.getfixturevalue("model_folder") if "MODEL" in words else ""
    status, _, err = outcome(words.replace("MODEL", str(model)).split(), capsys)
    said = [line for line in err.splitlines() if line.startswith("grasp: error: ")]
    assert status == 2 and len(said) == 1 and err.rstrip().endswith(said[0]), err
    for expected in ERRORS[words]:
        assert expected in said[0]
    assert not list(tmp_path.iterdir())
    if "horizon" in words:
        assert err.rstrip() == said[0]  # no progress bar before it


@pytest.mark.parametrize("command", ["plan", "diagnose"])
def test_a_horizon_that_the_model_cannot_have_is_refused_before_a_progress_bar_shows(
    command: str, model_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [command, "--model", str(model_folder), "--horizon", "7", "--out", str(tmp_path / "o")]
    status, out, err = outcome(words, capsys)
    assert status == 2 and not out and len(err.splitlines()) == 1 and "multiple of 5" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize(
    "words", ["plan", "diagnose", "check pusht-state", "train pusht-state --data nowhere --out OUT"]
)
def test_cuda_that_is_not_there_is_said_to_be_missing(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, _, err = outcome([*words.replace("OUT", str(tmp_path)).split(), "--device", "cuda"], capsys)
    assert status == 2 and "PyTorch finds no CUDA GPU on this machine" in err and err.endswith("give --device cpu\n")


@pytest.mark.parametrize(
    "words",
    [
        "plan --plannerr gd",
        "plan --planner.sync-evry 5",
        "plan --steps many",
        "demo --animation avi",
        "collect",
        "check",
    ],
)
def test_words_that_do_not_parse_end_with_status_2(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = outcome(words.split(), capsys)
    assert status == 2 and not out and "grasp" in err and not list(tmp_path.iterdir())


UNWRITABLE = {
    "plan": "plan --out {} --steps 0",
    "tune": "tune --out {} --steps 0",
    "demo": "demo --out {}",
    "train": "train pusht-state --data nowhere --out {}",
    "collect": "collect wall --episodes 1 --out {}",
    "preview": "data preview nowhere --out {}/sheet.png",
}


@pytest.mark.parametrize("command", list(UNWRITABLE))
def test_an_unwritable_folder_is_noticed_before_any_work(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("work was begun")

    for place in (
        "grasp_planner.cli.commands.plan.named_model",
        "grasp_planner.cli.commands.tune.named_model",
        "grasp_planner.cli.commands.demo.load_world_model",
        "grasp_planner.cli.commands.train.train",
        "grasp_planner.data.collecting.collect",
        "grasp_planner.data.preview.contact_sheet",
    ):
        monkeypatch.setattr(place, work)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    for folder in (blocked, blocked / "inside"):
        status, _, err = outcome(UNWRITABLE[command].format(folder).split(), capsys)
        assert status == 2 and "can be written" in err and str(blocked) in err and len(err.splitlines()) == 1
    assert blocked.read_text() == "not a folder" and list(tmp_path.iterdir()) == [blocked]


def test_a_missing_package_is_answered_with_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from grasp_planner.cli import main as program

    monkeypatch.setattr(program, "find_spec", lambda name: None if name == "tyro" else object())
    status, _, err = outcome(["plan"], capsys)
    assert status == 2 and "pip install 'grasp-planner[cli]'" in err


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from grasp_planner.cli.commands import check

    def run(arguments: object) -> int:
        raise OSError(28, "No space left on device", "/there/file")

    monkeypatch.setattr(check, "run", run)
    assert outcome(["check"], capsys) == (2, "", "grasp: error: /there/file: No space left on device\n")


def test_ctrl_c_outside_planning_ends_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grasp_planner.data.collecting.collect", stopped)
    status, _, err = outcome(["collect", "wall", "--episodes", "1", "--out", str(tmp_path / "o")], capsys)
    assert status == 130 and "continue where it stopped" in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "spelling", ["push-t", "push_t", "PushT", "push-t/dset", "push_t/dset/v2", "pusht/v2", "PushT-v2", "PUSH_T"]
)
def test_tasks_by_any_spelling(spelling: str) -> None:
    assert task(spelling).name == "push_t/dset/v2"
    assert task(f"{spelling.removesuffix('v2').rstrip('/-')}/v1").name == "push_t/dset/v1"
    assert task("wall/random-state", 40).horizon == 40


def test_the_last_value_of_a_flag_counts() -> None:
    from grasp_planner.cli.commands.plan import parsed

    words = ["planner:gd", "--planner.lr", "1", "--task", "wall", "--planner.lr=2"]
    assert parsed(words).planner.lr == 2.0 and parsed(words).task == "wall"


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_a_name(name: str) -> None:
    from grasp_planner.cli.commands.plan import parsed

    assert parsed([f"planner:{name}"]).planner == PRESETS[name]


def test_words_build_the_planner_that_they_name() -> None:
    from grasp_planner import CEM, GD, GRASP, LatCo, RandomShooting, recommended
    from grasp_planner.cli.commands.plan import parsed

    words = "planner:grasp --planner.sync-every 50 --planner.no-stop-gradient --planner.sync.lr 0.3"
    assert parsed(words.split()).planner == GRASP(sync_every=50, stop_gradient=False, sync=GD(lr=0.3))
    words = "planner:grasp planner.sync:cem --planner.sync.samples 64 --planner.sync.elites 8 --planner.gap-std 1"
    assert parsed(words.split()).planner == GRASP(sync=CEM(samples=64, elites=8), gap_std=1.0)
    assert parsed(["planner:grasp", "planner.sync:none"]).planner == GRASP(sync=None)
    assert parsed(["planner:random-shooting"]).planner == RandomShooting()
    assert parsed(["planner:random_shooting"]).planner == RandomShooting()
    assert parsed([]).planner == parsed(["planner:recommended"]).planner == recommended()
    words = "planner:latco/paper --planner.damping 0.1"
    assert parsed(words.split()).planner == LatCo(
        method="gauss_newton", damping=0.1, dual_every=1, dual_rate=0.1, threshold=1e-4
    )


def test_words_build_planners_around_planners() -> None:
    from grasp_planner import CEM, GD, GRASP, GaussNewton, MultiStart, Sequential, recommended
    from grasp_planner.cli.commands.plan import parsed

    words = "planner:multi-start --planner.starts 4 planner.planner:cem --planner.planner.samples 50"
    assert parsed(words.split()).planner == MultiStart(CEM(samples=50), starts=4)
    words = "planner:sequential planner.first:multi-start planner.first.planner:grasp planner.first.planner.sync:cem "
    words += "planner.second:gd --planner.share 0.2 --planner.first.start-std 0.5 --planner.first.planner.sync-every 9 "
    words += "--planner.first.planner.sync.elites 5 --planner.second.lr 0.3"
    first = MultiStart(GRASP(sync=CEM(elites=5), sync_every=9), start_std=0.5)
    assert parsed(words.split()).planner == Sequential(first, GD(lr=0.3), share=0.2)
    found = parsed("planner:grasp/push-t --planner.starts 2 planner.planner:cem".split()).planner
    assert found == MultiStart(CEM(), starts=2, start_std=1.0)
    advised = recommended()
    assert isinstance(advised, MultiStart) and isinstance(advised.planner, GaussNewton)
    changed = replace(advised, planner=replace(advised.planner, damping=0.5))
    assert parsed(["--planner.planner.damping", "0.5"]).planner == changed


def test_a_planner_inside_itself_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(["plan", "planner:multi-start", "planner.planner:grasp", "--help"], capsys)
    assert "• planner.planner.sync:gd" in out and "• planner.planner.sync:multi-start" not in out
    for words in ("planner:multi-start", "planner:multi-start planner.planner:multi-start"):
        status, _, err = outcome(["plan", *words.split()], capsys)
        assert status == 2 and "planner.planner:grasp" in err


def test_recipes_are_named_and_changed_by_flags() -> None:
    from grasp_planner.cli.commands.train import parsed
    from grasp_planner.training import RECIPES, Phase

    words = "wall-state --data one two --out o --steps 30 --phases.1.batch 8 --model.width 64 --symmetry None"
    found, base = parsed(words.split()), RECIPES["wall-state"]
    phases = (base.phases[0], Phase(0.5, 5, 8))
    assert found.recipe == replace(base, steps=30, phases=phases, model=replace(base.model, width=64))
    assert found.data == (Path("one"), Path("two")) and not found.resume
    for name in RECIPES:
        assert parsed([name, "--data", "d", "--out", "o"]).recipe == RECIPES[name]
