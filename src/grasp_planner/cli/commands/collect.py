"""``grasp collect``: collect a data set in an environment with its scripted policy, or with a planner."""

from __future__ import annotations

from collections.abc import Sequence

from grasp_planner.cli.folders import hint_when_stopped, leaving_no_empty_folder
from grasp_planner.cli.parsing import parse


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    from grasp_planner.cli.collect_settings import Collect, data_options
    from grasp_planner.cli.planner_choices import planner_choices
    from grasp_planner.data.collecting import collect

    settings = parse(Collect, arguments, "collect", planner_choices(arguments))
    options = data_options(settings)
    with (
        leaving_no_empty_folder(settings.out),
        hint_when_stopped(lambda: "run the same command again to continue where it stopped"),
    ):
        collect(settings.env, settings.episodes, settings.out, **options)
    print(f"{settings.out}: {settings.episodes:,} episodes; `grasp data info {settings.out}` shows their contents")
    return 0
