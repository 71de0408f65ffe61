# SPDX-License-Identifier: Apache-2.0
"""What figures were made with: versions, processor, device."""

import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

import anomalib_fsad

PACKAGES = ("anomalib", "lightning", "torch", "timm", "torchmetrics")


def environment(device: torch.device) -> dict[str, str]:
    """Columns for a row of results."""
    return {
        "finished": datetime.now(tz=timezone.utc).isoformat(timespec="seconds"),
        "anomalib_fsad": anomalib_fsad.__version__,
        **{name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": device_name(device),
    }


def device_name(device: torch.device) -> str:
    """The GPU, or the processor and how many threads of it torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} thread(s)"


def processor() -> str:
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
