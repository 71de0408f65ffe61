# SPDX-License-Identifier: Apache-2.0
"""What the models share, by subject; ``docs/your_own_model.md`` builds a model of it."""

from anomalib_fsad.models.components.anomaly_map import (
    IMAGE_SCORES,
    ImageScore,
    flat_cosine_distance,
    full_precision,
    gaussian_blur,
    image_score,
    in_float32,
    pixel_cosine_distance,
    summed_map,
)
from anomalib_fsad.models.components.checkpoint import load_authors, load_plain, read_state_dict, without_module
from anomalib_fsad.models.components.detector import CACHE_GIB, Detector, Recipe, seeded
from anomalib_fsad.models.components.known_images import KnownImages
from anomalib_fsad.models.components.options import check_choice, check_images, check_trainable, checked_size
from anomalib_fsad.models.components.post_processor import SteadyPostProcessor
from anomalib_fsad.models.components.pyramid import STRIDES, Teacher, embedding_of, layout, student_of
from anomalib_fsad.models.components.teacher_cache import CachePlace, Remembering
from anomalib_fsad.models.components.weights import WeightsUnavailableError

__all__ = [
    "CACHE_GIB",
    "IMAGE_SCORES",
    "STRIDES",
    "CachePlace",
    "Detector",
    "ImageScore",
    "KnownImages",
    "Recipe",
    "Remembering",
    "SteadyPostProcessor",
    "Teacher",
    "WeightsUnavailableError",
    "check_choice",
    "check_images",
    "check_trainable",
    "checked_size",
    "embedding_of",
    "flat_cosine_distance",
    "full_precision",
    "gaussian_blur",
    "image_score",
    "in_float32",
    "layout",
    "load_authors",
    "load_plain",
    "pixel_cosine_distance",
    "read_state_dict",
    "seeded",
    "student_of",
    "summed_map",
    "without_module",
]
