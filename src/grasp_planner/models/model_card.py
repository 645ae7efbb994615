"""Model cards for the Hugging Face Hub: the metadata of the Hub, and a card for a model that has none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from grasp_planner.core.world_model import WorldModel
from grasp_planner.io.broken_files import reading
from grasp_planner.io.text_files import read_json, read_text
from grasp_planner.io.typed_json import from_json
from grasp_planner.models.hub import CARD_FILE, SUMMARY_FILE

LIBRARY = "grasp-planner"
TAGS = ("world-model", "planning", "model-predictive-control")
MOST_CARD = 2**20
"""Largest size of a model card, in bytes."""
NEIGHBOUR = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)[^)\s]+\.md(?:#[^)\s]*)?\)")
"""A link to another page of the repository of the package, which the Hub does not have."""


def hub_card(folder: Path, model: WorldModel, repository: str, license: str | None) -> str:
    """Return the model card for the Hub: the card in the folder, or a new card, below metadata of the Hub.

    Metadata that the card has already are kept. Links to other pages of the documentation become plain text.

    Args:
        folder: the folder of the model. ``README.md`` is its card; ``training.json`` describes its training.
        model: the model in the folder.
        repository: ``"owner/name"``, for the title and the example.
        license: licence as the Hub spells it, such as ``"mit"``; ``None``: the licence in the card's metadata, if any.

    Raises:
        GraspPlannerError: the card or ``training.json`` cannot be read.
    """
    from huggingface_hub import ModelCard, ModelCardData

    metadata: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": "reinforcement-learning", "tags": list(TAGS)}
    path = folder / CARD_FILE
    if path.is_file():
        with reading(path, "model card"):
            text = read_text(path, MOST_CARD).lstrip()
            if text.startswith("---"):
                card = ModelCard(text)
                metadata, text = metadata | card.data.to_dict(), card.text
        text = NEIGHBOUR.sub(r"\1", text.lstrip())
    else:
        text = new_card(folder, model, repository)
    if license is not None:
        metadata["license"] = license
    return f"---\n{ModelCardData(**metadata).to_yaml()}\n---\n\n{text}"


def new_card(folder: Path, model: WorldModel, repository: str) -> str:
    """Return a card with the use, the sizes, the held-out errors and the training of a model, without metadata.

    Raises:
        GraspPlannerError: ``training.json`` is not as ``grasp train`` writes it.
    """
    parameters = sum(one.numel() for one in model.parameters()) if isinstance(model, nn.Module) else 0
    actions = f"{len(model.low)}: {model.frameskip} environment actions of {len(model.low) // model.frameskip} numbers"
    parts = [
        f"# {repository.partition('/')[2]}",
        f"A world model for planning with {LIBRARY}, of the class `{type(model).__name__}`.",
        "```python\nfrom grasp_planner import load_world_model\n\n"
        f'model = load_world_model("{repository}")  # pip install "{LIBRARY}[hub]"\n```',
        _table(
            ("", "size"),
            [
                ("latent", len(model.scale)),
                ("action", actions),
                ("context, model steps", model.context),
                ("parameters", f"{parameters:,}"),
            ],
        ),
    ]
    if (folder / SUMMARY_FILE).is_file():
        parts += _measured(_read_summary(folder / SUMMARY_FILE))
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Summary:
    """The entries of ``training.json`` that a card shows."""

    errors: dict[str, dict[str, dict[str, float]]]
    steps: int
    seconds: float
    seed: int
    episodes: int
    held_out_episodes: int
    environment_steps: int
    collected_by: Any = None


def _read_summary(path: Path) -> _Summary:
    content = read_json(path)
    merged: dict[str, Any] = {}
    for part in (content.get("data"), content.get("recipe"), content):  # `steps` are those of the training
        merged |= part if isinstance(part, Mapping) else {}
    shown = {one.name: merged[one.name] for one in fields(_Summary) if one.name in merged}
    return from_json(_Summary, shown, f"{path} is not as `grasp train` writes it: correct it, or write a {CARD_FILE}")


def _measured(summary: _Summary) -> list[str]:
    """Return the sections about the held-out errors and the training."""
    horizons = sorted({horizon for errors in summary.errors.values() for horizon in errors}, key=lambda name: int(name))
    rows = [(horizon, *(_cell(errors.get(horizon, {})) for errors in summary.errors.values())) for horizon in horizons]
    recipe = summary.collected_by
    environment = f" of `{recipe['environment']}`" if isinstance(recipe, Mapping) and "environment" in recipe else ""
    data = f"{summary.environment_steps:,} environment steps ({summary.episodes:,} episodes){environment}"
    return [
        "## Open-loop errors",
        "The model is fed its own predictions on held-out episodes. Cells are mean / median / 90 % quantile.",
        _table(("environment steps", *summary.errors), rows),
        "## How this model was made",
        _table(
            ("", ""),
            [
                ("data", f"{data}; {summary.held_out_episodes:,} more episodes are held out"),
                ("training", f"seed {summary.seed}, {summary.steps:,} optimiser steps"),
                ("time", f"{summary.seconds:,.0f} s of wall-clock time"),
                ("settings, versions", f"`{SUMMARY_FILE}`"),
            ],
        ),
    ]


def _cell(statistics: Mapping[str, float]) -> str:
    return " / ".join(f"{statistics[name]:.3g}" for name in ("mean", "median", "p90") if name in statistics) or "-"


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
