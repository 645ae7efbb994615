"""An obstacle as a cost term.

The example adds the cost of a round obstacle to the distance to the goal.
The cost is 0 outside of the obstacle and grows smoothly towards its centre.
A stage cost counts at every step of the plan, so the whole path avoids the obstacle, and not only its end.

    python examples/obstacle.py

```text
without the obstacle's cost: reaches the goal True, stays outside of the obstacle False
with the obstacle's cost: reaches the goal True, stays outside of the obstacle True
```

A cost is a preference and not a guarantee:
check the states of the plan, as the example does, before you execute the plan.
The states of a plan are model steps apart. The margin must cover the distance that one step moves.
"""

import torch
from torch import Tensor

from grasp_planner import Budget, GoalDistance, Markov, Problem, plan
from grasp_planner.planners.recommended import recommended_for_any_cost

CENTRE, RADIUS, MARGIN = torch.tensor([0.5, 0.0]), 0.25, 0.1


class AroundObstacle:
    """The distance to the goal, plus the depth inside of the obstacle and its margin."""

    distance = GoalDistance(stage_weight=0.01)

    def depth(self, states: Tensor) -> Tensor:
        return torch.relu(RADIUS + MARGIN - (states - CENTRE + 1e-6).norm(dim=-1))

    def terminal(self, states: Tensor, goal: Tensor) -> Tensor:  # (..., s), (..., s) -> (...)
        return self.distance.terminal(states, goal) + 10 * self.depth(states)

    def stage(self, states: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        return self.distance.stage(states, actions, goal) + 10 * self.depth(states)


model = Markov(lambda state, action: state + 0.1 * torch.tanh(action))
start, goal = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
for name, objective in (("without", GoalDistance(stage_weight=0.01)), ("with", AroundObstacle())):
    problem = Problem.between(
        model,
        start,
        goal,
        horizon=20,
        low=-torch.ones(2),
        high=torch.ones(2),
        objective=objective,
        scale=torch.ones(2),  # the objective then sees positions in their own units
    )
    states = plan(problem, recommended_for_any_cost(), Budget(steps=150)).states[0]
    reached = bool((states[-1] - goal[0]).norm() < 0.05)
    outside = bool(((states - CENTRE).norm(dim=1) > RADIUS).all())
    print(f"{name} the obstacle's cost: reaches the goal {reached}, stays outside of the obstacle {outside}")
