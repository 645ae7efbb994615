"""The settings of an arm: drawn from a space, fixed, or those of another arm."""

from __future__ import annotations

from grasp_planner.bench.suites.settings import changed, wrapped
from grasp_planner.bench.suites.spaces import drawn
from grasp_planner.bench.suites.suite import Arm
from grasp_planner.control.planner_files import Settings


def arm_settings(arm: Arm, source: Arm, trial: int) -> Settings:
    """Return the settings of an arm.

    Args:
        arm: the arm.
        source: the arm with the space or the fixed settings, see ``Suite.source_of``.
        trial: number of a trial of the source's sweep. Fixed settings do not depend on it.

    >>> gd = Arm("GD", planner={"name": "gd", "lr": 0.2})
    >>> arm_settings(Arm("faster", like="GD", change={"lr": 0.5}), gd, 0)
    {'name': 'gd', 'lr': 0.5}
    """
    if source.planner is None:
        settings = drawn(source.space, trial, source.change)
    else:
        settings = changed(dict(source.planner), source.change)
    return wrapped(changed(settings, arm.change), arm.around)
