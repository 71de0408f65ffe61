# SPDX-License-Identifier: Apache-2.0
"""Rectangles of noise: their sides and places, and what they are worth behind a normalisation."""

import pytest
import torch
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize, Transform

from anomalib_fsad import SCRD4AD
from anomalib_fsad.models.scrd4ad.spoil import grey_level, noise_patches

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(patches: Tensor) -> Tensor:
    """Top, bottom, left, right of what is not zero in each image: B x 4."""
    found = []
    for image in patches:
        rows, columns = image.abs().amax((0, 2)).nonzero(), image.abs().amax((0, 1)).nonzero()
        found.append([rows.min(), rows.max(), columns.min(), columns.max()])
    return torch.tensor(found)


@pytest.mark.parametrize(
    ("size", "shortest", "longest"), [((256, 256), (10, 10), (31, 31)), ((64, 128), (2, 5), (8, 16))]
)
def test_sides_grow_with_the_image(size: tuple[int, int], shortest: tuple[int, int], longest: tuple[int, int]) -> None:
    patches = noise_patches(torch.zeros(128, 3, *size), generator=seeded())
    top, bottom, left, right = boxes(patches).unbind(1)
    heights, widths = bottom - top + 1, right - left + 1
    assert (heights.min(), widths.min()) == shortest
    assert (heights.max(), widths.max()) == longest
    filled = (patches != 0).all(1).sum((1, 2))
    assert (filled >= 0.99 * heights * widths).all(), "a rectangle has holes"


def test_places_reach_every_border() -> None:
    top, bottom, left, right = boxes(noise_patches(torch.zeros(400, 3, 32, 32), generator=seeded())).unbind(1)
    assert top.min() == 0
    assert left.min() == 0
    assert bottom.max() == 31
    assert right.max() == 31


def test_sides_as_large_as_the_image() -> None:
    patches = noise_patches(torch.zeros(3, 3, 64, 64), sides=(256, 256), generator=seeded())
    assert (boxes(patches) == torch.tensor([0, 63, 0, 63])).all()


def test_all_rectangles_differ() -> None:
    patches = noise_patches(torch.zeros(16, 3, 256, 256), generator=seeded())
    assert len(torch.unique(boxes(patches), dim=0)) == 16


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (None, [1.0, 1.0, 1.0]),
        (Resize((64, 64)), [1.0, 1.0, 1.0]),
        (Compose([Resize((64, 64)), Normalize(MEAN, STD)]), [1 / s for s in STD]),
        (Compose([Resize((64, 64)), Compose([CenterCrop(48), Normalize([0.5] * 3, [0.25] * 3)])]), [4.0] * 3),
    ],
)
def test_grey_level_is_asked_of_the_users_own_transform(transform: Transform | None, expected: list[float]) -> None:
    assert torch.allclose(grey_level(PreProcessor(transform)).flatten(), torch.tensor(expected), rtol=1e-5)


def test_grey_level_without_a_pre_processor_of_anomalib() -> None:
    assert torch.equal(grey_level(None), torch.ones(3, 1, 1))
    assert torch.equal(grey_level(nn.Identity()), torch.ones(3, 1, 1))


@pytest.mark.parametrize("normalized", [True, False])
def test_spoiled_behind_the_normalisation_equals_normalised_after_spoiling(normalized: bool) -> None:
    transform = Normalize(MEAN, STD) if normalized else Resize((64, 64))
    model = SCRD4AD("resnet18", pre_trained=False, image_size=64, pre_processor=PreProcessor(transform))
    images = torch.rand(4, 3, 64, 64, generator=seeded())
    in_grey = images + 0.2 * noise_patches(images, generator=seeded(3))
    assert not torch.equal(in_grey, images)
    assert torch.allclose(model.spoil(transform(images), seeded(3)), transform(in_grey), atol=1e-5)
