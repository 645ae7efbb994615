"""``grasp check``: does a model keep the promises that planners rely on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grasp_planner.cli.parsing import check_device, command_class, parse, settings_from
from grasp_planner.cli.tables import consoles

FAILED = 1


@dataclass(frozen=True)
class CheckSettings:
    """Check whether a model keeps the promises that planners rely on, and print what was found.

    Exit status 0: it keeps them all; 1: it does not; 2: it could not be opened.

    Args:
        model: a packaged name or a folder with config.json and model.safetensors.
        device: where the model runs.
        seed: of the random latents and actions that it is tried on.
    """

    model: str
    device: str = "cpu"
    seed: int = 0


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parsed: Any = parse(command_class(CheckSettings, positional=("model",)), arguments, "check")
    settings = settings_from(CheckSettings, parsed)
    console, _ = consoles()
    from rich.table import Table

    from grasp_planner.models.check import check_world_model
    from grasp_planner.models.registry import load_world_model

    check_device(settings.device)
    report = check_world_model(load_world_model(settings.model, device=settings.device), seed=settings.seed)
    table = Table("check", "", "what was seen")
    for check in report.checks:
        table.add_row(check.name, "ok" if check.passed else "[bold red]FAILED[/]", check.detail)
    console.print(table)
    failed = sum(not check.passed for check in report.checks)
    verdict = "keeps all promises" if report.ok else f"breaks {failed} of {len(report.checks)} promises"
    console.print(f"{settings.model} {verdict}")
    return 0 if report.ok else FAILED
