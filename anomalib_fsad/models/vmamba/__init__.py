# SPDX-License-Identifier: Apache-2.0
"""VMamba, a backbone of selective state spaces: exact, fast without a compiler, exportable."""

from anomalib_fsad.models.vmamba.network import VARIANTS, VMamba
from anomalib_fsad.models.vmamba.scan import selective_scan
from anomalib_fsad.models.vmamba.weights import load_vmamba

__all__ = ["VARIANTS", "VMamba", "load_vmamba", "selective_scan"]
