"""A small environment with the package's interface, importable in worker processes, and policies for it."""

import os
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Drift(gymnasium.Env):
    """x' = x + a + noise of the episode's generator. An option makes episodes terminate."""

    state_names = ("x", "y")

    def __init__(self, ends_after: int = 0) -> None:
        self.ends_after = ends_after
        box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict({"state": box, "proprio": box})
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.state = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.state, self.goal = self.np_random.uniform(0, 1, 2), self.np_random.uniform(0, 1, 2)
        return self._observation(), {"goal": self.goal.copy(), "success": False}

    def step(self, action):
        self.count += 1
        self.state = self.state + action + 0.1 * self.np_random.normal(size=2)
        return self._observation(), 1.0, self.count == self.ends_after, False, {"success": self.state[0] > 0}

    def picture(self, state, size):
        """Draw stripes whose colours depend on the state; the first row of pixels holds x and y exactly."""
        picture = np.zeros((size, size, 3), np.uint8)
        picture[0, :16] = np.frombuffer(np.asarray(state, np.float64).tobytes(), np.uint8)[:, None]
        picture[size // 2 :] = 200
        return picture

    def _observation(self):
        return {"state": self.state.copy(), "proprio": self.state.copy()}


class Ending(Drift):
    def __init__(self) -> None:
        super().__init__(ends_after=7)


class Walk:
    """A policy of uniform actions."""

    def reset(self, rng, state):
        self.rng = rng

    def act(self, state):
        return self.rng.uniform(-1, 1, 2)


class Slow(Walk):
    """A policy that is so slow that its process can be killed during an episode."""

    def act(self, state):
        time.sleep(0.002)
        return super().act(state)


class Failing(Walk):
    def act(self, state):
        raise ZeroDivisionError("the policy failed")


class Dying(Walk):
    """A policy that ends its process, as if the process were killed when memory is short."""

    def act(self, state):
        os._exit(9)


for name, entry in {"Drift-v0": "Drift", "Ending-v0": "Ending"}.items():
    if name not in gymnasium.registry:
        gymnasium.register(id=name, entry_point=f"scripted_env:{entry}")

DRIFT, ENDING = "scripted_env:Drift-v0", "scripted_env:Ending-v0"


def decoded(picture):
    """Return the state that `Drift.picture` wrote into a picture."""
    return np.frombuffer(np.ascontiguousarray(picture[0, :16, 0]).tobytes(), np.float64)
