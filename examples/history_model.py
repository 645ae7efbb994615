"""A model with a history.

The example plans for a mass of which only the position is observed.
One position does not determine the next position, because the velocity is unknown. Two positions do.
The model therefore reads two states: it has the attribute `context = 2`,
and a problem begins with two observed positions and the action between them.

    python examples/history_model.py

```text
a model call: (5, 2, 2), (5, 2, 2) -> (5, 2)
all 5 problems end within 0.5 of their goals
the same model without the history: 0 of 5
```

The last line ignores the history: every prediction reads the newest position twice.
Such a model believes at every step that the mass is at rest.
"""

import torch
from torch import Tensor, nn

from grasp_planner import Plan, Problem, plan


def system(position: Tensor, velocity: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """The system, which the planner does not know. The velocity is not observed."""
    velocity = 0.8 * velocity + 0.2 * torch.tanh(action)
    return position + velocity, velocity


class WithHistory(nn.Module):
    """Predict the next position from two positions and two actions."""

    context = 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.network = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 2))

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:  # (n, 2, s), (n, 2, a) -> (n, s)
        moved = states[:, 1] - states[:, 0]
        inputs = torch.cat([moved, actions.flatten(1)], dim=1)
        return states[:, 1] + moved + self.linear(inputs) + self.network(inputs)


class WithoutHistory(nn.Module):
    """Replace the older position by the newer one."""

    context = 2

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.model(states[:, 1:].expand(-1, 2, -1), actions)


torch.manual_seed(0)
model = WithHistory()
optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1000)
for _ in range(1000):
    before, velocity = torch.randn(256, 2), 0.4 * torch.randn(256, 2)
    first, second = 2 * torch.rand(2, 256, 2) - 1
    now, velocity = system(before, velocity, first)
    after, _ = system(now, velocity, second)
    predicted = model(torch.stack([before, now], dim=1), torch.stack([first, second], dim=1))
    loss = 100 * (predicted - after).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()

before, velocity, first = torch.zeros(5, 2), torch.zeros(5, 2), torch.zeros(5, 2)
now, velocity = system(before, velocity, first)
goal = 3 * (2 * torch.rand(5, 2) - 1)
problem = Problem(
    model,
    states=torch.stack([before, now], dim=1),  # s_{-1}, s_0
    past_actions=first[:, None],  # a_{-1}
    goal=goal,
    horizon=12,
    low=-torch.ones(2),
    high=torch.ones(2),
)
windows = problem.states, torch.stack([first, first], dim=1)
print("a model call:", f"{tuple(windows[0].shape)}, {tuple(windows[1].shape)} -> {tuple(model(*windows).shape)}")


def close(found: Plan) -> int:
    """Execute a plan in the system, and count the problems that end near their goals."""
    position, speed = now, velocity
    for action in found.actions.unbind(1):
        position, speed = system(position, speed, action)
    return int(((position - goal).norm(dim=1) < 0.5).sum())


print("all 5" if close(plan(problem)) == 5 else "not all", "problems end within 0.5 of their goals")
print("the same model without the history:", close(plan(problem.through(WithoutHistory(model)))), "of 5")
