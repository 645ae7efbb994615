"""Check the built distributions: `make wheel` builds them into out/dist and runs this program.

    python tests/distributions.py out/dist

The wheel must hold every file of the package, its version must be the version of every other place, and it must work in
a new virtual environment: alone, and beside the packages of this environment, of which it must need no other version.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

import grasp_planner

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "grasp_planner"

# Without torch and numpy, the package and its program start. What needs torch says so.
ALONE = """
import grasp_planner
assert grasp_planner.__version__ == "{version}" and "{folder}" in grasp_planner.__file__, grasp_planner.__file__
try:
    grasp_planner.plan
except ModuleNotFoundError as error:
    assert error.name in ("torch", "numpy", "jaxtyping"), error
else:
    raise AssertionError("this environment is not clean: torch was found")
"""
# Beside torch, every public name is there, and every packaged model is loaded.
BESIDE_TORCH = """
import grasp_planner
assert "{folder}" in grasp_planner.__file__, grasp_planner.__file__
for name in grasp_planner.__all__:
    getattr(grasp_planner, name)
from grasp_planner.models import checkpoints, load_world_model
assert len(checkpoints()) == {checkpoints}, checkpoints()
for name in checkpoints():
    load_world_model(name)
"""


def versions() -> dict[str, str]:
    """Return the version of the package, by the place where it is written."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    changed = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited and changed, "CITATION.cff and CHANGELOG.md name a version"
    return {
        "pyproject.toml": project["version"],
        "src/grasp_planner/__init__.py": grasp_planner.__version__,
        "CITATION.cff": cited[1],
        "the first heading of CHANGELOG.md": changed[1],
    }


def check_contents(wheel: Path, source: Path) -> None:
    """Check that both distributions hold every file of the package, and the wheel nothing else."""
    expected = {
        f"grasp_planner/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected, f"missing {expected - packed}, unknown {packed - expected}"
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    others = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "constraints.txt"}
    missing = ({f"src/{name}" for name in expected} | others) - names
    assert not missing, f"missing in {source.name}: {missing}"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an empty folder."""
    named = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, cwd=folder, env=named, capture_output=True, text=True, check=False)


def succeed(*command: str | Path, **environment: str) -> str:
    """Run a program, which must end with status 0, and return its output."""
    done = run(*command, **environment)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def check_installed(wheel: Path, version: str) -> None:
    """Install the wheel without its dependencies into a new environment, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        binaries = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        python = binaries / "python"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        succeed(*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
        said = {"folder": folder, "version": version, "checkpoints": len(list(PACKAGE.glob("models/checkpoints/*/")))}
        succeed(python, "-c", ALONE.format(**said))
        assert succeed(binaries / "grasp", "--version").strip() == f"grasp-planner {version}"
        refused = run(binaries / "grasp", "plan")
        assert refused.returncode == 2 and "pip install 'grasp-planner[cli]'" in refused.stderr, refused.stderr
        succeed(python, "-c", BESIDE_TORCH.format(**said), PYTHONPATH=sysconfig.get_path("purelib"))


def check_requirements(wheel: Path) -> None:
    """Check that the packages of this environment satisfy the wheel with all extras, so that none is replaced."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    planned = succeed(*pip, "install", "--dry-run", "--no-index", f"{wheel}[all]")
    (line,) = [line for line in planned.splitlines() if line.startswith("Would install")]
    assert re.fullmatch(r"Would install grasp[-_]planner-\S+", line), line


def main(folder: Path) -> int:
    """Check the distributions in a folder, and return the exit status: 0 if they can be published."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    found = versions()
    assert len(set(found.values())) == 1, f"different versions: {found}"
    version = grasp_planner.__version__
    assert wheel.name.startswith(f"grasp_planner-{version}-py3-none-any"), wheel.name
    check_contents(wheel, source)
    check_installed(wheel.resolve(), version)
    check_requirements(wheel.resolve())
    print(f"{wheel.name} and {source.name} are complete and can be installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
