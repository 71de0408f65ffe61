# SPDX-License-Identifier: Apache-2.0
import openvino
import pytest
import torch
from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, Normalize, Resize
from torchvision.transforms.v2.functional import resize

from anomalib_fsad.models.components.detector import pre_processor_for
from anomalib_fsad.models.components.export import ExactResize, antialiased_resize, exact_export_transform


@pytest.mark.parametrize(("before", "after"), [((64, 64), (256, 200)), ((300, 171), (64, 96)), ((65, 64), (64, 64))])
def test_equals_torchvision(before, after):
    """In float64, since torchvision's own float32 places are a little off."""
    images = torch.rand(2, 3, *before)
    expected = resize(images.double(), list(after), antialias=True).float()
    torch.testing.assert_close(antialiased_resize(images, after), expected, atol=1e-6, rtol=0)


def test_only_antialiased_resizing_to_a_fixed_size_is_replaced():
    normalize = Normalize([0.5] * 3, [0.5] * 3)
    exact = exact_export_transform(Compose([Resize((32, 40), antialias=True), normalize]))
    assert [type(step) for step in exact.transforms] == [Normalize, ExactResize]
    images = torch.rand(1, 3, 50, 60)
    expected = normalize(resize(images, [32, 40], antialias=True))
    torch.testing.assert_close(exact(images), expected, atol=1e-5, rtol=0)
    for theirs in (
        Resize((8, 8), antialias=False),
        Resize(8, antialias=True),
        Resize((8, 8), interpolation=InterpolationMode.NEAREST),
        CenterCrop(8),
    ):
        assert not isinstance(exact_export_transform(theirs), ExactResize)
    assert exact_export_transform(None) is None


@pytest.mark.parametrize("before", [(50, 41), (32, 32)])
def test_openvino_compiles_it_with_a_fixed_input_size(before, tmp_path):
    transform = exact_export_transform(pre_processor_for("resnet18", 32).transform)
    convolution = torch.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
    network = torch.nn.Sequential(transform, convolution).eval()
    images = torch.rand(2, 3, *before)
    options = {"dynamo": True, "opset_version": 18, "external_data": False}  # and any batch, as anomalib exports it
    torch.onnx.export(network, (images,), tmp_path / "x.onnx", dynamic_shapes=({0: "batch"},), **options)
    compiled = openvino.compile_model(
        openvino.convert_model(tmp_path / "x.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    expected = convolution(pre_processor_for("resnet18", 32).transform(images))
    torch.testing.assert_close(torch.from_numpy(compiled(images.numpy())[0]), expected, atol=1e-4, rtol=1e-4)
