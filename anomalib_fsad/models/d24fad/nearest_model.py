# SPDX-License-Identifier: Apache-2.0
"""D24FAD with ``matching="nearest"``: beyond the paper, each patch is compared with the nearest of the supports.

The paper compares place by place with a blend of the supports, which suits images that are aligned. Here the same two
networks are looked at in up to three spaces, the student's maps, the teacher's, and what the one makes of a place
otherwise than the other, and an image's patches may find their like anywhere in any support.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from anomalib_fsad.models.components import ImageScore, check_images
from anomalib_fsad.models.d24fad.explanation import NearestPatch, hottest_patch, support_shares
from anomalib_fsad.models.d24fad.nearest import SPACES, Nearest, Space, levels_of, nearest_patches
from anomalib_fsad.models.d24fad.patch_bank import Bank, PatchSupport, bank_of, left_out
from anomalib_fsad.models.d24fad.support import SupportMaps
from anomalib_fsad.models.d24fad.torch_model import D24FADModel, Explained
from anomalib_fsad.models.d24fad.views import views


class NearestModel(D24FADModel):
    """Trained as the paper's model; compares with a bank of patches.

    Args:
        backbone: as of ``D24FADModel``.
        pre_trained: likewise.
        score: likewise.
        sigma: likewise.
        spaces: what patches are taken from: ``student``, ``teacher``, ``residual``.
        augment_support: whether each support is seen from six sides.
        calibrate: whether a distance of 1 is what the supports have among one another, at each level.
        learn_weights: whether what each space counts is to be learnt, and kept with the weights; else all count alike.

    Example:
        >>> import torch
        >>> model = NearestModel("resnet18", pre_trained=False, spaces=["teacher"]).eval()
        >>> model.set_support(torch.rand(2, 3, 64, 64))
        >>> model(torch.rand(5, 3, 64, 64)).anomaly_map.shape
        torch.Size([5, 1, 64, 64])
    """

    support: PatchSupport

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        score: ImageScore = "max",
        sigma: float = 4.0,
        spaces: Sequence[Space] = ("student",),
        augment_support: bool = False,
        calibrate: bool = False,
        learn_weights: bool = False,
    ) -> None:
        super().__init__(backbone, pre_trained, score, sigma)
        self.spaces = tuple(spaces)
        self.augment_support = augment_support
        self.calibrate = calibrate
        self.support = PatchSupport(sum(SPACES[space] for space in self.spaces))
        self.learn_weights = learn_weights
        self.space_weights: Tensor
        self.register_buffer("space_weights", torch.ones(len(self.spaces)), persistent=learn_weights)

    def levels(self, images: Tensor) -> list[Tensor]:
        """The maps whose patches are compared, B x C x h x w each."""
        teacher = self.teacher(images)
        return levels_of(teacher, self.decode(teacher[-1]), self.spaces, self.space_weights)

    def bank(self, images: Tensor) -> Bank:
        """The patches of normal images, K x 3 x H x W."""
        seen = views(images) if self.augment_support else images.unsqueeze(1)
        levels = [maps.unflatten(0, seen.shape[:2]) for maps in self.levels(seen.flatten(0, 1))]
        return bank_of(levels, (images.shape[-2], images.shape[-1]), calibrate=self.calibrate)

    def encode_support(self) -> None:
        """Take the support's patches by the present weights; called whenever either has changed."""
        training = self.training
        self.eval()
        with torch.inference_mode(mode=False), torch.no_grad():
            self.support.hold_bank(self.bank(self.support.images))
        self.train(training)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Score images, B x 3 x H x W, against the support; each image by itself."""
        with torch.no_grad():
            check_images(images, "D24FAD")
            self._check_support(images)
            bank = self.support.bank
            return self._verdict(_found(self.levels(images), bank), bank, images.shape[-2:])

    def predict_with_weights(self, images: Tensor, support: SupportMaps | Sequence[Bank] | None = None) -> Explained:
        """Score images and tell which patch of which support was the nearest.

        The weights are shares: of an image's places, how many have their nearest patch in each support.

        Args:
            images: B x 3 x H x W.
            support: each image's own bank, as in validation; by default the support set's.
        """
        if isinstance(support, SupportMaps):
            msg = "matching=nearest compares with banks of patches, not with maps of the student alone."
            raise TypeError(msg)
        with torch.no_grad():
            check_images(images, "D24FAD")
            levels = self.levels(images)
            if support is None:
                self._check_support(images)
                return self._explained(levels, self.support.bank, images.shape[-2:])
            rows = [
                self._explained([maps[row : row + 1] for maps in levels], bank, images.shape[-2:])
                for row, bank in enumerate(support)
            ]
        return _together(rows)

    @torch.no_grad()
    def space_maps(self, images: Tensor, banks: Sequence[Bank]) -> Tensor:
        """What each space by itself makes of images, B x 3 x H x W, each with a bank of its own: B x S x H x W."""
        levels, rows = self.levels(images), []
        for row, bank in enumerate(banks):
            distances = iter(_distances(_found([maps[row : row + 1] for maps in levels], bank), bank))
            spaces = [list(islice(distances, SPACES[space])) for space in self.spaces]
            rows.append(torch.cat([self.scored(own, images.shape[-2:]).anomaly_map for own in spaces], dim=1))
        return torch.cat(rows)

    @torch.no_grad()
    def leave_one_out(self, size: Sequence[int]) -> list[InferenceBatch]:
        """Each support image's verdict by the other K - 1; none with a single one.

        Args:
            size: height and width of the maps.
        """
        if len(self.support) < 2:  # noqa: PLR2004
            return []
        bank, training = self.support.bank, self.training
        self.eval()  # as the bank was taken
        verdict = self._verdict(left_out(self.levels(self.support.images), bank), bank, size)
        self.train(training)
        return [
            InferenceBatch(pred_score=score, anomaly_map=maps)
            for score, maps in zip(verdict.pred_score.split(1), verdict.anomaly_map.split(1), strict=True)
        ]

    def _explained(self, levels: Sequence[Tensor], bank: Bank, size: Sequence[int]) -> Explained:
        found = _found(levels, bank)
        predictions = self._verdict(found, bank, size)
        patch = hottest_patch(predictions.anomaly_map, found, bank)
        return Explained(predictions, support_shares(found, bank), patch)

    def _verdict(self, found: Sequence[Nearest], bank: Bank, size: Sequence[int]) -> InferenceBatch:
        return self.scored(_distances(found, bank), size)


def _found(levels: Sequence[Tensor], bank: Bank) -> list[Nearest]:
    return [nearest_patches(maps, level.patches) for maps, level in zip(levels, bank.levels, strict=True)]


def _distances(found: Sequence[Nearest], bank: Bank) -> list[Tensor]:
    """On one scale, B x 1 x h x w a level."""
    return [nearest.distance.unsqueeze(1) / level.usual for nearest, level in zip(found, bank.levels, strict=True)]


def _together(rows: Sequence[Explained]) -> Explained:
    """One image's explanations each, as those of a batch."""
    patches = [row.nearest for row in rows if row.nearest is not None]
    return Explained(
        InferenceBatch(
            pred_score=torch.cat([row.predictions.pred_score for row in rows]),
            anomaly_map=torch.cat([row.predictions.anomaly_map for row in rows]),
        ),
        torch.cat([row.support_weights for row in rows]),
        NearestPatch(torch.cat([p.support for p in patches]), torch.cat([p.box for p in patches])),
    )
