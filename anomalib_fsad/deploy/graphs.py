# SPDX-License-Identifier: Apache-2.0
"""The networks that are exported; they are made of the model's own parts and compute what it computes."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn
from torchvision.transforms.v2 import Compose, Normalize

from anomalib_fsad.models.components.export import ExactResize, exact_export_transform
from anomalib_fsad.models.d24fad.learn_to_weight import weigh_support
from anomalib_fsad.models.d24fad.nearest import nearest_patches
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.views import views


class Part(nn.Module):
    """A part of a model that is exported: copied, frozen, on the CPU; the model is not changed."""

    if TYPE_CHECKING:
        # What torch's own annotation makes of a sub-module, Tensor | Module, cannot be called.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, copy.deepcopy(part).cpu())
        self.requires_grad_(requires_grad=False)
        self.eval()


class Encoder(Part):
    """Images -> the maps that are compared, pre-processing included: those of the student, or of all spaces.

    Args:
        model: a D24FAD.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(transform=transform_of(model), network=model.model)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x H x W in [0, 1] -> B x C x h x w of each level."""
        images = self.transform(image)
        if isinstance(self.network, NearestModel):
            return tuple(self.network.levels(images))
        return tuple(self.network.decode(self.network.teacher(images)[-1]))


class Views(Part):
    """An image -> the sides that a support is seen from: images again, of the model's size, which the encoder takes.

    Views commute with a normalisation, and resizing them to the size they have changes nothing, so that what the
    encoder makes of them is what the model sees.

    Args:
        model: a D24FAD with ``augment_support``.
    """

    def __init__(self, model: Any) -> None:
        whole = transform_of(model)
        steps = list(whole.transforms) if isinstance(whole, Compose) else [whole]
        kept = [step for step in steps if not isinstance(step, Normalize)]
        if not all(isinstance(step, ExactResize) for step in kept):
            msg = (
                "A bundle with augment_support=True needs a pre-processor that resizes (antialiased, to height and "
                f"width) and normalises only; this one has {[type(step).__name__ for step in steps]}."
            )
            raise ValueError(msg)
        super().__init__(resize=Compose(kept))

    def forward(self, image: Tensor) -> Tensor:
        """1 x 3 x H x W in [0, 1] -> V x 3 x h x w."""
        return views(self.resize(image))[0]


class Verdict(Part):
    """What the post-processor makes of raw scores and maps, and these themselves where that is something else.

    Args:
        model: any of this package.

    Attributes:
        normalized: whether the post-processor brings scores to [0, 1]; else they are raw.
        labelled: whether its labels and masks mean something; else there are none.
    """

    def __init__(self, model: Any) -> None:
        normalized, labelled = is_normalized(model.post_processor), is_labelled(model.post_processor)
        super().__init__(**({"post_processor": model.post_processor} if normalized or labelled else {}))
        self.normalized, self.labelled = normalized, labelled

    @property
    def outputs(self) -> list[str]:
        """What ``forward`` returns, by anomalib's names where it has them."""
        names = ["pred_score", "anomaly_map"]
        names += ["raw_score", "raw_map"] if self.normalized else []
        return names + (["pred_label", "pred_mask"] if self.labelled else [])

    def forward(self, raw: InferenceBatch) -> tuple[Tensor | None, ...]:
        """The ``outputs``."""
        final = self.post_processor(raw) if self.normalized or self.labelled else raw
        # No tensor is returned twice: an exporter could give it one name only.
        before = (raw.pred_score, raw.anomaly_map) if self.normalized else ()
        labels = (final.pred_label, final.pred_mask) if self.labelled else ()
        return (final.pred_score, final.anomaly_map, *before, *labels)


class Scorer(Part):
    """Maps of images and of supports -> scores, maps and reference weights, post-processing included.

    L2W projects the supports: <Q, P V_j + b>. That equals <P' Q, V_j> plus <Q, b>, which is the same for all j and so
    nothing to a softmax over j. Projecting the query instead, the scorer takes plain maps, and its work does not
    grow by a projection with each support.

    Args:
        model: a D24FAD with ``matching=aligned``.
        size: height and width of the map.
    """

    def __init__(self, model: Any, size: tuple[int, int]) -> None:
        projections = nn.ModuleList(_transposed(projection) for projection in model.model.l2w.projections)
        super().__init__(network=model.model, projections=projections, verdict=Verdict(model))
        self.size = size

    @property
    def outputs(self) -> list[str]:
        """What ``forward`` returns."""
        return ["reference_weights", *self.verdict.outputs]

    def forward(self, queries: Sequence[Tensor], supports: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """B x C x h x w and K x C x h x w of each scale -> the ``outputs``; the weights are B x S x K."""
        blended, weights = [], []
        for query, values, projection in zip(queries, supports, self.projections, strict=True):
            maps, weight = weigh_support(projection(query), values, values)
            blended.append(maps)
            weights.append(weight)
        raw = self.network.verdict(queries, blended, self.size)
        return (torch.stack(weights, dim=1), *self.verdict(raw))


class NearestScorer(Part):
    """Maps of images and a bank of patches -> scores and maps, and which patch was the nearest to each place.

    Args:
        model: a D24FAD with ``matching=nearest``.
        size: height and width of the map.
        levels: how many maps and banks there are.
    """

    def __init__(self, model: Any, size: tuple[int, int], levels: int) -> None:
        super().__init__(network=model.model, verdict=Verdict(model))
        self.size, self.levels = size, levels

    @property
    def outputs(self) -> list[str]:
        """What ``forward`` returns."""
        found = [f"{what}_{level}" for what in ("distance", "row") for level in range(1, self.levels + 1)]
        return [*found, *self.verdict.outputs]

    def forward(self, queries: Sequence[Tensor], patches: Sequence[Tensor], usual: Tensor) -> tuple[Tensor | None, ...]:
        """B x C x h x w and N x C of each level, and what counts as a distance of 1 there -> the ``outputs``.

        Distances are as they are, B x h x w a level, rows are those of the bank, likewise.
        """
        found = [nearest_patches(query, bank) for query, bank in zip(queries, patches, strict=True)]
        scaled = [nearest.distance.unsqueeze(1) / usual[level] for level, nearest in enumerate(found)]
        raw = self.network.scored(scaled, self.size)
        return (*(n.distance for n in found), *(n.row for n in found), *self.verdict(raw))


class Whole(Part):
    """Images -> scores and maps: a model that compares with no support.

    Args:
        model: any of this package that has none.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(transform=transform_of(model), network=model.model, verdict=Verdict(model))

    @property
    def outputs(self) -> list[str]:
        """What ``forward`` returns."""
        return self.verdict.outputs

    def forward(self, image: Tensor) -> tuple[Tensor | None, ...]:
        """B x 3 x H x W in [0, 1] -> the ``outputs``."""
        return self.verdict(self.network(self.transform(image)))


def transform_of(model: Any) -> nn.Module:
    """The pre-processing as it is exported."""
    pre_processor = model.pre_processor
    if isinstance(pre_processor, PreProcessor):
        pre_processor = exact_export_transform(pre_processor.transform)
    return nn.Identity() if pre_processor is None else pre_processor


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
