# SPDX-License-Identifier: Apache-2.0
"""An anomaly map laid over its image: clear where the map is low, coloured around the threshold and above."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.images.decoding import FloatImage, to_uint8
from anomalib_fsad.threshold import around_half

# Yellow over orange to red, at equal steps.
ANCHORS = np.array([[1.0, 0.95, 0.25], [1.0, 0.55, 0.05], [0.85, 0.0, 0.05]])

CLEAR, HOT = 0.4, 0.75
"""Between two thirds of the threshold and three times the threshold, colour and opacity rise."""

OPACITY = 0.6


def overlay(image: FloatImage, raw_map: NDArray[np.floating], threshold: float) -> PilImage.Image:
    """The image, its map over it.

    Args:
        image: H x W x 3 in [0, 1].
        raw_map: h x w, brought to the image's size.
        threshold: the value of the map from which a pixel is anomalous.
    """
    height, width = image.shape[:2]
    values = PilImage.fromarray(around_half(raw_map, threshold).astype(np.float32))
    resized = np.asarray(values.resize((width, height), PilImage.Resampling.BILINEAR))
    heat = np.clip((resized - CLEAR) / (HOT - CLEAR), 0, 1)[..., None]
    opacity = OPACITY * np.sqrt(heat)
    blended: FloatImage = ((1 - opacity) * image + opacity * colours(heat[..., 0])).astype(np.float32)
    return PilImage.fromarray(to_uint8(blended))


def colours(heat: NDArray[np.floating]) -> FloatImage:
    """H x W in [0, 1] -> H x W x 3.

    Example:
        >>> import numpy as np
        >>> low, high = colours(np.array([[0.0, 1.0]]))[0]
        >>> bool(low[1] > high[1]), bool(low[0] > 0.8 and high[0] > 0.8)
        (True, True)
    """
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(heat, places, ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)
