"""A reward instead of a goal.

The example plans for a sum of rewards: a car drives up one of two hills, and driving costs fuel.
An objective is any object with the methods `terminal` and `stage`. A reward is a cost with a minus sign.
The goal of the problem is not used, so any numbers can stand there.

    python examples/reward.py

```text
planner: Sequential
the plan earns more than not moving: True
the plan ends on the higher hill: True
```

Without an argument, `plan` chooses a planner for differentiable costs of any form,
because the recommended planner needs a sum of squares.
States come in units of `scale`; with `scale=torch.ones(...)` the objective sees the state's own units.
Planning stops when the budget is spent, since the least possible cost is unknown;
set `tolerance` of a planner to stop earlier.
"""

import torch
from torch import Tensor

from grasp_planner import Markov, Problem, plan


class Hills:
    """A high hill at x = 3, a low hill at x = -2, and the price of fuel."""

    def height(self, states: Tensor) -> Tensor:
        x = states[..., 0]
        return torch.exp(-(x - 3).square()) + 0.5 * torch.exp(-(x + 2).square())

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:  # (..., s), (..., s) -> (...)
        return -10 * self.height(states)

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        return 0.01 * actions.square().sum(-1) - self.height(states)


def car(state: Tensor, action: Tensor) -> Tensor:
    """A car with state (x, v)."""
    velocity = 0.9 * state[:, 1:] + 0.1 * action
    return torch.cat([state[:, :1] + velocity, velocity], dim=1)


start = torch.zeros(1, 2)
problem = Problem.between(
    Markov(car),
    start,
    goal=start,
    horizon=25,
    low=-torch.ones(1),
    high=torch.ones(1),
    objective=Hills(),
    scale=torch.ones(2),
)
found = plan(problem)
idle = problem.cost(problem.rollout(torch.zeros(1, 25, 1)), torch.zeros(1, 25, 1))
print("planner:", type(found.warm_start.planner).__name__)
print("the plan earns more than not moving:", bool(found.cost < idle))
print("the plan ends on the higher hill:", bool(abs(found.states[0, -1, 0] - 3) < 0.5))
