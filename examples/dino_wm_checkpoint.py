"""A checkpoint of DINO-WM.

The example loads a model that DINO-WM trained, plans in it from one picture to another picture,
and prints the actions in the environment's units.
Without an argument, the example makes a very small checkpoint with random weights, in DINO-WM's format.

    python examples/dino_wm_checkpoint.py                              # a small checkpoint with random weights
    python examples/dino_wm_checkpoint.py --folder outputs/pusht       # your own

```text
context 3, frameskip 5, latent of 65 numbers
plan: 5 model steps are 25 environment actions of 2 numbers
the plan is better than doing nothing: True
```

The folder holds `hydra.yaml` and `checkpoints/model_latest.pth`, as DINO-WM's training script writes them.
DINO-WM's own code is not needed.
`docs/adapters.md` explains the statistics, the consent to read a pickle, and where DINOv2's weights belong.
`load_jepa_wms` opens checkpoints of JEPA-WMs in the same way.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from grasp_planner import GD, Budget, Problem, plan
from grasp_planner.core.world_model import environment_actions
from grasp_planner.models import UseSettings, load_dino_wm

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, help="a folder with hydra.yaml and checkpoints/")
folder: Path | None = parser.parse_args().folder

use = UseSettings(alpha=1.0, history=1)  # goals include proprioception; a plan starts from one picture
if folder is None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "models"))
    # The checkpoint with which the tests check the loader.
    from foreign_dino_wm import SIDE, Published  # pyright: ignore[reportMissingImports]

    published = Published(concat=1, hist=3)
    with tempfile.TemporaryDirectory() as made:
        path = published.save(Path(made) / "pusht")
        model = load_dino_wm(path, "published", allow_pickle=True, encoder=published.encoder, use=use)
    side = SIDE
else:
    model = load_dino_wm(folder, "published", allow_pickle=True, use=use)
    side = 224
print(f"context {model.context}, frameskip {model.frameskip}, latent of {len(model.scale)} numbers")

torch.manual_seed(0)
pictures = torch.randint(0, 256, (2, 1, side, side, 3), dtype=torch.uint8)
proprio = torch.tensor([[[200.0, 250.0, 0.0, 0.0]], [[300.0, 300.0, 0.0, 0.0]]])
here = {"pixels": pictures[:1], "proprio": proprio[:1]}
there = {"pixels": pictures[1:], "proprio": proprio[1:]}
problem = Problem.observed(model, here, there, horizon=5)
found = plan(problem, GD(lr=0.1), Budget(steps=20))
actions = environment_actions(model, found.actions)[0].flatten(0, 1)
print(f"plan: {problem.horizon} model steps are {len(actions)} environment actions of {actions.shape[1]} numbers")
print("the plan is better than doing nothing:", bool(found.cost < found.trace.cost[0]))
