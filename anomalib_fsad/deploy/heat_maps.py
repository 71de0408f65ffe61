# SPDX-License-Identifier: Apache-2.0
"""An anomaly map laid over its image, without matplotlib."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.images.decoding import FloatImage, to_uint8

# Blue over cyan, green and yellow to red, at equal steps.
ANCHORS = np.array([[0.19, 0.07, 0.45], [0.10, 0.65, 0.95], [0.35, 0.95, 0.45], [0.98, 0.78, 0.15], [0.75, 0.05, 0.05]])

OPACITY = 0.45


def colours(values: NDArray[np.floating]) -> FloatImage:
    """H x W in [0, 1] -> H x W x 3.

    Example:
        >>> import numpy as np
        >>> low, high = colours(np.array([[0.0, 1.0]]))[0]
        >>> bool(low[2] > low[0]), bool(high[0] > high[2])
        (True, True)
    """
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(np.clip(values, 0, 1), places, ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def overlay(image: FloatImage, anomaly_map: NDArray[np.floating], top: float = 1.0) -> PilImage.Image:
    """The image, its map over it.

    Args:
        image: H x W x 3 in [0, 1].
        anomaly_map: h x w, brought to the image's size.
        top: the value that is shown as the highest.
    """
    height, width = image.shape[:2]
    scaled = PilImage.fromarray((anomaly_map / top).astype(np.float32))
    resized = np.asarray(scaled.resize((width, height), PilImage.Resampling.BILINEAR))
    return PilImage.fromarray(to_uint8((1 - OPACITY) * image + OPACITY * colours(resized)))
