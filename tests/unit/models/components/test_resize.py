# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, Normalize, Resize
from torchvision.transforms.v2.functional import resize

from anomalib_fsad.models.components.resize import ExactResize, antialiased_resize, exact_export_transform


@pytest.mark.parametrize(("before", "after"), [((64, 64), (256, 200)), ((300, 171), (64, 96)), ((65, 64), (64, 64))])
def test_equals_torchvision(before, after):
    images = torch.rand(2, 3, *before)
    torch.testing.assert_close(
        antialiased_resize(images, after), resize(images, list(after), antialias=True), atol=1e-6, rtol=0
    )


def test_only_antialiased_resizing_to_a_fixed_size_is_replaced():
    normalize = Normalize([0.5] * 3, [0.5] * 3)
    exact = exact_export_transform(Compose([Resize((32, 40), antialias=True), normalize]))
    assert isinstance(exact.transforms[0], ExactResize)
    assert isinstance(exact.transforms[1], Normalize)
    for theirs in (
        Resize((8, 8), antialias=False),
        Resize(8, antialias=True),
        Resize((8, 8), interpolation=InterpolationMode.NEAREST),
        CenterCrop(8),
    ):
        assert not isinstance(exact_export_transform(theirs), ExactResize)
    assert exact_export_transform(None) is None
