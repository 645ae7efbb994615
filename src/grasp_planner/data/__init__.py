"""Data sets: collecting, reading (Minari, LeRobot, DINO-WM), windows and statistics. Nothing here imports torch."""

from grasp_planner.data.collecting import collect
from grasp_planner.data.episodes import Episodes
from grasp_planner.data.preview import contact_sheet, info
from grasp_planner.data.reading import read
from grasp_planner.data.windows import Windows, batches, split

__all__ = ["Episodes", "Windows", "batches", "collect", "contact_sheet", "info", "read", "split"]
