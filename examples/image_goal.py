"""An image as the goal.

The example plans from one picture to another picture.
A `WorldModel` has a method `encode`, which turns pictures into states.
The planner works with the states, and never sees a picture.
Encoder and dynamics are trained together on random moves of a dot; positions are never used as labels.

    python examples/image_goal.py

```text
all checks passed
pictures (4, 1, 16, 16) become states (4, 1, 2)
all 4 dots end within 2 pixels of the dot in the goal picture
```

`Problem.observed` encodes observations and goals.
An `Agent` takes the same world model for closed-loop control: see `examples/robot_loop.py`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grasp_planner import Problem, check_world_model, plan

SIDE = 16


def picture(position: Tensor) -> Tensor:
    """Draw dots at positions (..., 2) in pixels: (..., SIDE, SIDE) between 0 and 1."""
    grid = torch.arange(SIDE)
    across = torch.exp(-(grid - position[..., :1]).square() / 8)
    down = torch.exp(-(grid - position[..., 1:]).square() / 8)
    return down[..., :, None] * across[..., None, :]


def move(position: Tensor, action: Tensor) -> Tensor:
    """The system, which the planner does not know: a dot that moves at most 2 pixels, and stops at the border."""
    return (position + 2 * torch.tanh(action)).clamp(3, SIDE - 4)


class DotModel(nn.Module):
    """A world model of pictures: a keypoint encoder, and dynamics in the space of the keypoint."""

    context, frameskip = 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.SiLU(), nn.Conv2d(4, 1, 1))
        self.dynamics = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))
        self.inverse = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))
        self.low, self.high, self.scale = -torch.ones(2), torch.ones(2), torch.ones(2)

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:  # (b, h, SIDE, SIDE) -> (b, h, 2)
        pictures = observations["pixels"]
        heat = self.filters(pictures.flatten(0, 1)[:, None])[:, 0]
        weights = heat.flatten(1).softmax(1).unflatten(1, (SIDE, SIDE))
        grid = torch.linspace(-2, 2, SIDE)
        place = torch.stack([weights.sum(1) @ grid, weights.sum(2) @ grid], dim=1)
        return place.unflatten(0, pictures.shape[:2])

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:  # (n, 1, 2), (n, 1, 2) -> (n, 2)
        state, action = states[:, -1], actions[:, -1]
        return state + 0.2 * self.dynamics(torch.cat([state, action], dim=1))


torch.manual_seed(0)
model = DotModel()
optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(400):
    position, action = 3 + (SIDE - 7) * torch.rand(64, 2), 2 * torch.rand(64, 2) - 1
    both = model.encode({"pixels": picture(torch.stack([position, move(position, action)], dim=1))})
    before, after = both.unbind(1)
    predicted = model(before[:, None], action[:, None])
    guessed = model.inverse(torch.cat([before, 10 * (after - before)], dim=1))
    # The second term keeps the states from collapsing: the action must be readable from two states.
    loss = 25 * (predicted - after).square().mean() + (guessed - action).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

here, there = torch.tensor([4.0, 4.0]).expand(4, 2), 4 + 8 * torch.rand(4, 2)
seen, wanted = {"pixels": picture(here)[:, None]}, {"pixels": picture(there)[:, None]}
report = check_world_model(model, seen)
print("all checks passed" if report.ok else report)
print("pictures", tuple(seen["pixels"].shape), "become states", tuple(model.encode(seen).shape))

found = plan(Problem.observed(model, seen, wanted, horizon=12))
for action in found.actions.unbind(1):
    here = move(here, action)
distance = (here - there).norm(dim=1)
close = bool((distance < 2).all())
print("all 4 dots end within 2 pixels of the dot in the goal picture" if close else distance)
