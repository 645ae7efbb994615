"""A goal for a part of the state.

The example gives a goal for the position of a mass, and leaves its velocity free.
`GoalDistance(weights=...)` has a weight for every coordinate of the state; a weight of 0 leaves a coordinate free.

    python examples/partial_goal.py

```text
goal for position and velocity: position reached True, at rest True
goal for the position only: position reached True, at rest False
```

The numbers of the goal at free coordinates do not matter.
For parts of different size, such as 384 visual numbers and 4 joint angles,
divide the weight of each part by its size.
"""

import torch
from torch import Tensor

from grasp_planner import GoalDistance, Markov, Problem, plan


def mass(state: Tensor, action: Tensor) -> Tensor:
    """A mass with state (x, y, vx, vy), pushed by an action of 2 numbers."""
    velocity = state[:, 2:] + 0.1 * action
    return torch.cat([state[:, :2] + 0.1 * velocity, velocity], dim=1)


start = torch.zeros(1, 4)
goal = torch.tensor([[1.0, 0.5, 0.0, 0.0]])
for name, weights in (("position and velocity", (1.0, 1.0, 1.0, 1.0)), ("the position only", (1.0, 1.0, 0.0, 0.0))):
    objective = GoalDistance(weights=weights)
    problem = Problem.between(
        Markov(mass), start, goal, horizon=30, low=-torch.ones(2), high=torch.ones(2), objective=objective
    )
    end = plan(problem).states[0, -1]
    reached, resting = bool((end - goal[0])[:2].norm() < 0.02), bool(end[2:].norm() < 0.02)
    print(f"goal for {name}: position reached {reached}, at rest {resting}")
