# SPDX-License-Identifier: Apache-2.0
"""On which scale anomalib's post-processor leaves scores and maps."""

from typing import Any

import torch
from anomalib.post_processing import PostProcessor


def is_normalised(post_processor: Any, of: str = "pixel") -> bool:
    """Whether ``image`` scores or ``pixel`` maps are brought to [0, 1]."""
    known = isinstance(post_processor, PostProcessor) and post_processor.enable_normalization
    return known and not bool(torch.isnan(getattr(post_processor, f"{of}_min")))


def has_map_threshold(post_processor: Any) -> bool:
    """Whether it is known from where on a pixel is anomalous."""
    if is_normalised(post_processor):
        return True
    return isinstance(post_processor, PostProcessor) and float(post_processor.pixel_threshold) > 0
