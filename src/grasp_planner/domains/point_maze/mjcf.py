"""The U-maze of PointMaze as a MuJoCo model, and the places of its walls."""

from __future__ import annotations

MAZE = ("#####", "#GOO#", "###O#", "#OOO#", "#####")  # the row index is x, the column index y
ORIGIN = 1.2  # world coordinate at which the ball's joint coordinates (the state's x and y) are 0
BALL_RADIUS = 0.1  # m
PHYSICS_STEP = 0.01  # s


def wall_centres() -> list[tuple[float, float]]:
    """Return the world coordinates of the centres of the wall blocks, which are 1 x 1 m each.

    >>> len(wall_centres()), wall_centres()[0]
    (18, (1.0, 1.0))
    """
    return [(x + 1.0, y + 1.0) for x, row in enumerate(MAZE) for y, tile in enumerate(row) if tile == "#"]


def mjcf() -> str:
    """Return the maze and its ball in MuJoCo's XML.

    The ball is a sphere (radius 0.1 m, 4.19 kg) on two slide joints with damping 1 and motors of gear 100. Contacts
    are frictionless, there is no gravity, and Euler steps of 0.01 s use at most 20 solver iterations. These are
    DINO-WM's numbers.

    Two things differ from DINO-WM. The contact solver starts anew in every step (``warmstart="disable"``), so that
    the next state is a function of only the state and the action. There is no target site; in the original, the target
    site lies outside the maze.
    """
    walls = "\n    ".join(
        f'<geom type="box" material="wall" conaffinity="1" pos="{x:g} {y:g} 0" size="0.5 0.5 0.2"/>'
        for x, y in wall_centres()
    )
    return f"""
<mujoco model="point_maze">
  <compiler inertiafromgeom="true" angle="radian"/>
  <option timestep="{PHYSICS_STEP:g}" gravity="0 0 0" iterations="20" integrator="Euler">
    <flag warmstart="disable"/>
  </option>
  <default>
    <joint damping="1" limited="false"/>
    <geom friction="0.5 0.1 0.1" density="1000" margin="0.002" condim="1" contype="2" conaffinity="1"/>
  </default>
  <visual>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.8 0.8 0.8" specular="0.1 0.1 0.1"/>
    <map znear="0.01"/>
    <quality shadowsize="2048"/>
  </visual>
  <asset>
    <texture name="ground" type="2d" builtin="checker" rgb1="0.2 0.3 0.4" rgb2="0.1 0.2 0.3"
             width="100" height="100"/>
    <material name="ground" texture="ground" texrepeat="20 20"/>
    <material name="wall" rgba="0.7 0.5 0.3 1"/>
  </asset>
  <worldbody>
    <geom name="ground" type="plane" size="40 40 0.25" pos="0 0 -0.1" contype="1" conaffinity="0"
          material="ground"/>
    <body name="ball" pos="{ORIGIN:g} {ORIGIN:g} 0">
      <geom name="ball" type="sphere" size="{BALL_RADIUS:g}" rgba="0 0 1 0" contype="1"/>
      <site name="ball" size="0.2" rgba="0.3 0.6 0.3 1"/>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
    </body>
    {walls}
  </worldbody>
  <actuator>
    <motor joint="x" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
    <motor joint="y" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </actuator>
</mujoco>
"""
