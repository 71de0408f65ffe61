# SPDX-License-Identifier: Apache-2.0
"""What is measured while anomalib tests a model: raw scores, time and memory."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

MIB = 2**20

MAP_SIDE = 48
"""Of the maps that are kept of images without a mask, too."""


class Recorder(Callback):
    """Collects each test image's score before post-processing, and the time from image to score.

    A callback of the trainer runs before the model's own (pre-processor, post-processor, evaluator), so the time
    includes the resizing, and the scores are what the model gave.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._small: list[Tensor] = []
        self._maps: list[Tensor] = []
        self._masks: list[Tensor] = []
        self._times: list[tuple[float, int]] = []
        self._start = 0.0

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        del trainer, args, kwargs
        _wait_for(pl_module.device)
        self._start = time.perf_counter()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Stop the clock and keep what the model gave."""
        del trainer, args, kwargs
        _wait_for(pl_module.device)
        self._times.append((time.perf_counter() - self._start, len(outputs.image)))
        self.paths += list(outputs.image_path)
        self._scores.append(outputs.pred_score.detach().flatten().float().cpu())
        self._labels.append(outputs.gt_label.flatten().cpu())
        if outputs.anomaly_map is not None:
            maps = outputs.anomaly_map.detach().reshape(len(outputs.image), 1, *outputs.anomaly_map.shape[-2:]).float()
            self._small.append(torch.nn.functional.adaptive_avg_pool2d(maps, MAP_SIDE)[:, 0].cpu())
        if outputs.gt_mask is not None and outputs.anomaly_map is not None:
            size = outputs.anomaly_map.shape[-2:]
            masks = outputs.gt_mask.reshape(len(outputs.image), 1, *outputs.gt_mask.shape[-2:]).float()
            self._masks.append(torch.nn.functional.interpolate(masks, size=size, mode="nearest")[:, 0].bool().cpu())
            self._maps.append(outputs.anomaly_map.detach().reshape(len(outputs.image), *size).float().cpu())

    @property
    def scores(self) -> Tensor:
        """N, in the order of ``paths``.

        Raises:
            ValueError: if some are no numbers, as PaDiM's are, whose covariance takes two images.
        """
        scores = torch.cat(self._scores)
        wrong = int((~scores.isfinite()).sum())
        if wrong:
            msg = f"{wrong} of {len(scores)} test scores are no finite numbers: too few training images?"
            raise ValueError(msg)
        return scores

    @property
    def labels(self) -> Tensor:
        """N, 0 or 1."""
        return torch.cat(self._labels).int()

    @property
    def maps_and_masks(self) -> tuple[Tensor, Tensor] | None:
        """N x H x W each, where the test set has masks."""
        return (torch.cat(self._maps), torch.cat(self._masks)) if self._masks else None

    @property
    def small_maps(self) -> Tensor | None:
        """N x ``MAP_SIDE`` x ``MAP_SIDE``, of a model that has maps."""
        return torch.cat(self._small) if self._small else None

    @property
    def ms_per_image(self) -> float:
        """The median over the batches; the first, which warms up, counts only if it is the only one."""
        timed = self._times[1:] or self._times
        return 1000 * float(np.median([seconds / images for seconds, images in timed]))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak, of the process and of the GPU if that is the device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")


def peak_memory_mib(device: torch.device) -> dict[str, float]:
    """Peaks since :func:`reset_peak_memory`; the process's counts Python and the libraries too."""
    peaks = {"peak_memory_mib": float("nan"), "peak_gpu_memory_mib": float("nan")}
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peaks["peak_memory_mib"] = float(line.split()[1]) / 1024
    if device.type == "cuda":
        peaks["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated(device) / MIB
    return peaks
