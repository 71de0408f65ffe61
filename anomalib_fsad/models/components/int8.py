# SPDX-License-Identifier: Apache-2.0
"""8 bits for the networks of an exported model alone, and no more of them than its scores bear.

An anomaly map is a small difference of nearly equal features. Eight bits are enough for the convolutions that make the
features, but not for the distances, the blur and the normalisation behind them, nor for the resizing in front. And an
anomaly is what lies outside the usual, so the range of what fits into the eight bits must not be that of the usual.

The first convolutions stay in float, since all others build on them, and the last, since what they say is compared as
it is; how many of each, the images decide that it is calibrated on: their scores are held against those before.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution")
DATA = ("Constant", "Parameter", "Result")

DEPTHWISE = "GroupConvolution"
"""Left in float by INT8: hardly any work, and so few weights a channel that rounding them changes scores' order."""

BEARABLE = 0.3
"""Root mean square of what INT8 changes in a score, in units of the deviation of its category's scores."""

ENDS = (1 / 16, 1 / 8, 1 / 4)
"""The share of convolutions at either end that stay in float, the fastest first."""


def quantize_networks(model: Any, loader: Iterable[Any]) -> Any:
    """Quantise the networks of an OpenVINO model after training.

    Args:
        model: an OpenVINO model with an output ``pred_score``.
        loader: batches of images to calibrate on, the kind that the model is to score.
    """
    batches = list(loader)
    images = [np.asarray(batch["image"]) for batch in batches]
    names = np.concatenate([getattr(batch, "category", None) or [""] * len(batch["image"]) for batch in batches])
    expected = _scores(model, images)
    best, least = model, np.inf
    for share in ENDS:
        quantized = _quantized(model, images, share)
        off = scores_off(_scores(quantized, images), expected, names)
        if off < least:
            best, least = quantized, off
        if off <= BEARABLE:
            return best
    logger.warning(
        "INT8 changes the calibration images' scores by %.2f of their deviation, with half of the convolutions in "
        "float: prefer FP16, or calibrate on more images.",
        least,
    )
    return best


def scores_off(scores: NDArray[Any], expected: NDArray[Any], names: NDArray[np.str_]) -> float:
    """See ``BEARABLE``: categories lie apart, and their distance would hide what changes within one."""
    shares = [
        (scores[rows] - expected[rows]) / max(expected[rows].std(), np.finfo(expected.dtype).tiny)
        for name in np.unique(names)
        if (rows := names == name).sum() > 1
    ]
    return float(np.sqrt((np.concatenate(shares) ** 2).mean())) if shares else 0.0


def _quantized(model: Any, images: Sequence[NDArray[Any]], share: float) -> Any:
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    features = [op.get_friendly_name() for op in model.get_ordered_ops() if _makes_features(op)]
    count = max(1, round(share * len(features)))
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        ignored_scope=nncf.IgnoredScope(
            names=[*outside_networks(model), *features[:count], *features[-count:]], types=[DEPTHWISE], validate=False
        ),
        # The widest range of all images. The default, their mean, is that of normal images, and cuts anomalies off.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )


def _scores(model: Any, images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    import openvino

    network = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([network(batch)["pred_score"].reshape(-1) for batch in images])


def outside_networks(model: Any) -> list[str]:
    """Names of the operations of an OpenVINO model that are not between two of its feature convolutions."""
    operations = model.get_ordered_ops()
    features = {op.get_friendly_name() for op in operations if _makes_features(op)}
    behind = _reached(operations, features)
    before = _reached(reversed(operations), features, upwards=True)
    kept = behind & before
    return [
        name for op in operations if (name := op.get_friendly_name()) not in kept and op.get_type_name() not in DATA
    ]


def _makes_features(op: Any) -> bool:
    """Whether this convolution has several channels; the Gaussian over the map has one."""
    if op.get_type_name() not in CONVOLUTIONS:
        return False
    channels = op.output(0).get_partial_shape()[1]
    return not channels.is_static or channels.get_length() > 1


def _reached(operations: Iterable[Any], seeds: set[str], *, upwards: bool = False) -> set[str]:
    """``seeds`` and all that depends on them, or (``upwards``) all they depend on; operations come in such an order."""
    reached = set(seeds)
    for op in operations:
        if upwards:
            neighbours = [target.get_node() for out in op.outputs() for target in out.get_target_inputs()]
        else:
            neighbours = [value.get_node() for value in op.input_values()]
        if any(node.get_friendly_name() in reached for node in neighbours):
            reached.add(op.get_friendly_name())
    return reached
