# SPDX-License-Identifier: Apache-2.0
"""VMamba-Tiny, whole, exported by anomalib as the benchmark does it."""

import pytest

from benchmarks.speed.vmamba import measure_network


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 256])
def test_the_exported_network_computes_what_torch_does(size):
    measured = measure_network(size, repeats=1)
    assert measured["largest deviation"] < 1e-4
    assert measured["ONNX nodes"] < 1500
