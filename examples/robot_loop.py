"""A robot loop with deadlines, late observations and a safe fallback.

The example controls a robot for 24 control steps, of which some go wrong:
an observation arrives one step late, one is lost, one is broken, a plan comes too late since the computer is busy,
and the camera fails for the last 8 steps.
`Agent.act` returns actions in each of these cases, and `agent.report` says where the actions come from.
The robot stops, with actions of its own, when a plan comes too late, and when there was no new plan for too long.

    python examples/robot_loop.py

```text
step  5: observation one step late -> PLANNED
step  8: no observation            -> FALLBACK, because there is no observation
step 11: broken observation        -> FALLBACK, because observation encodes to NaN or infinity, or was missing
step 13: busy computer             -> the plan is late: the robot stops
step 14: after a late plan         -> PLANNED
step 16: no observation            -> FALLBACK, because there is no observation
step 17: no observation            -> FALLBACK, because there is no observation
step 20: no plan for 5 steps: the robot stops
every plan ended at its deadline: True
the robot is nearer to the goal: True
```

- `Budget(seconds=...)` limits the planning of each call. No model call starts after the deadline,
  so a call takes at most the limit plus one model call, observation and encoding.
- A model call can itself take too long. `act` therefore runs in a thread, and the loop does not wait longer than one
  control period. The agent believes that late actions were executed, so `agent.reset()` makes it begin anew.
- `act(observation, late=k)` predicts the present state from an observation that is `k` model steps old.
- `act(None)` follows the last plan. `FALLBACK` means that a new plan was due and could not be made.
- If planning takes longer than one control step allows, set `execute=k`: the agent then plans in every k-th step.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy
import torch
from torch import Tensor

from grasp_planner import Agent, Budget, GoalDistance, Status, load_world_model, recommended
from grasp_planner.control.current_plans import Source
from grasp_planner.domains.ball_nav.environment import BallNav

DEADLINE = 0.1  # seconds of planning in a control step
PERIOD = 60.0  # seconds until the next control step. On a robot: its period. Here: enough for every computer
BLOCKED = 0.1  # seconds until the next control step while the computer is busy, and the call cannot return
PATIENCE = 4  # control steps without a new plan, before the robot stops

model = load_world_model("ball-nav")  # one model step is 5 environment steps
robot = BallNav(map="cup")
start, goal = numpy.array([2.0, 5.0]), numpy.array([8.0, 5.0])
robot.reset(seed=0, options={"state": start, "goal": goal})
stop = numpy.zeros((model.frameskip, 2))  # the safe actions of the robot


class SharedComputer:
    """The model on a computer with other programs. A call of the model waits until the computer is free."""

    context = model.context

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        self.free.wait()
        return model(states, actions)


computer = SharedComputer()
agent = Agent(
    model,
    recommended(),
    Budget(seconds=DEADLINE),
    horizon=12,
    objective=GoalDistance(stage_weight=0.1),  # a cost at every step, since the agent replans at every step
    dynamics=computer,
)

broken = {"state": torch.tensor([float("nan"), 5.0])}
situations = {5: "observation one step late", 8: "no observation", 11: "broken observation"}
situations |= {13: "busy computer", 14: "after a late plan"} | dict.fromkeys(range(16, 24), "no observation")
seen, waiting, in_time = [start], 0, True  # positions, control steps without a new plan
planning = ThreadPoolExecutor(max_workers=1)
for step in range(24):
    situation = situations.get(step, "")
    late = 1 if situation == "observation one step late" else 0
    observation = {"state": torch.as_tensor(seen[-1 - late])}
    if situation == "broken observation":
        observation = broken
    if situation == "busy computer":
        computer.free.clear()
    if situation == "no observation":
        call = planning.submit(agent.act, None)
    else:
        call = planning.submit(agent.act, observation, {"state": goal}, late=late)
    try:
        actions = call.result(timeout=PERIOD if computer.free.is_set() else BLOCKED)
        source, reason = agent.report.source[0], agent.report.reason[0]
        outcome = source.name + (f", because {reason}" if reason else "")
        waiting = 0 if source is Source.PLANNED else waiting + 1
    except TimeoutError:
        actions, outcome = stop, "the plan is late: the robot stops"
        waiting += 1
        computer.free.set()
        call.result()  # a robot goes on stopping until `call.done()`
        agent.reset()
    if situation and step < 18:  # the next lines would be the same
        print(f"step {step:2}: {situation:25} -> {outcome}")
    if waiting > PATIENCE:
        print(f"step {step:2}: no plan for {waiting} steps: the robot stops")
        break
    in_time &= agent.plan is None or bool((agent.plan.status == Status.DEADLINE).all())
    position = seen[-1]
    for action in actions:
        position = robot.step(action)[0]["state"]
    seen.append(position)

planning.shutdown()
print("every plan ended at its deadline:", in_time)
distances = [float(numpy.linalg.norm(place - goal)) for place in seen]
print("the robot is nearer to the goal:", distances[-1] < distances[0] - 2)
