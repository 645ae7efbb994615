"""World models: what they offer, how they are opened and checked, trainable ones, and those of other projects."""

from grasp_planner.models.base import ActionUnits, StateDecoder, WorldModel, checkpoints, load_world_model
from grasp_planner.models.check import Check, Report, check_world_model
from grasp_planner.models.dino_wm import load_dino_wm
from grasp_planner.models.ensemble import Cautious, Ensemble
from grasp_planner.models.jepa_wms import load_jepa_wms
from grasp_planner.models.patch_model import UseSettings
from grasp_planner.models.pictures import Pictures
from grasp_planner.models.stable_worldmodel import from_stable_worldmodel
from grasp_planner.models.state import StateModel, StateModelConfig
from grasp_planner.models.stochastic import Sampled, Stochastic
from grasp_planner.models.units import Statistics

__all__ = [
    "ActionUnits",
    "Cautious",
    "Check",
    "Ensemble",
    "Pictures",
    "Report",
    "Sampled",
    "StateDecoder",
    "StateModel",
    "StateModelConfig",
    "Statistics",
    "Stochastic",
    "UseSettings",
    "WorldModel",
    "check_world_model",
    "checkpoints",
    "from_stable_worldmodel",
    "load_dino_wm",
    "load_jepa_wms",
    "load_world_model",
]
