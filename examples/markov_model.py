"""A PyTorch model of your own.

The example trains a network on transitions of an unknown system, plans in the network,
and executes the plan in the system.
The state holds everything that the next state depends on, so the model is a function of one state and one action:
`Markov` turns such a function into a model for the planners.

    python examples/markov_model.py

```text
the network's error in one step: below 0.01
under the model: all 8 problems reach their goals
in the system: all 8 problems end within 0.4 of their goals
```

Under the model, the plan ends at the goal almost exactly.
In the system, the errors of the model add up over 12 steps, so the plan ends near the goal.
To reach the goal more exactly, replan on the way: see `examples/robot_loop.py`.
"""

import torch
from torch import Tensor, nn

from grasp_planner import Budget, Markov, Problem, plan


def system(state: Tensor, action: Tensor) -> Tensor:
    """The system, which the planner does not know: a mass with friction. State (x, y, vx, vy), action (2,)."""
    position, velocity = state[:, :2], state[:, 2:]
    velocity = 0.8 * velocity + 0.2 * torch.tanh(action)
    return torch.cat([position + velocity, velocity], dim=1)


torch.manual_seed(0)
states = torch.cat([torch.randn(20_000, 2), 0.5 * torch.randn(20_000, 2)], dim=1)
actions = 2 * torch.rand(20_000, 2) - 1
changes = system(states, actions) - states

network = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 4))
optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
for _ in range(1500):
    rows = torch.randint(len(states), (256,))
    loss = (network(torch.cat([states[rows], actions[rows]], dim=1)) - changes[rows]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
print("the network's error in one step:", "below 0.01" if loss.sqrt() < 0.01 else float(loss.sqrt()))

# From here on: the library. A goal is a position at rest.
model = Markov(lambda state, action: state + network(torch.cat([state, action], dim=1)))
start = torch.zeros(8, 4)
goal = torch.cat([2 * (2 * torch.rand(8, 2) - 1), torch.zeros(8, 2)], dim=1)
problem = Problem.between(model, start, goal, horizon=12, low=-torch.ones(2), high=torch.ones(2))
found = plan(problem, budget=Budget(steps=100))
print("under the model:", "all 8 problems reach their goals" if bool((found.cost < 1e-3).all()) else found.cost)

state = start
for action in found.actions.unbind(1):
    state = system(state, action)
distance = (state - goal)[:, :2].norm(dim=1)
print("in the system:", "all 8 problems end within 0.4 of their goals" if bool((distance < 0.4).all()) else distance)
