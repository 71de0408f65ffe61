# SPDX-License-Identifier: Apache-2.0
"""What benchmarks change for the whole process, put back."""

from tests.unit.compare.conftest import timm_weight_table

__all__ = ["timm_weight_table"]
