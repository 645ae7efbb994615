"""A reward instead of a goal.

The example plans for a sum of rewards: a car drives up one of two hills, and driving costs fuel.
`DiscountedReturn` makes an objective of a reward for every step and a value of the last state.
A problem with this objective has no goal.

    python examples/reward.py

```text
planner: Sequential
the plan earns more than not moving: True
the plan ends on the higher hill: True
```

Without an argument, `plan` chooses a planner for differentiable costs of any form,
because the recommended planner needs a sum of squares.
The reward and the value see states in the model's own units.
Planning stops when the budget is spent, since the least possible cost is unknown;
set `tolerance` of a planner to stop earlier.
"""

import torch
from torch import Tensor

from grasp_planner import DiscountedReturn, Markov, Problem, plan


def height(states: Tensor) -> Tensor:
    """The height at x: a high hill at x = 3 and a low hill at x = -2."""
    x = states[..., 0]
    return torch.exp(-(x - 3).square()) + 0.5 * torch.exp(-(x + 2).square())


def reward(states: Tensor, actions: Tensor) -> Tensor:  # (..., s), (..., a) -> (...)
    """The height at each step, less the price of fuel."""
    return height(states) - 0.01 * actions.square().sum(-1)


def value(states: Tensor) -> Tensor:  # (..., s) -> (...)
    """The height at the end counts ten times."""
    return 10 * height(states)


def car(state: Tensor, action: Tensor) -> Tensor:
    """A car with state (x, v)."""
    velocity = 0.9 * state[:, 1:] + 0.1 * action
    return torch.cat([state[:, :1] + velocity, velocity], dim=1)


problem = Problem.between(
    Markov(car),
    torch.zeros(1, 2),
    None,
    horizon=25,
    low=-torch.ones(1),
    high=torch.ones(1),
    objective=DiscountedReturn(reward, value, discount=1.0),
    scale=torch.ones(2),
)
found = plan(problem)
idle = problem.cost(problem.rollout(torch.zeros(1, 25, 1)), torch.zeros(1, 25, 1))
print("planner:", type(found.warm_start.planner).__name__)
print("the plan earns more than not moving:", bool(found.cost < idle))
print("the plan ends on the higher hill:", bool(abs(found.states[0, -1, 0] - 3) < 0.5))
