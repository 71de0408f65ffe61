# SPDX-License-Identifier: Apache-2.0
"""What two or more of the models share."""

from anomalib_fsad.models.components.anomaly_map import (
    flat_cosine_distance,
    gaussian_blur,
    pixel_cosine_distance,
    summed_map,
)
from anomalib_fsad.models.components.detector import HostMixin, default_pre_processor, seeded
from anomalib_fsad.models.components.options import STRIDE, check_choice, check_images, checked_size
from anomalib_fsad.models.components.pyramid import Teacher, WeightsUnavailableError, read_state_dict

__all__ = [
    "STRIDE",
    "HostMixin",
    "Teacher",
    "WeightsUnavailableError",
    "check_choice",
    "check_images",
    "checked_size",
    "default_pre_processor",
    "flat_cosine_distance",
    "gaussian_blur",
    "pixel_cosine_distance",
    "read_state_dict",
    "seeded",
    "summed_map",
]
