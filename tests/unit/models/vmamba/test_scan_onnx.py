# SPDX-License-Identifier: Apache-2.0
"""The exported scan: one node, which any runtime computes as the plain loop does."""

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from anomalib_fsad.models.vmamba.scan import scan_plain, selective_scan
from anomalib_fsad.models.vmamba.scan_export import onnx_translations, softplus
from anomalib_fsad.models.vmamba.ss2d import SS2D
from tests.unit.models.vmamba.test_scan import problem

LENGTH = 33


class Layers(nn.Module):
    """SS2D on planes whose positions are, and are not, a multiple of the loop's steps."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = SS2D(8, states=4)

    def forward(self, even, odd):
        return self.layer(even), self.layer(odd)


class Scan(nn.Module):
    def forward(self, u, delta, A, B, C):
        return selective_scan(u, delta, A, B, C)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        Scan(),
        tuple(problem(0, LENGTH)),
        path,
        dynamo=True,
        opset_version=18,
        custom_translation_table=onnx_translations(),
        dynamic_shapes=({0: batch}, {0: batch}, None, {0: batch}, {0: batch}),
        external_data=False,
    )
    return path


def test_it_is_one_node(exported):
    assert [node.op_type for node in onnx.load(exported).graph.node].count("Scan") == 1


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("low", "high"), [(-3.0, 1.0), (-14.0, 50.0)])
def test_it_computes_the_plain_scan(exported, batch, low, high):
    u, _, A, B, C = problem(1, LENGTH)
    u, B, C = (tensor[:1].repeat(batch, 1, 1, 1) * torch.rand(batch, 1, 1, 1) for tensor in (u, B, C))
    delta = torch.empty_like(u).uniform_(low, high)
    inputs = [u, delta, A, B, C]
    expected = scan_plain(u, torch.nn.functional.softplus(delta), A, B, C).numpy()
    session = onnxruntime.InferenceSession(exported)
    names = [given.name for given in session.get_inputs()]
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    network = openvino.compile_model(exported, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for actual in (session.run(None, given)[0], network(given)[0]):
        assert np.abs(actual - expected).max() <= 1e-5 * (1 + np.abs(expected).max())


class Softplus(nn.Module):
    def forward(self, x):
        return softplus(x)


def test_the_exported_softplus_keeps_small_deltas(tmp_path):
    """Runtimes simplify log(1 + e) until nothing is left of a small e."""
    x = torch.linspace(-60, 100, 4096)
    expected = torch.nn.functional.softplus(x.double()).numpy()
    torch.onnx.export(Softplus(), (x,), tmp_path / "softplus.onnx", dynamo=True, opset_version=18, external_data=False)
    session = onnxruntime.InferenceSession(tmp_path / "softplus.onnx")
    network = openvino.compile_model(tmp_path / "softplus.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for actual in (softplus(x).numpy(), session.run(None, {"x": x.numpy()})[0], network([x.numpy()])[0]):
        assert np.abs(actual / expected - 1).max() < 1e-5


@pytest.fixture(scope="module")
def exported_layers(tmp_path_factory):
    path = tmp_path_factory.mktemp("layers") / "layers.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        Layers().eval(),
        (torch.randn(2, 4, 4, 8), torch.randn(2, 3, 5, 8)),
        path,
        dynamo=True,
        opset_version=18,
        custom_translation_table=onnx_translations(),
        dynamic_shapes=({0: batch}, {0: batch}),
        external_data=False,
    )
    return path


@pytest.mark.parametrize("batch", [1, 3])
def test_the_layer_walks_as_in_eager(exported_layers, batch):
    planes = [torch.randn(batch, 4, 4, 8), torch.randn(batch, 3, 5, 8)]
    expected = [plane.detach().numpy() for plane in Layers().eval()(*planes)]
    session = onnxruntime.InferenceSession(exported_layers)
    names = [given.name for given in session.get_inputs()]
    given = {name: plane.numpy() for name, plane in zip(names, planes, strict=True)}
    network = openvino.compile_model(exported_layers, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for outputs in (session.run(None, given), list(network(given).values())):
        for actual, plane in zip(outputs, expected, strict=True):
            assert np.abs(actual - plane).max() <= 1e-5
