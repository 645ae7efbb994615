"""Where a training runs: one device, or several through lightning-fabric."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, missing_extra


class Engine(Protocol):
    """What the loop needs to run on whatever there is.

    Attributes:
        device: where batches and weights go.
        rank: number of this process; rank 0 writes files.
        processes: how many processes share each step; each takes its part of a batch.
    """

    device: torch.device
    rank: int
    processes: int

    def setup(self, learner: Any, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """The learner and optimiser to use in the loop."""
        ...

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which losses are computed."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
        ...


class SingleDevice:
    """One device, no package needed.

    Args:
        device: ``"cpu"``, ``"cuda"``, ...
        precision: ``"float32"`` or ``"bfloat16"``.
    """

    def __init__(self, device: str | torch.device = "cpu", precision: str = "float32") -> None:
        self.device = torch.device(device)
        self.rank, self.processes = 0, 1
        self._half = precision == "bfloat16"

    def setup(self, learner: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Both as they are; the learner is already on the device."""
        return learner, optimiser

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast to bfloat16, where asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)

    def backward(self, loss: Tensor) -> None:
        """Plain ``loss.backward()``."""
        loss.backward()


class FabricEngine:
    """Several devices, or several machines, through ``lightning-fabric`` (data-parallel).

    Run one process per device (``torchrun``, or let Fabric start them). Every process draws its own windows, and
    gradients are averaged, so n processes see n times the recipe's batch divided by n: the batch of the recipe.

    Args:
        devices: how many devices on each machine.
        accelerator: ``"auto"``, ``"cuda"``, ``"cpu"``.
        precision: ``"float32"`` or ``"bfloat16"``.
        nodes: how many machines.

    Raises:
        MissingExtraError: lightning-fabric is not installed.
    """

    def __init__(self, devices: int = 1, accelerator: str = "auto", precision: str = "float32", nodes: int = 1) -> None:
        try:
            from lightning_fabric import Fabric
        except ImportError as error:
            raise missing_extra("lightning-fabric", "train", "training on several devices") from error
        if devices < 1 or nodes < 1:
            raise GraspPlannerError(f"needed devices >= 1 and nodes >= 1, got {devices} and {nodes}")
        half = "bf16-mixed" if precision == "bfloat16" else "32-true"
        # A phase with a frozen encoder leaves part of the weights without a gradient.
        strategy = "ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto"
        self._fabric = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy, precision=half
        )
        self._fabric.launch()
        self.device = self._fabric.device
        self.rank, self.processes = self._fabric.global_rank, self._fabric.world_size

    def setup(self, learner: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Both wrapped by Fabric."""
        return self._fabric.setup(learner, optimiser)

    def precision(self) -> AbstractContextManager[Any]:
        """Fabric's autocast."""
        return self._fabric.autocast()

    def backward(self, loss: Tensor) -> None:
        """Fabric's backward, which averages gradients over processes."""
        self._fabric.backward(loss)
