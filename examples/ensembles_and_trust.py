"""Ensembles, and when to trust a plan.

A model was trained on data from one region, and the shortest path leads through another region.
The example trains three models on the same data, and uses their disagreement in two ways:
`diagnose` says up to which step a plan can be trusted, and `Cautious` makes the planner avoid unknown regions.

    python examples/ensembles_and_trust.py

```text
plain plan: trusted to its end False, reaches the goal under the model True, in the system False
cautious plan: trusted to its end True, reaches the goal under the model True, in the system True
```

In the unknown region, a wind blows that no data show, so the plain plan fails in the system.
The trust law says so before the plan is executed.
`TrustLaw(step_error=..., factor=...)` should be measured on your data:
`benchmarks/trust_calibration.py` shows how.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grasp_planner import Budget, Problem, TrustLaw, diagnose, plan
from grasp_planner.core.objectives import Objective
from grasp_planner.models import Cautious, Ensemble
from grasp_planner.planners.recommended import recommended_for_any_cost

UNKNOWN = 0.5  # radius of the region around the origin that no data show


def system(position: Tensor, action: Tensor) -> Tensor:
    """A boat, and a wind in the unknown region."""
    inside = (position.norm(dim=1, keepdim=True) < UNKNOWN).float()
    return position + 0.2 * torch.tanh(action) + inside * torch.tensor([0.0, 0.3])


class Member(nn.Module):
    """One network as a world model; its states are positions.

    A fixed random function is added to the network. Training cancels it where there are data, so that members disagree
    where there are none (randomised prior functions, arXiv 1806.03335).
    """

    context, frameskip = 1, 1

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
        self.prior = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2)).requires_grad_(False)
        self.low, self.high, self.scale = -torch.ones(2), torch.ones(2), torch.ones(2)

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        return observations["position"]

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        position, action = 2 * states[:, -1], actions[:, -1]
        return states[:, -1] + self.network(torch.cat([position, action], dim=1)) + self.prior(2 * position)


def trained(seed: int, positions: Tensor, actions: Tensor, after: Tensor) -> Member:
    member = Member(seed)
    optimiser = torch.optim.Adam(member.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 400)
    for _ in range(400):
        rows = torch.randint(len(positions), (256,))
        loss = (member(positions[rows, None], actions[rows, None]) - after[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return member


torch.manual_seed(0)
positions = 3 * torch.rand(20_000, 2) - 1.5
positions = positions[positions.norm(dim=1) > UNKNOWN]
actions = 2 * torch.rand(len(positions), 2) - 1
ensemble = Ensemble([trained(seed, positions, actions, system(positions, actions)) for seed in (1, 2, 3)])

here, there = {"position": torch.tensor([[[-1.0, 0.05]]])}, {"position": torch.tensor([[[1.0, 0.05]]])}
plain: Objective = ensemble.goal_objective()
for name, objective in (("plain", plain), ("cautious", Cautious(plain, weight=5.0))):
    problem = Problem.observed(ensemble, here, there, horizon=20, objective=objective)
    found = plan(problem, recommended_for_any_cost(), Budget(steps=120))
    told = diagnose(problem, found, TrustLaw(step_error=0.005, tolerance=0.06))
    position = here["position"][:, 0]
    for action in found.actions.unbind(1):
        position = system(position, action)
    goal = there["position"][:, 0]
    believed, true = (bool((end - goal).norm() < 0.25) for end in (found.states[:, -1, :2], position))
    trusted = bool(told.trust == problem.horizon)
    print(
        f"{name} plan: trusted to its end {trusted}, reaches the goal under the model {believed}, in the system {true}"
    )
