# SPDX-License-Identifier: Apache-2.0
"""8-bit quantisation of the networks alone.

An anomaly map is a small difference of nearly equal features. Eight bits are enough for the convolutions that make the
features, but not for the cosines, the blur and the normalisation behind them, nor for the resizing in front. And an
anomaly is what lies outside the usual, so the range of what fits into the eight bits must not be that of the usual.
"""

from collections.abc import Iterable
from typing import Any

CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution")
DATA = ("Constant", "Parameter", "Result")


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


def quantize_networks(model: Any, images: Any) -> Any:
    """Quantise the networks of an OpenVINO model after training, calibrated on ``images`` (a dataloader of batches)."""
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.quantize(
        model,
        nncf.Dataset(images, lambda batch: batch["image"]),
        ignored_scope=nncf.IgnoredScope(names=outside_networks(model), validate=False),
        # The widest range of all images. The default, their mean, is that of normal images, and cuts anomalies off.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
