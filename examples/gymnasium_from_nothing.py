"""A Gymnasium environment from nothing: collect, train, check, plan, closed loop.

The example begins with `Pendulum-v1` of Gymnasium and has no data and no model.
It collects episodes with random torques, trains a model, checks the model,
plans a swing-up, and runs an agent in closed loop.

    python examples/gymnasium_from_nothing.py            # about two minutes
    python examples/gymnasium_from_nothing.py --small    # less data and fewer optimiser steps

```text
collect: 150 episodes of 60 steps
train: median error of sin(angle) 30 environment steps ahead: below 0.3
check: all checks passed
plan: the pendulum ends upright under the model: True
closed loop: at least 3 of 4 episodes end upright: True
```

Each part works with any environment whose observation or state is a vector:
change the environment, the sizes in `StateModelConfig`, and the goal.
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium
import numpy
import torch

from grasp_planner import Agent, Budget, GoalDistance, Problem, check_world_model, plan, recommended
from grasp_planner.data import Episodes
from grasp_planner.models import StateModel, StateModelConfig
from grasp_planner.training import Phase, Recipe, train

parser = argparse.ArgumentParser()
parser.add_argument("--small", action="store_true", help="less data and fewer optimiser steps")
small = parser.parse_args().small

# Collect. An observation is (cos, sin, angular velocity); an action is a torque between -2 and 2.
environment = gymnasium.make("Pendulum-v1")
random = numpy.random.default_rng(0)
observations, actions = [], []
for episode in range(150 if small else 600):
    seen = [environment.reset(seed=episode)[0]]
    torques = numpy.repeat(random.uniform(-2, 2, (12, 1)), 5, axis=0).astype("float32")  # each is held for 5 steps
    for torque in torques:
        seen.append(environment.step(torque)[0])
    observations.append({"state": numpy.array(seen)})
    actions.append(torques)
data = Episodes.of(observations, actions)
print(f"collect: {len(data)} episodes of {data.lengths[0]} steps")

# Train. One model step is 3 environment steps.
config = StateModelConfig(
    state_size=3,
    action_size=1,
    frameskip=3,
    substeps=3,
    width=64 if small else 128,
    octaves=0,
    goal_weights=(1.0, 1.0, 0.1),
)
recipe = Recipe(
    config,
    steps=400 if small else 6000,
    phases=(Phase(0.7, 3, 256), Phase(0.3, 15, 64)),
    average=0.99,
    horizons=(3, 30),
)
with tempfile.TemporaryDirectory() as folder:
    errors = train(recipe, data, Path(folder) / "pendulum", progress=False).errors
    model = StateModel.from_pretrained(Path(folder) / "pendulum")
error = errors["state_1"]["30"]["median"]
print("train: median error of sin(angle) 30 environment steps ahead:", "below 0.3" if error < 0.3 else error)

# Check.
report = check_world_model(model, {"state": torch.tensor(numpy.array(observations[0]["state"][:4]))[:, None]})
print("check:", "all checks passed" if report.ok else report)

# Plan. The goal is an upright pendulum at rest.
upright = {"state": torch.tensor([[[1.0, 0.0, 0.0]]])}
here, _ = environment.reset(seed=1000)
problem = Problem.observed(model, {"state": torch.tensor(here)[None, None]}, upright, horizon=20)
end = model.decode_state(plan(problem, budget=Budget(steps=60)).states[0, -1])
print("plan: the pendulum ends upright under the model:", bool(end[0] > 0.95))

# Closed loop: four environments at once. A cost at every step keeps the pendulum upright after the swing-up.
environments = [gymnasium.make("Pendulum-v1") for _ in range(4)]
here = numpy.stack([env.reset(seed=2000 + i)[0] for i, env in enumerate(environments)])
goals = {"state": upright["state"][0].expand(4, 3)}
agent = Agent(
    model,
    recommended(),
    Budget(steps=20 if small else 60),
    execute=2,
    horizon=15,
    objective=GoalDistance(model.goal_weights, stage_weight=0.3),
    batch=4,
)
for _ in range(45):
    for torques in agent.act({"state": here}, goals).swapaxes(0, 1):
        here = numpy.stack([env.step(torque)[0] for env, torque in zip(environments, torques)])
print("closed loop: at least 3 of 4 episodes end upright:", bool((here[:, 0] > 0.9).sum() >= 3))
