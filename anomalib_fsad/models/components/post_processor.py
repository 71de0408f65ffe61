# SPDX-License-Identifier: Apache-2.0
"""Scores and maps on a scale of their own that does not saturate, with the threshold at one half."""

import torch
from anomalib.post_processing import PostProcessor
from torch import Tensor


class SteadyPostProcessor(PostProcessor):
    """anomalib's post-processor, but for the scale: two different raw scores never both become 1.

    anomalib brings scores to [0, 1] linearly by the range that they had in validation and cuts off what lies beyond, so
    that all images worse than the worst of validation score exactly 1.000. Here, with ``t`` the threshold and ``min``
    the lowest value,

        x = 2 (s - t) / (t - min)        score = (1 + x / sqrt(1 + x^2)) / 2

    which is strictly increasing, 0.5 at the threshold, 0.05 at the lowest value, and 0.95 as far above the threshold.

    Example:
        >>> post_processor = SteadyPostProcessor()
        >>> round(post_processor.scaled(torch.tensor(0.2), torch.tensor(0.0), torch.tensor(0.2)).item(), 3)
        0.5
    """

    def hold(self, name: str, threshold: float, lowest: float) -> None:
        """Set the threshold and the lowest value of ``image`` or ``pixel``."""
        getattr(self, f"_{name}_threshold").fill_(threshold)
        getattr(self, f"{name}_min").fill_(lowest)
        getattr(self, f"{name}_max").fill_(2 * threshold - lowest)

    @staticmethod
    def scaled(values: Tensor, lowest: Tensor, threshold: Tensor) -> Tensor:
        """Raw values on the scale above."""
        span = threshold - lowest
        x = 2 * (values.float() - threshold) / torch.where(span > 0, span, torch.ones_like(span))
        return 0.5 + 0.5 * x / (1 + x.square()).sqrt()

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
        known = ~torch.isnan(norm_min) & ~torch.isnan(norm_max)
        return torch.where(known, SteadyPostProcessor.scaled(preds, norm_min, threshold), preds)
