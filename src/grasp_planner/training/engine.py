"""Engines that run a training: on one device, or on several devices through lightning-fabric."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grasp_planner.core.errors import GraspPlannerError, missing_extra


class Engine(Protocol):
    """The interface between the training loop and the devices.

    Attributes:
        device: device of the batches and the weights.
        rank: number of this process; rank 0 writes files.
        processes: number of processes that share each step; each process computes its part of the batch.

    Example:
        >>> engine: Engine = SingleDevice("cpu")
        >>> engine.rank, engine.processes
        (0, 1)
    """

    device: torch.device
    rank: int
    processes: int

    def setup(self, learner: Any, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Return the learner and the optimiser that the loop uses."""
        ...

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which losses are computed."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss."""
        ...


class SingleDevice:
    """One device; no optional package is needed.

    Args:
        device: ``"cpu"``, ``"cuda"``, ...
        precision: ``"float32"`` or ``"bfloat16"``.

    Example:
        >>> SingleDevice("cpu").device
        device(type='cpu')
    """

    def __init__(self, device: str | torch.device = "cpu", precision: str = "float32") -> None:
        self.device = torch.device(device)
        self.rank, self.processes = 0, 1
        self._half = precision == "bfloat16"

    def setup(self, learner: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Return both unchanged; the learner is already on the device."""
        return learner, optimiser

    def precision(self) -> AbstractContextManager[Any]:
        """Return an autocast to bfloat16 if ``precision`` is ``"bfloat16"``."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)

    def backward(self, loss: Tensor) -> None:
        """Call ``loss.backward()``."""
        loss.backward()


class FabricEngine:
    """Several devices or several machines, data-parallel, through ``lightning-fabric``.

    Run one process per device, with ``torchrun`` or started by Fabric. Each of the n processes draws its own windows,
    a share of 1/n of the recipe's batch, and the gradients are averaged over the processes.

    Args:
        devices: number of devices on each machine.
        accelerator: ``"auto"``, ``"cuda"``, ``"cpu"``.
        precision: ``"float32"`` or ``"bfloat16"``.
        nodes: number of machines.

    Raises:
        MissingExtraError: lightning-fabric is not installed.
        GraspPlannerError: the number of devices or of machines is below 1.

    Example:
        >>> FabricEngine(devices=1, accelerator="cpu").processes  # doctest: +SKIP
        1
    """

    def __init__(self, devices: int = 1, accelerator: str = "auto", precision: str = "float32", nodes: int = 1) -> None:
        try:
            from lightning_fabric import Fabric
        except ImportError as error:
            raise missing_extra("lightning-fabric", "train", "training on several devices") from error
        if devices < 1 or nodes < 1:
            raise GraspPlannerError(f"needed devices >= 1 and nodes >= 1, got {devices} and {nodes}")
        half = "bf16-mixed" if precision == "bfloat16" else "32-true"
        # In a phase with a frozen encoder, some weights have no gradient.
        strategy = "ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto"
        self._fabric = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy, precision=half
        )
        self._fabric.launch()
        self.device = self._fabric.device
        self.rank, self.processes = self._fabric.global_rank, self._fabric.world_size

    def setup(self, learner: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Return both, wrapped by Fabric."""
        return self._fabric.setup(learner, optimiser)

    def precision(self) -> AbstractContextManager[Any]:
        """Return Fabric's autocast."""
        return self._fabric.autocast()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients and average them over the processes."""
        self._fabric.backward(loss)
