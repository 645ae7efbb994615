"""How precisely a small network reads Push-T's block from the principal components of a pretrained encoder.

    python benchmarks/patch_probe.py --data data/push_t --frames 12000 --encoder-pixels 64 --strides 8 --patch 16

prints the mean and median errors of pusher, block and angle on frames of held-out episodes.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.nn import functional

from grasp_planner.data import Episodes, read, split
from grasp_planner.models import PatchModelConfig
from grasp_planner.models.latent.components import Components
from grasp_planner.models.latent.patch_encoder import pretrained_network
from grasp_planner.models.latent.probe import StateProbe
from grasp_planner.training.state_learner import push_t_errors

AT_ONCE, BATCH = 32, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--frames", type=int, default=12_000)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--encoder-pixels", type=int, default=64)
    parser.add_argument("--strides", type=int, nargs="*", default=[8])
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--components", type=int, nargs="+", default=[32])
    parser.add_argument("--steps", type=int, default=4_000)
    asked = parser.parse_args()
    training, held_out = split(read(asked.data, keys=("pixels", "state")), 0.1, 0)
    sets = [frames(training, asked.frames, 0), frames(held_out, 2_000, 1)]
    config = PatchModelConfig(
        state_size=7,
        action_size=2,
        encoder=asked.encoder,
        strides=tuple(asked.strides),
        patch=asked.patch,
        pixels=sets[0][0].shape[1],
        encoder_pixels=asked.encoder_pixels,
        components=max(asked.components),
    )
    encoder, pictures = pretrained_network(config).eval(), config.transform
    features = [encoded(encoder, pictures, pixels) for pixels, _ in sets]
    components = Components(config.patches, features[0].shape[-1], config.components)
    drawn = np.sort(np.random.default_rng(0).choice(len(features[0]), min(4096, len(features[0])), replace=False))
    explained = components.fit(features[0][drawn].float())
    print(f"{config.components} components explain {100 * explained:.0f} % of the variance", flush=True)
    for count in asked.components:
        inputs = [components(each.float())[..., :count].flatten(1) for each in features]
        read_states = fitted(inputs[0], sets[0][1], inputs[1], asked.steps)
        errors = push_t_errors(read_states, sets[1][1])
        shown = ", ".join(f"{name} {e.mean():.2f} (median {e.median():.2f})" for name, e in errors.items())
        print(f"{config.encoder} {config.encoder_pixels} px, {config.patches} patches x {count}: {shown}", flush=True)


def frames(episodes: Episodes, count: int, seed: int) -> tuple[np.ndarray, torch.Tensor]:
    """Draw pictures and states."""
    rows = episodes.observation_rows
    rows = np.sort(np.random.default_rng(seed).choice(rows, min(count, len(rows)), replace=False))
    return episodes.array("pixels")[rows], torch.from_numpy(episodes.array("state")[rows]).float()


@torch.no_grad()
def encoded(encoder, pictures, pixels: np.ndarray) -> torch.Tensor:
    """Encode pictures, as float16."""
    parts = [torch.from_numpy(pixels[i : i + AT_ONCE])[:, None] for i in range(0, len(pixels), AT_ONCE)]
    return torch.cat([encoder(pictures(part, torch.zeros(()))).half() for part in parts])


def fitted(inputs: torch.Tensor, states: torch.Tensor, others: torch.Tensor, steps: int) -> torch.Tensor:
    """Fit a probe, and read the states of other inputs."""
    torch.manual_seed(0)
    probe = StateProbe(inputs.shape[1], states.shape[1], (4,), width=256)
    probe.fit(states)
    targets = probe.features(states)
    optimiser = torch.optim.AdamW(probe.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,))
        loss = functional.smooth_l1_loss(probe.read(inputs[rows]), targets[rows], beta=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return probe(others)


if __name__ == "__main__":
    main()
