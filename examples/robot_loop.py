"""A robot loop with deadlines, late observations and a safe fallback.

The example controls a robot for 24 control steps, of which some go wrong:
an observation arrives one step late, one is lost, one is broken, and the camera fails for the last 8 steps.
`Agent.act` returns actions in each of these cases, and `agent.report` says where the actions come from.
The robot stops, with actions of its own, when the agent has had no new plan for too long.

    python examples/robot_loop.py

```text
step  5: observation one step late -> PLANNED
step  8: no observation            -> FALLBACK, because there is no observation
step 11: broken observation        -> FALLBACK, because observation encodes to NaN or infinity, or was missing
step 16: no observation            -> FALLBACK, because there is no observation
step 17: no observation            -> FALLBACK, because there is no observation
step 20: no plan for 5 steps: the robot stops
every call of act returned in time: True
the robot is nearer to the goal: True
```

- `Budget(seconds=...)` limits the planning of each call. No model call starts after the deadline,
  so a call takes at most the limit plus one model call, observation and encoding.
- `act(observation, late=k)` predicts the present state from an observation that is `k` model steps old.
- `act(None)` follows the last plan. `FALLBACK` means that a new plan was due and could not be made.
- If planning takes longer than one control step allows, set `execute=k`: the agent then plans in every k-th step.
"""

import time

import numpy
import torch

from grasp_planner import Agent, Budget, GoalDistance, load_world_model, recommended
from grasp_planner.control.current_plans import Source
from grasp_planner.domains.ball_nav.environment import BallNav

DEADLINE = 0.1  # seconds of planning in a control step
PATIENCE = 4  # control steps without a new plan, before the robot stops

model = load_world_model("ball-nav")  # one model step is 5 environment steps
robot = BallNav(map="cup")
start, goal = numpy.array([2.0, 5.0]), numpy.array([8.0, 5.0])
robot.reset(seed=0, options={"state": start, "goal": goal})
agent = Agent(
    model,
    recommended(),
    Budget(seconds=DEADLINE),
    horizon=12,
    objective=GoalDistance(stage_weight=0.1),  # a cost at every step, since the agent replans at every step
)

broken = {"state": torch.tensor([float("nan"), 5.0])}
situations = {5: "observation one step late", 8: "no observation", 11: "broken observation"}
situations |= dict.fromkeys(range(16, 24), "no observation")
seen, waiting, slowest = [start], 0, 0.0
for step in range(24):
    situation, current, late = situations.get(step, ""), {"state": torch.as_tensor(seen[-1])}, 0
    if situation == "observation one step late":
        current, late = {"state": torch.as_tensor(seen[-2])}, 1
    began = time.monotonic()
    if situation == "no observation":
        actions = agent.act(None)
    else:
        actions = agent.act(broken if situation == "broken observation" else current, {"state": goal}, late=late)
    slowest = max(slowest, time.monotonic() - began)
    source, reason = agent.report.source[0], agent.report.reason[0]
    waiting = 0 if source is Source.PLANNED else waiting + 1
    if situation and step < 18:  # the next lines would be the same
        print(f"step {step:2}: {situation:25} -> {source.name}" + (f", because {reason}" if reason else ""))
    if waiting > PATIENCE:
        print(f"step {step:2}: no plan for {waiting} steps: the robot stops")
        break
    for action in actions:
        observation, *_ = robot.step(action)
    seen.append(observation["state"])

print("every call of act returned in time:", slowest < DEADLINE + 0.9)  # the rest is for a busy machine
distances = [float(numpy.linalg.norm(place - goal)) for place in seen]
print("the robot is nearer to the goal:", distances[-1] < distances[0] - 2)
