"""Draw the pictures of the environments in the docs, into the folder of this file.

    python docs/pictures/draw.py

Each picture shows a test episode of a task: the start, three states on the way, and the goal. No display and no OpenGL
are needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from grasp_planner.bench.running.simulation import execute
from grasp_planner.bench.tasks import Episode, Task, episodes, task
from grasp_planner.domains.ball_nav.environment import BallNav
from grasp_planner.domains.ball_nav.paths import shortest_path
from grasp_planner.domains.ball_nav.physics import MAPS
from grasp_planner.domains.ball_nav.policy import BallNavPolicy

FOLDER = Path(__file__).parent
SIZE, GAP, HEADING = 224, 6, 16  # px
SHOWN = {  # name of the picture -> task, horizon in environment steps, and number of the test episode
    "wall": ("wall/dset/v1", 50, 3),
    "point_maze": ("point_maze/dset/v1", 25, 0),
    "push_t": ("push_t/dset/v1", 50, 3),
    "ball_nav": ("ball_nav/random_state/v1", 24, 0),
}


def sheet(pictures: list[np.ndarray], headings: list[str]) -> Image.Image:
    """Place pictures (SIZE, SIZE, 3) side by side, each below its heading."""
    whole = Image.new("RGB", (len(pictures) * (SIZE + GAP) - GAP, SIZE + HEADING), "white")
    pen = ImageDraw.Draw(whole)
    for i, (picture, heading) in enumerate(zip(pictures, headings, strict=True)):
        whole.paste(Image.fromarray(picture), (i * (SIZE + GAP), HEADING))
        pen.text((i * (SIZE + GAP) + 2, 1), heading, fill=(60, 60, 60))
    return whole


def known_actions(chosen: Task, episode: Episode) -> np.ndarray:
    """(horizon, 2): actions that lead to the goal, either the episode's own or those of BallNav's scripted policy."""
    if episode.actions is not None:
        return episode.actions
    env, policy, actions = chosen.make(), BallNavPolicy(goal=episode.goal), []
    state = env.reset(options={"state": episode.start, "goal": episode.goal})[0]["state"]
    policy.reset(np.random.default_rng(0), state)
    for _ in range(chosen.horizon):
        actions.append(policy.act(state))
        state = env.step(actions[-1])[0]["state"]
    return np.array(actions)


def journey(name: str, horizon: int, index: int) -> Image.Image:
    """Draw the start of an episode, three states on the way, and the goal."""
    chosen = task(name, horizon)
    episode, env = episodes(chosen, count=index + 1)[index], chosen.make()
    states = execute(chosen, episode, known_actions(chosen, episode)).states
    steps = [round(i * horizon / 4) for i in range(4)]
    pictures = [env.picture(states[step], SIZE) for step in steps] + [env.picture(episode.goal, SIZE)]
    return sheet(pictures, ["start", *(f"step {step}" for step in steps[1:]), f"goal, step {horizon}"])


def ball_nav_maps() -> Image.Image:
    """Draw the maps of BallNav with the shortest path from one start to one goal."""
    start, goal = np.array([1.7, 5.5]), np.array([8.3, 4.5])
    pictures = []
    for map in MAPS:
        env = BallNav(render_mode="rgb_array", map=map)
        env.reset(options={"state": start, "goal": goal})
        picture = Image.fromarray(np.asarray(env.render()))
        path = [(x * SIZE / 10, SIZE - y * SIZE / 10) for x, y in shortest_path(map, start, goal)]
        ImageDraw.Draw(picture).line(path, fill=(40, 90, 200), width=2)
        pictures.append(np.asarray(picture))
    return sheet(pictures, list(MAPS))


def draw(folder: Path = FOLDER) -> list[Path]:
    """Draw and write all pictures; returns their paths."""
    drawn = {name: journey(*which) for name, which in SHOWN.items()} | {"ball_nav_maps": ball_nav_maps()}
    for name, picture in drawn.items():
        picture.quantize(256, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)
    return [folder / f"{name}.png" for name in drawn]


if __name__ == "__main__":
    for path in draw():
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
