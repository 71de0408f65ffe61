# SPDX-License-Identifier: Apache-2.0
"""The VMamba network: shapes, walks, names, reference figures."""

import json
from pathlib import Path

import pytest
import torch

from anomalib_fsad.models.vmamba import VMamba
from anomalib_fsad.models.vmamba.network import MergePatches
from anomalib_fsad.models.vmamba.scan import scan_plain
from anomalib_fsad.models.vmamba.ss2d import SS2D
from tests.parity.golden import Report, golden_images, golden_state, imagenet_normalize

FIGURES = Path(__file__).parents[3] / "parity/figures/pdd.json"


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (60, 36), (4, 4)])
def test_any_whole_number_of_patches(height, width):
    outputs = VMamba("vmamba_atto")(torch.rand(2, 3, height, width))
    rows, columns = height // 4, width // 4
    for z, channels in zip(outputs, (32, 64, 128, 128), strict=True):
        if z is not outputs[-1]:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        assert z.shape == (2, channels, rows, columns)
        assert torch.isfinite(z).all()
        assert not z.requires_grad


def test_half_a_patch_is_refused():
    with pytest.raises(ValueError, match=r"multiple of that|\(66, 64\)"):
        VMamba("vmamba_atto")(torch.rand(1, 3, 66, 64))


def test_unknown_variant_is_named():
    with pytest.raises(ValueError, match=r"'vmamba_huge'.*vmamba_tiny"):
        VMamba("vmamba_huge")


def test_merging_keeps_every_pixel_in_the_released_order():
    x = torch.arange(2 * 3).view(1, 2, 3, 1) + 1  # rows 1 2 3 and 4 5 6
    merged = MergePatches()(x)
    assert merged.tolist() == [[[[1, 4, 2, 5], [3, 6, 0, 0]]]]


def test_four_walks_one_by_one():
    """SS2D's scan is the recurrence along rows and columns, forth and back, written out."""
    torch.manual_seed(0)
    layer = SS2D(4, states=3)
    with torch.no_grad():
        layer.Ds.normal_()
        layer.A_logs.normal_()
    x = torch.randn(2, 5, 4, 8)
    cells = [(i, j) for i in range(5) for j in range(4)]
    by_column = [(i, j) for j in range(4) for i in range(5)]
    expected = torch.zeros_like(x)
    for k, walk in enumerate([cells, by_column, cells[::-1], by_column[::-1]]):
        u = torch.stack([x[:, i, j] for i, j in walk], dim=-1)  # B D L
        dt, B, C = torch.einsum("cd,bdl->bcl", layer.x_proj_weight[k], u).split([layer.rank, 3, 3], dim=1)
        delta = torch.einsum("dr,brl->bdl", layer.dt_projs_weight[k], dt) + layer.dt_projs_bias[k][:, None]
        A = -layer.A_logs.view(4, 8, 3)[k].exp()
        y = scan_plain(u[:, None], torch.nn.functional.softplus(delta)[:, None], A[None], B[:, None], C[:, None])[:, 0]
        y = y + layer.Ds.view(4, 8)[k][:, None] * u
        for step, (i, j) in enumerate(walk):
            expected[:, i, j] += y[..., step]
    torch.testing.assert_close(layer.scan(x), expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(layer.scan(x), expected, atol=1e-5, rtol=1e-4)


def test_a_layer_has_gradients():
    layer = SS2D(4, states=3)
    layer(torch.randn(1, 4, 3, 4)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


def test_autocast_leaves_the_scan_in_float32():
    """Under bfloat16 only what enters the scan is rounded: the layer stays as near as its products are."""
    torch.manual_seed(0)
    layer, x = SS2D(16), torch.randn(1, 16, 16, 32)
    with torch.no_grad():
        expected = layer.scan(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = layer.scan(x)
    assert actual.dtype == torch.float32
    assert (actual - expected).abs().max() < 0.02 * expected.abs().max()


def test_names_and_shapes_of_the_release():
    state = VMamba().state_dict()
    assert state["patch_embed.2.weight"].shape == (96,)
    assert state["layers.2.blocks.8.op.x_proj_weight"].shape == (4, 24 + 32, 768)
    assert state["layers.3.blocks.1.op.A_logs"].shape == (4 * 1536, 16)
    assert state["layers.0.downsample.2.weight"].shape == (192, 384)
    assert not [name for name in state if name.startswith("layers.3.downsample")]
    assert sum(value.numel() for value in state.values()) == 22_122_912


@pytest.mark.slow
def test_reference_figures_of_the_whole_network():
    case = json.loads(FIGURES.read_text())[0]
    network = VMamba()
    network.load_state_dict(golden_state({name: value.shape for name, value in network.state_dict().items()}))
    images = imagenet_normalize(golden_images(case["image_seed"], case["batch"], case["size"]))
    report = Report("vmamba")
    for level, (z, expected) in enumerate(zip(network(images), case["eval"]["vmamba"], strict=True), start=1):
        report.tensor(f"z{level}", z, expected)
    assert report.passed, "\n".join(report.lines())
