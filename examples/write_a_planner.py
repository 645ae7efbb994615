"""A planner of your own.

The example writes a planner that searches over few knots in time, and interpolates the actions between them.
Knots make plans smooth, and reduce the number of variables: 6 knots instead of 60 actions.
A planner is a frozen dataclass with the methods `init`, `step` and `actions`.
`plan` has the clock, the budget, the best plan so far, and the status.

    python examples/write_a_planner.py

```text
KnotSearch is a planner: True
KnotSearch reaches the goal: 3 of 3
within the budget: True
the same plan again: True
MultiStart(KnotSearch) reaches the goal: 3 of 3
saved and loaded: True
```

`docs/writing_a_planner.md` has the rules for the three methods.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from grasp_planner import Budget, Markov, MultiStart, Planner, Problem, Scored, plan
from grasp_planner.control.saving import load_state, save_state
from grasp_planner.core.noise import Noise


class KnotState(NamedTuple):
    """The best knots of each problem, the actions between them, and their cost."""

    knots: Tensor  # (b, k, a)
    actions: Tensor  # (b, t, a)
    cost: Tensor  # (b,)
    std: Tensor  # (b,), the size of the next change


@dataclass(frozen=True)
class KnotSearch:
    """Change the knots at random; keep changes that help, and adapt their size (a (1+1) evolution strategy).

    Args:
        knots: number of knots in a plan.
        std: standard deviation of the first changes, in action units.
    """

    knots: int = 6
    std: float = 0.5

    def init(self, problem: Problem, actions: Tensor, noise: Noise) -> KnotState:
        knots = interpolate(actions.mT, self.knots, mode="linear", align_corners=True).mT
        cost = torch.full_like(actions[:, 0, 0], torch.inf)
        return KnotState(knots, self._between(problem, knots), cost, torch.full_like(cost, self.std))

    def step(self, problem: Problem, state: KnotState, noise: Noise) -> tuple[KnotState, Scored]:
        change = noise.normal(tuple(state.knots.shape[1:]), state.knots.dtype)
        knots = problem.clamp(state.knots + state.std[:, None, None] * change)
        actions = self._between(problem, knots)
        states = problem.rollout(actions)
        cost = problem.cost(states, actions)
        better = cost < state.cost
        rows = better[:, None, None]
        after = KnotState(
            torch.where(rows, knots, state.knots),
            torch.where(rows, actions, state.actions),
            torch.where(better, cost, state.cost),
            state.std * torch.where(better, 1.5, 0.9),
        )
        return after, Scored(actions, states, cost)

    def actions(self, state: KnotState) -> Tensor:
        return state.actions

    def _between(self, problem: Problem, knots: Tensor) -> Tensor:
        return interpolate(knots.mT, problem.horizon, mode="linear", align_corners=True).mT


model = Markov(lambda state, action: state + 0.05 * torch.tanh(action))
start, goal, bound = torch.zeros(3, 2), torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.2, -1.0]]), torch.ones(2)
problem = Problem.between(model, start, goal, horizon=60, low=-bound, high=bound)
budget = Budget(transitions=60 * 200)  # 200 rollouts for each problem

print("KnotSearch is a planner:", isinstance(KnotSearch(), Planner))
found = plan(problem, KnotSearch(), budget, seeds=7)
print("KnotSearch reaches the goal:", int((found.cost < 1e-2).sum()), "of 3")
print("within the budget:", found.transitions <= 60 * 200)
print("the same plan again:", torch.equal(plan(problem, KnotSearch(), budget, seeds=7).actions, found.actions))
many = plan(problem, MultiStart(KnotSearch(), starts=4), Budget(steps=150))
print("MultiStart(KnotSearch) reaches the goal:", int((many.cost < 1e-2).sum()), "of 3")
with tempfile.TemporaryDirectory() as folder:
    path = save_state(found.warm_start, Path(folder) / "mine.state")
    print("saved and loaded:", load_state(path, known=[KnotSearch, KnotState]).planner == KnotSearch())
