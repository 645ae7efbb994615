"""``grasp check``: test whether a model keeps the promises that planners rely on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from grasp_planner.cli.checks import check_device
from grasp_planner.cli.folders import write_json
from grasp_planner.cli.parsing import POSITIONAL, parse
from grasp_planner.cli.tables import consoles

FAILED = 1


@dataclass(frozen=True)
class CheckSettings:
    """Check whether a model keeps the promises that planners rely on, and print the results.

    The exit status is 0 if the model keeps all promises, 1 if it breaks some, and 2 if it cannot be loaded.

    Args:
        model: a packaged name, a folder with config.json and model.safetensors, or owner/name on the Hugging Face Hub.
        device: where the model runs.
        seed: seed of the random latents and actions that the model is tested on.
        out: JSON file for the results; None: no file.
    """

    model: Annotated[str, POSITIONAL]
    device: str = "cpu"
    seed: int = 0
    out: Path | None = None


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse(CheckSettings, arguments, "check")
    console, _ = consoles()
    from rich.table import Table

    from grasp_planner.models.check import check_world_model
    from grasp_planner.models.registry import load_world_model, model_name

    check_device(settings.device)
    name = model_name(settings.model)
    report = check_world_model(load_world_model(settings.model, device=settings.device), seed=settings.seed)
    table = Table("check", "result", "observed")
    for check in report.checks:
        table.add_row(check.name, "ok" if check.passed else "[bold red]FAILED[/]", check.detail)
    console.print(table)
    failed = sum(not check.passed for check in report.checks)
    verdict = "keeps all promises" if report.ok else f"breaks {failed} of {len(report.checks)} promises"
    console.print(f"{name} {verdict}")
    if settings.out is not None:
        checks = [asdict(check) for check in report.checks]
        write_json(settings.out, {"schema": 1, "model": name, "ok": report.ok, "checks": checks})
        console.print(f"written to {settings.out}")
    return 0 if report.ok else FAILED
