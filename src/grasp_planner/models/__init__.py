"""World models: loading, checks, our trainable models, and models of other projects."""

from grasp_planner.core.world_model import ActionUnits, StateDecoder, WorldModel
from grasp_planner.models.check import Check, Report, check_world_model
from grasp_planner.models.dino_wm.loading import load_dino_wm
from grasp_planner.models.hub import download_model, download_planner
from grasp_planner.models.hub_upload import push_to_hub
from grasp_planner.models.jepa_wms.loading import load_jepa_wms
from grasp_planner.models.latent.config import LatentModelConfig
from grasp_planner.models.latent.model import LatentModel
from grasp_planner.models.latent.patch_config import PatchModelConfig
from grasp_planner.models.learned_policy import LearnedPolicy, LearnedPolicyConfig
from grasp_planner.models.learned_return import LearnedReturn, LearnedReturnConfig
from grasp_planner.models.normalisation import Statistics
from grasp_planner.models.picture_transform import Pictures
from grasp_planner.models.registry import checkpoints, load_world_model
from grasp_planner.models.stable_worldmodel.model import from_stable_worldmodel
from grasp_planner.models.stable_worldmodel.returns import policy_actions, tdmpc2_return
from grasp_planner.models.state.model import DiffusionVersion, StateModel, StateModelConfig
from grasp_planner.models.use_settings import UseSettings
from grasp_planner.wrappers.ensemble import Cautious, Ensemble
from grasp_planner.wrappers.smoothable import Smoothable
from grasp_planner.wrappers.stochastic import CVaR, Sampled, Stochastic

__all__ = [
    "ActionUnits",
    "CVaR",
    "Cautious",
    "Check",
    "DiffusionVersion",
    "Ensemble",
    "LatentModel",
    "LatentModelConfig",
    "PatchModelConfig",
    "LearnedPolicy",
    "LearnedPolicyConfig",
    "LearnedReturn",
    "LearnedReturnConfig",
    "Pictures",
    "Report",
    "Sampled",
    "Smoothable",
    "StateDecoder",
    "StateModel",
    "StateModelConfig",
    "Statistics",
    "Stochastic",
    "UseSettings",
    "WorldModel",
    "check_world_model",
    "checkpoints",
    "download_model",
    "download_planner",
    "from_stable_worldmodel",
    "load_dino_wm",
    "load_jepa_wms",
    "load_world_model",
    "policy_actions",
    "push_to_hub",
    "tdmpc2_return",
]
