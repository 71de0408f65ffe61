# SPDX-License-Identifier: Apache-2.0
"""What benchmarks change for the whole process, put back."""

import pytest
from timm.models import _registry


@pytest.fixture(autouse=True)
def timm_weight_table():
    """``anomalib_fsad.compare.weights`` names local files in timm's table of weight sources."""
    table = _registry._model_pretrained_cfgs
    before = {name: source.file for name, source in table.items()}
    yield
    for name, file in before.items():
        table[name].file = file
