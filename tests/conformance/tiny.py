# SPDX-License-Identifier: Apache-2.0
"""Each model at a size that a test can train: what it needs beyond ``EVERY``."""

from typing import Any

EVERY: dict[str, Any] = {"image_size": 64, "visualizer": False}
"""What all models are given."""

BACKBONES: dict[str, dict[str, Any]] = {
    "resnet18": {"pre_trained": False},
    "tf_efficientnet_lite0": {"pre_trained": True},  # a package for development brings its weights
}
"""Teacher -> its arguments."""

TINY: dict[str, dict[str, Any]] = {
    "D24FAD": {"k_shot": 4, "lr": 1e-3},
    "SCRD4AD": {"lr": 0.005},
    "PDD": {"second_backbone": "vmamba_atto"},
}
"""Name of a model -> its arguments."""

OTHERWISE: dict[tuple[str, str], dict[str, Any]] = {
    ("PDD", "tf_efficientnet_lite0"): {"second_backbone": None},
}
"""What changes with one of the backbones."""
