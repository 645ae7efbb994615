"""World models: what they offer, how they are opened and checked, and a trainable one."""

from grasp_planner.models.base import ActionUnits, StateDecoder, WorldModel, checkpoints, load_world_model
from grasp_planner.models.check import Check, Report, check_world_model
from grasp_planner.models.state import StateModel, StateModelConfig

__all__ = [
    "ActionUnits",
    "Check",
    "Report",
    "StateDecoder",
    "StateModel",
    "StateModelConfig",
    "WorldModel",
    "check_world_model",
    "checkpoints",
    "load_world_model",
]
