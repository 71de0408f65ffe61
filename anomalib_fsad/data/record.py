# SPDX-License-Identifier: Apache-2.0
"""What a run leaves beside its pictures: ``data.json``, what went in, and ``metrics.json``, what testing measured."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anomalib_fsad import __version__
from anomalib_fsad.files import replacing

OPTIONS = (
    "protocol",
    "k_shot",
    "support_seed",
    "val",
    "val_images",
    "missing_masks",
    "same_category_batches",
    "intensity",
    "seed",
)
"""The options of the datamodule that the record names."""

PACKAGES = ("anomalib", "torch", "lightning", "timm")


def results_folder(trainer: Any) -> Path | None:
    """Where the trainer's results go; none for a trainer that was given no folder."""
    folder = getattr(trainer, "default_root_dir", None)
    return None if folder is None or Path(folder).resolve() == Path.cwd() else Path(folder)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write as JSON, all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def tested_record(trainer: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, of which model, on which data, with which seeds and versions.

    Args:
        trainer: that has just tested.
        data: the record of the data.
    """
    module = trainer.lightning_module
    checkpoint = getattr(trainer, "ckpt_path", None)
    return {
        "model": type(module).__name__,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "seeds": {"model": getattr(module, "seed", None), "data": data["seed"], "support": data["support_seed"]},
        "metrics": {name: _number(value) for name, value in sorted(trainer.callback_metrics.items())},
        "data": data,
        "versions": {"anomalib_fsad": __version__, **{name: _version(name) for name in PACKAGES}},
    }


def _number(value: Any) -> float | None:
    """JSON knows neither NaN nor infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
