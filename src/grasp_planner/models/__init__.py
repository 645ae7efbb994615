"""World models: what they offer, how they are opened and checked, trainable ones, and those of other projects."""

from grasp_planner.core.world_model import ActionUnits, StateDecoder, WorldModel
from grasp_planner.models.check import Check, Report, check_world_model
from grasp_planner.models.dino_wm.model import load_dino_wm
from grasp_planner.models.jepa_wms.model import load_jepa_wms
from grasp_planner.models.patches.model import UseSettings
from grasp_planner.models.pictures import Pictures
from grasp_planner.models.registry import checkpoints, load_world_model
from grasp_planner.models.stable_worldmodel.model import from_stable_worldmodel
from grasp_planner.models.state.model import StateModel, StateModelConfig
from grasp_planner.models.units import Statistics
from grasp_planner.wrappers.ensemble import Cautious, Ensemble
from grasp_planner.wrappers.stochastic import Sampled, Stochastic

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
