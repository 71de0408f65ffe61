# SPDX-License-Identifier: Apache-2.0
"""The two graphs of a bundle, loaded: images -> maps, and maps of queries and supports -> verdicts."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.deploy.bundle import GRAPHS, Bundle, BundleError
from anomalib_fsad.deploy.runtime import FIRST_CALLS, Backend, load_graph

Maps = tuple[NDArray[np.float32], ...]
"""The student's maps of several images, B x C x h x w for each scale."""


class Verdicts(NamedTuple):
    """What the scorer says of B queries; H x W is the size of the model's input.

    Attributes:
        raw_scores: B, before any normalisation.
        raw_maps: B x H x W, likewise.
        scores: B, as the checkpoint's post-processor gives them; the raw ones if it has seen no validation.
        maps: B x H x W, likewise.
        labels: B, by the checkpoint's threshold; ``None`` without one.
        masks: B x H x W, likewise.
        weights: B x scale x K.
    """

    raw_scores: NDArray[np.float32]
    raw_maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    labels: NDArray[np.bool_] | None
    masks: NDArray[np.bool_] | None
    weights: NDArray[np.float32]


class Network:
    """Both graphs; any number of threads may call them at once, in the process that loaded them.

    Args:
        bundle: where the graphs are.
        backend: what they run on.
        device: where the runtime runs them.
        config: options of the runtime.
    """

    def __init__(self, bundle: Bundle, backend: Backend, device: str, config: Mapping[str, Any]) -> None:
        self._metadata = bundle.metadata
        scales = range(1, len(self._metadata.map_shapes) + 1)
        self._maps = tuple(f"map_{scale}" for scale in scales)
        self._inputs = tuple(f"{role}_{scale}" for role in ("query", "support") for scale in scales)
        self._process = os.getpid()
        with FIRST_CALLS:
            self._encoder, self._scorer = (load_graph(bundle, graph, backend, device, config) for graph in GRAPHS)
            self._check_names(bundle)
            self._warm_up(bundle)

    def encode(self, images: NDArray[np.float32]) -> Maps:
        """B x H x W x 3 in [0, 1], of any size -> their maps."""
        self._check_process()
        outputs = self._encoder({"image": np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)})
        return tuple(outputs[name] for name in self._maps)

    def compare(self, queries: Maps, supports: Maps) -> Verdicts:
        """Each query with all supports."""
        self._check_process()
        named = zip(self._inputs, (*queries, *supports), strict=True)
        outputs = self._scorer({name: np.ascontiguousarray(maps) for name, maps in named})
        scores, maps = outputs["pred_score"], outputs["anomaly_map"][:, 0]
        return Verdicts(
            raw_scores=outputs.get("raw_score", scores),
            raw_maps=outputs["raw_map"][:, 0] if "raw_map" in outputs else maps,
            scores=scores,
            maps=maps,
            labels=outputs["pred_label"].astype(bool) if "pred_label" in outputs else None,
            masks=outputs["pred_mask"][:, 0].astype(bool) if "pred_mask" in outputs else None,
            weights=outputs["reference_weights"],
        )

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            msg = (
                f"This inferencer was made in process {self._process}, and after a fork its runtime's threads are "
                "gone: make a FewShotInferencer in each process."
            )
            raise RuntimeError(msg)

    def _check_names(self, bundle: Bundle) -> None:
        wanted = {"reference_weights", "pred_score", "anomaly_map"}
        wanted |= {"raw_score", "raw_map"} if self._metadata.normalized else set()
        wanted |= {"pred_label", "pred_mask"} if self._metadata.labelled else set()
        for graph, inputs, outputs in (
            (self._encoder, {"image"}, set(self._maps)),
            (self._scorer, set(self._inputs), wanted),
        ):
            if set(graph.inputs) != inputs or set(graph.outputs) != outputs:
                msg = (
                    f"A graph of {str(bundle.folder)!r} takes {sorted(graph.inputs)} and gives "
                    f"{sorted(graph.outputs)} where {sorted(inputs)} and {sorted(outputs)} are expected."
                )
                raise BundleError(msg)

    def _warm_up(self, bundle: Bundle) -> None:
        """Predict a black image, so that no later call is the first of its kind; see ``runtime``."""
        maps = self.encode(np.zeros((1, *self._metadata.image_size, 3), dtype=np.float32))
        shapes = tuple(scale.shape[1:] for scale in maps)
        if shapes != self._metadata.map_shapes:
            msg = f"The encoder of {str(bundle.folder)!r} makes maps of {shapes}, not {self._metadata.map_shapes}."
            raise BundleError(msg)
        self.compare(maps, maps)
