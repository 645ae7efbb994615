"""Training of world models: one loop for all models, recipes, and checkpoints from which a training resumes."""

from grasp_planner.training.engine import Engine, FabricEngine, SingleDevice
from grasp_planner.training.loop import Training, train
from grasp_planner.training.recipes import RECIPES, Phase, Recipe, recipe

__all__ = ["Engine", "FabricEngine", "Phase", "RECIPES", "Recipe", "SingleDevice", "Training", "recipe", "train"]
