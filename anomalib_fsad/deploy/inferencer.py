# SPDX-License-Identifier: Apache-2.0
"""Few-shot detection from a bundle: ``enroll`` K normal images of an organ, then ``predict``; no torch, no anomalib."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.deploy.bundle import GRAPHS, Bundle, BundleError, load_bundle
from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.images import (
    Image,
    Images,
    Named,
    folder_images,
    image_list,
    is_batch,
    named_images,
    refuse_copies,
)
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.runtime import choose_backend, load_graph
from anomalib_fsad.deploy.threshold import check_target
from anomalib_fsad.images.decoding import parse_intensity
from anomalib_fsad.images.support import choose_support

Maps = tuple[NDArray[np.float32], ...]

BATCH_SIZE = 8
"""How many images of one size go through a graph at once."""


class FewShotInferencer:
    """Runs an exported D24FAD. Any number of threads may call it at once.

    Args:
        bundle: folder that ``export`` wrote.
        backend: ``openvino``, ``onnx``, or ``auto``: OpenVINO if it is installed and in the bundle, else onnxruntime.
        device: where the runtime runs, e.g. ``CPU``, ``GPU`` or ``AUTO`` of OpenVINO, or a provider of onnxruntime.
        intensity: how images deeper than 8 bits become [0, 1]: ``auto``, ``minmax``, ``percentile`` or
            ``window(center,width)``. Use what the model was trained with.
        config: options of the runtime, e.g. ``{"INFERENCE_NUM_THREADS": 2}`` or ``{"intra_op_num_threads": 2}``.
        expected_digest: digest the bundle must have.

    Example:
        >>> inferencer = FewShotInferencer("liver_bundle")  # doctest: +SKIP
        >>> organ = inferencer.enroll("normals/", target_fpr=0.05)  # doctest: +SKIP
        >>> prediction = inferencer.predict("patient.dcm")  # doctest: +SKIP
        >>> prediction.label, prediction.reference_weights  # doctest: +SKIP
        (True, array([0.61, 0.12, 0.2 , 0.07], dtype=float32))
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        backend: str = "auto",
        device: str = "CPU",
        intensity: str = "auto",
        config: Mapping[str, Any] | None = None,
        expected_digest: str | None = None,
    ) -> None:
        parse_intensity(intensity)
        self.bundle: Bundle = load_bundle(bundle, expected_digest)
        self.backend = choose_backend(self.bundle, backend)
        self.intensity = intensity
        self.enrolment: Enrolment | None = None
        self._encoder, self._scorer = (
            load_graph(self.bundle, graph, self.backend, device, config or {}) for graph in GRAPHS
        )
        scales = range(1, len(self.bundle.metadata.map_shapes) + 1)
        self._maps = tuple(f"map_{scale}" for scale in scales)
        self._queries = tuple(f"query_{scale}" for scale in scales)
        self._supports = tuple(f"support_{scale}" for scale in scales)
        self._check_graphs()

    # Enrolment -------------------------------------------------------------------------------------------------------

    def enroll(
        self,
        images: Image | Images,
        *,
        k_shot: int | None = None,
        seed: int = 111,
        target_fpr: float | None = None,
    ) -> Enrolment:
        """Make normal images the references of all that is predicted from now on.

        Args:
            images: a folder, a list of images or paths, or a batch B x H x W x 3.
            k_shot: how many of them to take, drawn by ``seed``; ``None`` takes all.
            seed: of the draw.
            target_fpr: sets a threshold by these images alone, which a share ``target_fpr`` of normal images would
                exceed; see :mod:`anomalib_fsad.deploy.threshold`. ``None`` keeps the checkpoint's own threshold, which
                was found on the data it was validated with.
        """
        if target_fpr is not None:
            check_target(target_fpr)
        references = self._references(images, k_shot, seed)
        if target_fpr is not None:
            refuse_copies(references)
        chunks = [maps for _, maps in self._encoded(references)]
        maps = tuple(np.concatenate(scale) for scale in zip(*chunks, strict=True))
        scores, peaks = self._leave_one_out(maps)
        plain = Enrolment(maps, tuple(r.name for r in references), self.bundle.digest, scores, peaks)
        self.enrolment = plain.with_threshold(target_fpr)
        return self.enrolment

    def load(self, path: str | Path) -> Enrolment:
        """Use an enrolment that was saved; see ``Enrolment.save``.

        Raises:
            BundleError: if it is damaged, or was made with another bundle.
        """
        self.enrolment = self._checked(Enrolment.load(path), f"The enrolment {str(path)!r}")
        return self.enrolment

    # Prediction ------------------------------------------------------------------------------------------------------

    # A str is a sequence too, but comes first.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, image: str | Path | PilImage.Image, enrolment: Enrolment | None = None
    ) -> Prediction: ...

    @overload
    def predict(self, image: Sequence[Image], enrolment: Enrolment | None = None) -> list[Prediction]: ...

    @overload
    def predict(self, image: NDArray[Any], enrolment: Enrolment | None = None) -> Any: ...

    def predict(self, image: Image | Images, enrolment: Enrolment | None = None) -> Prediction | list[Prediction]:
        """Compare an image with the references: one prediction for one image, a list for several.

        Args:
            image: a path, an array H x W (x 1, 3 or 4), a Pillow image, a list of such, or an array B x H x W x 3.
            enrolment: the references; by default those of the last ``enroll`` or ``load``. Pass it where one
                inferencer serves several organs.
        """
        current = self.enrolment if enrolment is None else self._checked(enrolment, "This enrolment")
        if current is None:
            msg = "Nothing is enrolled: call enroll(images) with normal images, or load(path), before predict."
            raise RuntimeError(msg)
        predictions = []
        for names, maps in self._encoded(named_images(image, self.intensity)):
            predictions += self._score(names, maps, current)
        return predictions if is_batch(image) else predictions[0]

    def _score(self, names: Sequence[str], maps: Maps, enrolment: Enrolment) -> list[Prediction]:
        outputs = self._compare(maps, enrolment.maps)
        score, anomaly_map = outputs["pred_score"], outputs["anomaly_map"]
        label, mask = outputs.get("pred_label"), outputs.get("pred_mask")
        raw_score, raw_map = outputs.get("raw_score", score), outputs.get("raw_map", anomaly_map)
        if enrolment.threshold is not None and enrolment.map_threshold is not None:
            score = np.clip(raw_score / (2 * enrolment.threshold.value), 0, 1)
            anomaly_map = np.clip(raw_map / (2 * enrolment.map_threshold.value), 0, 1).astype(np.float32)
            label, mask = raw_score > enrolment.threshold.value, raw_map > enrolment.map_threshold.value
        weights = outputs["reference_weights"]  # B x S x K
        return [
            Prediction(
                name=name,
                score=float(score[place]),
                label=None if label is None else bool(label[place]),
                anomaly_map=anomaly_map[place, 0],
                mask=None if mask is None else mask[place, 0].astype(bool),
                reference_weights=weights[place].mean(axis=0),
                reference_weights_by_scale=weights[place],
                raw_score=float(raw_score[place]),
                raw_map=raw_map[place, 0],
            )
            for place, name in enumerate(names)
        ]

    # The graphs ------------------------------------------------------------------------------------------------------

    def _encoded(self, images: Iterable[Named]) -> Iterator[tuple[list[str], Maps]]:
        """The student's maps, in order; neighbours of one size go through the encoder together.

        Images are read as they are needed, so that a long list costs the memory of its results only.
        """
        chunk: list[Named] = []
        for image in images:
            if chunk and (len(chunk) == BATCH_SIZE or image.pixels.shape != chunk[0].pixels.shape):
                yield self._encode(chunk)
                chunk = []
            chunk.append(image)
        if chunk:
            yield self._encode(chunk)

    def _encode(self, chunk: Sequence[Named]) -> tuple[list[str], Maps]:
        batch = np.stack([image.pixels for image in chunk]).transpose(0, 3, 1, 2)
        outputs = self._encoder({"image": np.ascontiguousarray(batch, dtype=np.float32)})
        return [image.name for image in chunk], tuple(outputs[name] for name in self._maps)

    def _compare(self, queries: Maps, supports: Maps) -> dict[str, NDArray[Any]]:
        named = zip((*self._queries, *self._supports), (*queries, *supports), strict=True)
        return self._scorer({name: np.ascontiguousarray(maps) for name, maps in named})

    def _leave_one_out(self, maps: Maps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The raw score, and the peak of the raw map, of each reference against the others; none of one reference."""
        count = len(maps[0])
        scores, peaks = [], []
        for left_out in range(count if count > 1 else 0):
            outputs = self._compare(
                tuple(scale[left_out : left_out + 1] for scale in maps),
                tuple(np.delete(scale, left_out, axis=0) for scale in maps),
            )
            scores.append(float(outputs.get("raw_score", outputs["pred_score"])[0]))
            peaks.append(float(outputs.get("raw_map", outputs["anomaly_map"]).max()))
        return np.asarray(scores, dtype=np.float64), np.asarray(peaks, dtype=np.float64)

    # Checks ----------------------------------------------------------------------------------------------------------

    def _references(self, images: Image | Images, k_shot: int | None, seed: int) -> list[Named]:
        source = f"The folder {str(images)!r}" if isinstance(images, str | Path) else "The list of images"
        if isinstance(images, str | Path):
            images = folder_images(Path(images)) if Path(images).is_dir() else [images]
        every = image_list(images)
        wanted = len(every) if k_shot is None else k_shot
        if wanted < 1 or len(every) < wanted:
            msg = f"{source} holds {len(every)} images, but k_shot={k_shot}: add normal images or change k_shot."
            raise ValueError(msg)
        return list(named_images(choose_support(every, wanted, seed), self.intensity))

    def _checked(self, enrolment: Enrolment, what: str) -> Enrolment:
        if enrolment.bundle != self.bundle.digest:
            msg = f"{what} was made with another bundle than {str(self.bundle.folder)!r}: enrol its images again."
            raise BundleError(msg)
        shapes = tuple(maps.shape[1:] for maps in enrolment.maps)
        if shapes != self.bundle.metadata.map_shapes:
            msg = f"{what} holds maps of {shapes}, but the bundle makes {self.bundle.metadata.map_shapes}."
            raise BundleError(msg)
        return enrolment

    def _check_graphs(self) -> None:
        wanted = {"reference_weights", "pred_score", "anomaly_map"}
        if self.bundle.metadata.normalized:
            wanted |= {"raw_score", "raw_map"}
        if self.bundle.metadata.labelled:
            wanted |= {"pred_label", "pred_mask"}
        for graph, inputs, outputs in (
            (self._encoder, {"image"}, set(self._maps)),
            (self._scorer, {*self._queries, *self._supports}, wanted),
        ):
            if set(graph.inputs) != inputs or set(graph.outputs) != outputs:
                msg = (
                    f"A graph of {str(self.bundle.folder)!r} takes {sorted(graph.inputs)} and gives "
                    f"{sorted(graph.outputs)} where {sorted(inputs)} and {sorted(outputs)} are expected."
                )
                raise BundleError(msg)
