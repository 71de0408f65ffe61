# SPDX-License-Identifier: Apache-2.0
"""Scores and maps on a scale that does not saturate, with the threshold at one half."""

import torch
from anomalib.post_processing import PostProcessor
from torch import Tensor


class SteadyPostProcessor(PostProcessor):
    """anomalib's post-processor, but for the scale: two different raw scores never both become 1.

    anomalib brings scores to [0, 1] linearly by the range that they had in validation and cuts off what lies beyond, so
    that all images worse than the worst of validation score exactly 1.000. Here a raw score s, a distance, becomes
    ``s / (s + t)`` with ``t`` the threshold: 0 for no distance, 0.5 at the threshold, always rising.

    Example:
        >>> post_processor = SteadyPostProcessor()
        >>> post_processor.hold("image", threshold=0.2)
        >>> raw = torch.tensor([0.0, 0.2, 1.8])
        >>> post_processor._normalize(raw, *[torch.tensor(0.0)] * 2, post_processor.image_threshold)
        tensor([0.0000, 0.5000, 0.9000])
    """

    def hold(self, name: str, threshold: float) -> None:
        """Set the threshold of ``image`` or ``pixel``, which is not that of the validation then."""
        getattr(self, f"_{name}_threshold").fill_(threshold)
        getattr(self, f"{name}_min").fill_(0.0)
        getattr(self, f"{name}_max").fill_(2 * threshold)

    @staticmethod
    def _normalize(
        preds: Tensor | None,
        norm_min: Tensor,
        norm_max: Tensor,
        threshold: Tensor,
    ) -> Tensor | None:
        """What anomalib's post-processor calls for scores and maps; without a validation they stay raw."""
        if preds is None:
            return preds
        threshold = torch.where(torch.isnan(threshold), (norm_max + norm_min) / 2, threshold)
        raw = preds.float().clamp(min=0)
        known = ~torch.isnan(norm_min) & ~torch.isnan(norm_max)
        return torch.where(known, raw / (raw + threshold.clamp(min=torch.finfo(torch.float32).tiny)), preds)
