# SPDX-License-Identifier: Apache-2.0
"""The selective scan against the recorded figures of the reference kernel."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalib_fsad.models.vmamba.scan import selective_scan
from tests.parity.golden import Report


def inputs(case: dict[str, Any]) -> dict[str, Tensor]:
    """The arguments of one case, rebuilt from its seed."""
    batch, K, C, N, length = (case[k] for k in ("B", "K", "C", "N", "L"))
    rng = np.random.RandomState(case["seed"])

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    return {
        "u": normal(batch, K * C, length).view(batch, K, C, length),
        "delta": normal(batch, K * C, length).view(batch, K, C, length),
        "A": -normal(K * C, N).exp().view(K, C, N),
        "B": normal(batch, K, N, length),
        "C": normal(batch, K, N, length),
        "D": normal(K * C).view(K, C),
        "delta_bias": normal(K * C).view(K, C) - 3,
    }


def check(case: dict[str, Any]) -> Report:
    """Compare y."""
    report = Report(f"selective scan, L = {case['L']}, seed {case['seed']}")
    report.tensor("y", selective_scan(**inputs(case)), case["y"])
    return report
