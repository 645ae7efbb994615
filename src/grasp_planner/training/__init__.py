"""Training of world models: one loop for all models, recipes, and checkpoints from which a training resumes."""

from grasp_planner.training.engine import Engine, FabricEngine, SingleDevice
from grasp_planner.training.loop import Training, train
from grasp_planner.training.packaged_recipes import RECIPES, recipe
from grasp_planner.training.policies import PolicyRecipe, PolicyTraining, train_policy
from grasp_planner.training.recipes import Phase, Recipe
from grasp_planner.training.values import ValueRecipe, ValueTraining, train_value

__all__ = [
    "RECIPES",
    "Engine",
    "FabricEngine",
    "Phase",
    "PolicyRecipe",
    "PolicyTraining",
    "Recipe",
    "SingleDevice",
    "Training",
    "ValueRecipe",
    "ValueTraining",
    "recipe",
    "train",
    "train_policy",
    "train_value",
]
