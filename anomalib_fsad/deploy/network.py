# SPDX-License-Identifier: Apache-2.0
"""The graphs of a bundle, loaded: images -> maps, maps of images and a support -> verdicts; or images -> verdicts."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.deploy.bundle import Bundle, BundleError
from anomalib_fsad.deploy.patches import Bank, Found, Level
from anomalib_fsad.deploy.runtime import FIRST_CALLS, Backend, Graph, load_graph

Maps = tuple[NDArray[np.float32], ...]
"""What is compared of several images, B x C x h x w for each level."""

RAW = ("raw_score", "raw_map")
LABELS = ("pred_label", "pred_mask")


class Verdicts(NamedTuple):
    """What is said of B images; H x W is the size of the model's input.

    Attributes:
        raw_scores: B, before any normalisation.
        raw_maps: B x H x W, likewise.
        scores: B, as the checkpoint's post-processor gives them; the raw ones if it has seen no validation.
        maps: B x H x W, likewise.
        labels: B, by the checkpoint's threshold; ``None`` without one.
        masks: B x H x W, likewise.
        weights: B x scale x K, of a comparison place by place.
        found: of a comparison with patches.
    """

    raw_scores: NDArray[np.float32]
    raw_maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    labels: NDArray[np.bool_] | None
    masks: NDArray[np.bool_] | None
    weights: NDArray[np.float32] | None
    found: Found | None


class Network:
    """The graphs; any number of threads may call them at once, in the process that loaded them.

    Args:
        bundle: where they are.
        backend: what they run on.
        device: where the runtime runs them.
        config: options of the runtime.
    """

    def __init__(self, bundle: Bundle, backend: Backend, device: str, config: Mapping[str, Any]) -> None:
        self._bundle = bundle
        self._metadata = bundle.metadata
        self._how = (backend, device, config)
        self._process = os.getpid()
        self._levels = range(1, len(self._metadata.map_shapes) + 1)
        # The views are those of enrolling, which is rare: they are loaded when it begins.
        with FIRST_CALLS:
            self._graphs = {name: self._load(name) for name in self._metadata.graphs if name != "views"}
            self._warm_up()

    def detect(self, images: NDArray[np.float32]) -> Verdicts:
        """B x H x W x 3 in [0, 1], of any size -> what a model without a support says of them."""
        return self._verdicts(self._run("detector", {"image": _channels_first(images)}))

    def encode(self, images: NDArray[np.float32]) -> Maps:
        """B x H x W x 3 in [0, 1], of any size -> their maps."""
        outputs = self._run("encoder", {"image": _channels_first(images)})
        return tuple(outputs[name] for name in self._named("map"))

    def compare(self, queries: Maps, support: Maps | Bank) -> Verdicts:
        """Each query with the whole support."""
        if isinstance(support, Bank):
            patches = [level.patches for level in support.levels]
            inputs = dict(zip(self._named("query", "patches"), (*queries, *patches), strict=True))
            inputs["usual"] = support.usual
        else:
            inputs = dict(zip(self._named("query", "support"), (*queries, *support), strict=True))
        return self._verdicts(
            self._run("scorer", {name: np.ascontiguousarray(value) for name, value in inputs.items()})
        )

    def views(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """H x W x 3 -> V x h x w x 3: an image from the sides that a support is seen from."""
        with FIRST_CALLS:
            if "views" not in self._graphs:
                self._graphs["views"] = self._load("views")
            return self._run("views", {"image": _channels_first(image[None])})["views"].transpose(0, 2, 3, 1)

    def _run(self, graph: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if os.getpid() != self._process:
            msg = (
                f"This inferencer was made in process {self._process}, and after a fork its runtime's threads are "
                "gone: make a FewShotInferencer in each process, and fork before the first (or start by spawn)."
            )
            raise RuntimeError(msg)
        return self._graphs[graph](inputs)

    def _verdicts(self, outputs: Mapping[str, NDArray[Any]]) -> Verdicts:
        scores, maps = outputs["pred_score"], outputs["anomaly_map"][:, 0]
        found = None
        if self._metadata.bank is not None:
            distances, rows = (tuple(outputs[name] for name in self._named(what)) for what in ("distance", "row"))
            found = Found(distances, rows)
        return Verdicts(
            raw_scores=outputs.get("raw_score", scores),
            raw_maps=outputs["raw_map"][:, 0] if "raw_map" in outputs else maps,
            scores=scores,
            maps=maps,
            labels=outputs["pred_label"].astype(bool) if "pred_label" in outputs else None,
            masks=outputs["pred_mask"][:, 0].astype(bool) if "pred_mask" in outputs else None,
            weights=outputs.get("reference_weights"),
            found=found,
        )

    def _named(self, *roles: str) -> list[str]:
        return [f"{role}_{level}" for role in roles for level in self._levels]

    # Loading ---------------------------------------------------------------------------------------------------------

    def _load(self, name: str) -> Graph:
        graph = load_graph(self._bundle, name, *self._how)
        inputs, outputs = self._ports(name)
        if set(graph.inputs) != set(inputs) or set(graph.outputs) != set(outputs):
            msg = (
                f"A graph of {str(self._bundle.folder)!r} takes {sorted(graph.inputs)} and gives "
                f"{sorted(graph.outputs)} where {sorted(inputs)} and {sorted(outputs)} are expected."
            )
            raise BundleError(msg)
        return graph

    def _ports(self, graph: str) -> tuple[Sequence[str], Sequence[str]]:
        """The names of a graph's inputs and outputs."""
        verdict = ["pred_score", "anomaly_map"]
        verdict += RAW if self._metadata.normalized else ()
        verdict += LABELS if self._metadata.labelled else ()
        if graph == "detector":
            return ["image"], verdict
        if graph == "encoder":
            return ["image"], self._named("map")
        if graph == "views":
            return ["image"], ["views"]
        if self._metadata.bank is None:
            return self._named("query", "support"), ["reference_weights", *verdict]
        return [*self._named("query", "patches"), "usual"], [*self._named("distance", "row"), *verdict]

    def _warm_up(self) -> None:
        """Predict a black image, so that no later call is the first of its kind; see ``runtime``."""
        black = np.zeros((1, *self._metadata.image_size, 3), dtype=np.float32)
        if not self._metadata.few_shot:
            self.detect(black)
            return
        maps = self.encode(black)
        shapes = tuple(scale.shape[1:] for scale in maps)
        if shapes != self._metadata.map_shapes:
            msg = (
                f"The encoder of {str(self._bundle.folder)!r} makes maps of {shapes}, not {self._metadata.map_shapes}."
            )
            raise BundleError(msg)
        self.compare(maps, maps if self._metadata.bank is None else _small_bank(maps))


def _channels_first(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)


def _small_bank(maps: Maps) -> Bank:
    """A patch of each level."""
    levels = tuple(Level(m[:, :, 0, 0], np.zeros((1, 3), dtype=np.float32)) for m in maps)
    return Bank(levels, np.ones(len(levels), dtype=np.float32))
