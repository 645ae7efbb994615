"""20,000 control steps with faults of every kind: no step is lost, and memory does not grow."""

from __future__ import annotations

import gc
import resource
from collections import Counter

import numpy
import torch
from driven import Encoder, World, agent

from grasp_planner import Budget, RandomShooting
from grasp_planner.control.current_plans import Source

COUNT, CALLS, SETTLED, HORIZON = 10, 2_000, 300, 4
SHARED = ("missing", "shape", "key", "late", "encode", "memory", "broken")
OWN = ("NaN", "goal", "bad goal", "plan")


class Broken(Exception):
    pass


class Shaky(Encoder):
    """The model of the small world with faults that last for one call of the agent."""

    trouble, failing = "", numpy.zeros(COUNT, dtype=bool)
    starts = numpy.zeros((COUNT, 3))

    def __call__(self, states, actions):
        if self.trouble == "broken":
            raise Broken
        return super().__call__(states, actions)

    def encode(self, observations):
        if self.trouble == "memory":
            raise torch.cuda.OutOfMemoryError
        out = super().encode(observations)
        if self.trouble == "encode":
            return out * torch.inf
        # From a huge state every cost overflows: the observation is sound, but planning fails.
        return torch.where(torch.from_numpy(self.failing)[:, None, None], 1e300, out) if out.shape[1] == 2 else out


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_soak(figure):
    draw = numpy.random.default_rng(0)
    planner = RandomShooting(samples=4)
    one = agent(batch=COUNT, planner=planner, budget=Budget(steps=1), execute=3, horizon=HORIZON)
    one.model = model = Shaky()
    world, sources, faults = World(one), Counter(), Counter()
    plans, places, before = numpy.zeros((COUNT, HORIZON, 2)), numpy.full(COUNT, HORIZON), (0, 0)
    for call in range(CALLS):
        shared = draw.choice(SHARED) if call and draw.random() < 0.2 else ""
        own = draw.choice(OWN, COUNT) if call and not shared else numpy.full(COUNT, "")
        own = numpy.where(draw.random(COUNT) < 0.2, own, "")
        faults.update([shared] * COUNT if shared else own.tolist())

        model.trouble, model.failing = shared, own == "plan"
        world.goal["state"][own == "goal"] = draw.normal(size=(int((own == "goal").sum()), 3))
        state, goal = world.state.copy(), world.goal["state"].copy()
        state[own == "NaN"], goal[own == "bad goal"] = numpy.nan, numpy.inf
        seen = {"state": world.before if shared == "late" else state}
        seen = {"missing": None, "shape": {"state": state[:, :2]}, "key": {}}.get(shared, seen)
        try:
            blocks = one.act(seen, {"state": goal}, late=int(shared == "late"))
        except Broken:
            blocks = one.act(None)  # the model's exception reaches the caller, who decides to continue
        report = one.report
        sources.update(report.source)

        # Every action is that of the active plan or zero, and the report has a reason for everything that is wrong.
        assert blocks.shape == (COUNT, 1, 2) and numpy.isfinite(blocks).all() and (numpy.abs(blocks) <= 1).all()
        new = iter(one.plan.actions[torch.isfinite(one.plan.cost)].numpy())
        for i, source in enumerate(report.source):
            if source == Source.PLANNED:
                plans[i], places[i] = next(new), 0
            expected = numpy.zeros(2) if source == Source.IDLE else plans[i, places[i]]
            assert numpy.array_equal(blocks[i, 0], expected), (call, i, source)
            assert report.reason[i] or source in (Source.PLANNED, Source.CONTINUED)
            assert report.reason[i] or shared not in ("missing", "shape", "key") and own[i] != "bad goal"
            places[i] += 1
        world.step(blocks)
        if call == SETTLED:
            before = tensors(), peak_megabytes()
    after = tensors(), peak_megabytes()
    steps = COUNT * CALLS
    assert sum(sources.values()) == steps and set(sources) == set(Source), (
        "every kind of step occurs, and no step is lost"
    )
    assert min(faults[fault] for fault in SHARED + OWN) > 300
    assert after[0] <= before[0] + 50, "tensors are kept"
    assert after[1] <= before[1] + 20, "memory grows"
    figure("soak: control steps", steps)
    figure("soak: of these with a fault", steps - faults[""])
    figure("soak: peak memory", f"{before[1]} MB after {SETTLED * COUNT:,} steps, {after[1]} MB after {steps:,}")
    figure("soak: tensors alive", f"{before[0]} after {SETTLED * COUNT:,} steps, {after[0]} after {steps:,}")
