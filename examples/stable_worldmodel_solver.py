"""A planner as a solver of stable-worldmodel.

The example uses a planner of this package as a solver of stable-worldmodel.
`WorldModelSolver` has the methods of stable-worldmodel's solvers, so its `WorldModelPolicy` and `World` call it as they
call their own solvers. The example makes the same calls on one batch of two environments.

    pip install stable-worldmodel
    python examples/stable_worldmodel_solver.py

```text
the solver plans for 2 environments: actions (2, 5, 10)
all actions are within the bounds: True
the goals are reached under the model: True
```

The example also runs without the package, with a stand-in for its `PlanConfig`.

To plan in a model of stable-worldmodel, pass `cost=load_pretrained("user/lewm-pusht")` in place of `model=`.
`docs/adapters.md` shows the whole evaluation, with `WorldModelPolicy(solver, config, process, transform)`.
"""

from importlib.util import find_spec
from types import SimpleNamespace

import numpy
import torch

from grasp_planner import Budget, load_world_model, recommended
from grasp_planner.models.stable_worldmodel.solver import WorldModelSolver

if find_spec("stable_worldmodel") is None:
    PlanConfig = SimpleNamespace  # a stand-in with the same fields
else:
    from stable_worldmodel.policy import PlanConfig  # pyright: ignore[reportMissingImports]

model = load_world_model("ball-nav")  # 2 numbers in an environment action, 5 environment actions in a model step
solver = WorldModelSolver(recommended(), Budget(steps=60), model=model, seed=42)
solver.configure(
    action_space=SimpleNamespace(shape=(2, 2), dtype=numpy.dtype("float32")),  # 2 environments; World passes its own
    n_envs=2,
    config=PlanConfig(horizon=5, receding_horizon=5, action_block=5),
)
information = {
    "state": torch.tensor([[[2.0, 2.0]], [[2.0, 8.0]]]),
    "goal": torch.zeros(2, 1, 1),
    "goal_state": torch.tensor([[[4.0, 2.0]], [[4.0, 8.0]]]),
    "action": torch.full((2, 1, 2), torch.nan),  # stable-worldmodel has no action right after a reset
}
answer = solver(information, init_action=None)
actions = answer["actions"]
print(f"the solver plans for {len(actions)} environments: actions {tuple(actions.shape)}")
print("all actions are within the bounds:", bool(((actions >= model.low) & (actions <= model.high)).all()))
print("the goals are reached under the model:", bool(solver.plan is not None and (solver.plan.cost < 1e-2).all()))
