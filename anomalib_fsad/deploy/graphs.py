# SPDX-License-Identifier: Apache-2.0
"""The two networks that are exported; they are made of the model's own parts and compute what it computes."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn

from anomalib_fsad.models.components.export import exact_export_transform
from anomalib_fsad.models.d24fad.learn_to_weight import weigh_support
from anomalib_fsad.models.d24fad.lightning_model import D24FAD


class Encoder(nn.Module):
    """Images -> student maps, pre-processing included.

    Args:
        model: a D24FAD; it is copied, not changed.
    """

    def __init__(self, model: D24FAD) -> None:
        super().__init__()
        pre_processor = model.pre_processor
        transform = (
            exact_export_transform(pre_processor.transform)
            if isinstance(pre_processor, PreProcessor)
            else pre_processor
        )
        self.transform = nn.Identity() if transform is None else copy.deepcopy(transform).cpu()
        self.network = copy.deepcopy(model.model).cpu()
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x H x W in [0, 1] -> B x C x h x w of each scale."""
        return tuple(self.network.decode(self.network.teacher(self.transform(image))[-1]))


class Scorer(nn.Module):
    """Query maps and support maps -> scores, maps and reference weights, post-processing included.

    L2W projects the supports: <Q, P V_j + b>. That equals <P' Q, V_j> plus <Q, b>, which is the same for all j and so
    nothing to a softmax over j. Projecting the query instead, the scorer takes plain maps, and its work does not
    grow by a projection with each support.

    Args:
        model: a D24FAD; it is copied, not changed.
        size: height and width of the map.

    Attributes:
        normalized: whether the post-processor brings scores to [0, 1]; else they are raw.
        labelled: whether its labels and masks mean something; else there are none.
    """

    def __init__(self, model: D24FAD, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = copy.deepcopy(model.model).cpu()
        self.projections = nn.ModuleList(_transposed(projection) for projection in self.network.l2w.projections)
        self.size = size
        self.normalized = is_normalized(model.post_processor)
        self.labelled = is_labelled(model.post_processor)
        self.post_processor: nn.Module | None = None
        if self.normalized or self.labelled:
            self.post_processor = copy.deepcopy(cast("nn.Module", model.post_processor)).cpu()
        self.requires_grad_(requires_grad=False)
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """What ``forward`` returns, by anomalib's names where it has them."""
        names = ["reference_weights", "pred_score", "anomaly_map"]
        names += ["raw_score", "raw_map"] if self.normalized else []
        return names + (["pred_label", "pred_mask"] if self.labelled else [])

    def forward(self, queries: Sequence[Tensor], supports: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """B x C x h x w and K x C x h x w of each scale -> the ``outputs``; the weights are B x S x K."""
        blended, weights = [], []
        for query, values, projection in zip(queries, supports, self.projections, strict=True):
            maps, weight = weigh_support(projection(query), values, values)
            blended.append(maps)
            weights.append(weight)
        raw = self.network.verdict(queries, blended, self.size)
        final = raw if self.post_processor is None else self.post_processor(raw)
        # No tensor is returned twice: an exporter could give it one name only.
        before = (raw.pred_score, raw.anomaly_map) if self.normalized else ()
        labels = (final.pred_label, final.pred_mask) if self.labelled else ()
        return (torch.stack(weights, dim=1), final.pred_score, final.anomaly_map, *before, *labels)


def is_normalized(post_processor: nn.Module | None) -> bool:
    """Whether the post-processor has seen a validation, and so brings scores to [0, 1]."""
    if not isinstance(post_processor, PostProcessor | None):
        msg = f"A bundle needs anomalib's PostProcessor or none, not a {type(post_processor).__name__}."
        raise TypeError(msg)
    return (
        post_processor is not None
        and post_processor.enable_normalization
        and bool(torch.isfinite(torch.stack([post_processor.image_min, post_processor.image_max])).all())
    )


def is_labelled(post_processor: nn.Module | None) -> bool:
    """Whether the post-processor's labels mean something: anomalib compares raw scores with 0.5 where it knows none."""
    return (
        isinstance(post_processor, PostProcessor)
        and post_processor.enable_thresholding
        and is_normalized(post_processor)
    )


def _transposed(projection: nn.Module) -> nn.Conv2d:
    weight = cast("Tensor", projection.weight)
    transposed = nn.Conv2d(weight.shape[0], weight.shape[1], kernel_size=1, bias=False)
    transposed.weight = nn.Parameter(weight.detach().transpose(0, 1).contiguous())
    return transposed
