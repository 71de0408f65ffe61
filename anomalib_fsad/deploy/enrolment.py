# SPDX-License-Identifier: Apache-2.0
"""What is known of an organ: maps of K normal images, how they score one another, and a threshold.

On disk a ``.npz`` of plain arrays, without pickle: the maps, what leave-one-out says of each image, and a json with
the digest of the bundle that made them. The names of the support images are in it and, for reports, small pictures of
them; ``pictures=False`` of ``FewShotInferencer.enroll`` leaves these out.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.deploy.bundle import BundleError, check_header, digest_of, write_atomically
from anomalib_fsad.deploy.network import Maps
from anomalib_fsad.deploy.patches import Bank, bank_from_arrays
from anomalib_fsad.threshold import Threshold, threshold_from_normals

FORMAT = "anomalib-fsad-enrolment"
VERSION = 2
METADATA_ENTRY = "metadata"
NORMALS = ("normal_scores", "normal_peaks", "normal_levels")
PICTURES = "pictures"
SAME = 1e-4
"""How far the maps of one image may lie apart, as a share of their largest value: a runtime rounds by its batch."""

NO_PICTURES = np.zeros((0, 1, 1, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Enrolment:
    """K normal images of one organ, seen by one bundle.

    Attributes:
        maps: what is compared, K x C x h x w for each level: the student's maps, or those of all spaces.
        names: of the K images.
        bundle: digest of the bundle.
        normal_scores: raw score of each image against the others (leave-one-out); empty with one image.
        normal_peaks: the highest value of each of those raw maps.
        normal_levels: the median of each of those raw maps.
        threshold: on raw scores, from these images; ``None`` leaves labels to the checkpoint's threshold.
        map_threshold: on raw maps, likewise.
        pictures: of the K images, K x h x w x 3, small; none where they were not kept.
        bank: the patches of the K images from all sides, with ``matching=nearest``.
    """

    maps: tuple[NDArray[np.float32], ...] = field(repr=False)
    names: tuple[str, ...]
    bundle: str
    normal_scores: NDArray[np.float64]
    normal_peaks: NDArray[np.float64]
    normal_levels: NDArray[np.float64]
    threshold: Threshold | None = None
    map_threshold: Threshold | None = None
    pictures: NDArray[np.uint8] = field(default_factory=lambda: NO_PICTURES, repr=False)
    bank: Bank | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def support(self) -> Maps | Bank:
        """What images are compared with."""
        return self.maps if self.bank is None else self.bank

    def with_threshold(self, target_fpr: float | None) -> "Enrolment":
        """The same images with another threshold, or with the checkpoint's (``None``)."""
        if target_fpr is None:
            return replace(self, threshold=None, map_threshold=None)
        return replace(
            self,
            threshold=threshold_from_normals(self.normal_scores, target_fpr),
            map_threshold=threshold_from_normals(self.normal_peaks, target_fpr),
        )

    def save(self, path: str | Path) -> Path:
        """Write a ``.npz`` without pickle; the file is whole or not there."""
        check_suffix(path)
        arrays = self._arrays()
        document = {**self._document(), "digest": self.digest}
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)
        np.savez(buffer, **{METADATA_ENTRY: text}, **arrays)  # type: ignore[arg-type]
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        return path

    @property
    def digest(self) -> str:
        """SHA-256 of all that is saved."""
        return digest_of(self._document())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        maps = {f"map_{scale}": maps for scale, maps in enumerate(self.maps, start=1)}
        pictures = {PICTURES: self.pictures} if len(self.pictures) else {}
        bank = {} if self.bank is None else self.bank.arrays()
        return maps | {name: getattr(self, name) for name in NORMALS} | bank | pictures

    def _document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "bundle": self.bundle,
            "names": list(self.names),
            "target_fpr": None if self.threshold is None else self.threshold.target_fpr,
            "arrays": {name: _digest(array) for name, array in self._arrays().items()},
        }

    @classmethod
    def load(cls, path: str | Path) -> "Enrolment":
        """Read and check what :meth:`save` wrote.

        Raises:
            BundleError: if the file is missing, damaged, changed, or of another version.
        """
        path = Path(path)
        try:
            arrays = _read_arrays(path.read_bytes())
            document = json.loads(arrays.pop(METADATA_ENTRY).tobytes())
        except OSError as error:
            msg = f"The enrolment {str(path)!r} cannot be read ({error.strerror or error})."
            raise BundleError(msg) from error
        # zipfile and NumPy's header parser raise all sorts of things on damaged bytes.
        except Exception as error:
            msg = f"{str(path)!r} is no enrolment, or is damaged or truncated ({error}): enrol the images again."
            raise BundleError(msg) from error
        check_header(document, FORMAT, (VERSION,), path)
        try:
            return _enrolment(document, arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"The enrolment {str(path)!r} is damaged or was changed ({error}): enrol the images again."
            raise BundleError(msg) from error


def check_suffix(path: str | Path) -> None:
    """Refuse what is no place for an enrolment."""
    if Path(path).suffix != ".npz":
        msg = f"An enrolment is saved as .npz: {str(path)!r} ends in something else."
        raise ValueError(msg)


def refuse_enrolled(names: Sequence[str], maps: tuple[NDArray[np.float32], ...], enrolment: Enrolment) -> None:
    """Raise ``ValueError`` if one of these images is enrolled already, which its coarsest maps tell.

    Args:
        names: of the images.
        maps: theirs.
        enrolment: that they are to join.
    """
    known = enrolment.maps[-1]
    for name, fresh in zip(names, maps[-1], strict=True):
        apart = np.abs(known - fresh).max(axis=(1, 2, 3))
        place = int(apart.argmin())
        if apart[place] <= SAME * np.abs(fresh).max():
            msg = (
                f"{name!r} is enrolled already, as {enrolment.names[place]!r}. Its copy would make the threshold too "
                "low: add other images only."
            )
            raise ValueError(msg)


def _enrolment(document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Enrolment:
    if document.pop("digest", None) != digest_of(document):
        msg = "its digest differs"
        raise ValueError(msg)
    if {name: _digest(array) for name, array in arrays.items()} != document["arrays"]:
        msg = "its arrays are not those it was saved with"
        raise ValueError(msg)
    names = tuple(str(name) for name in document["names"])
    scales = [name for name in arrays if name.startswith("map_")]
    maps = tuple(arrays[f"map_{scale}"] for scale in range(1, len(scales) + 1))
    if not names or not maps or any(m.dtype != np.float32 or m.ndim != 4 or len(m) != len(names) for m in maps):  # noqa: PLR2004
        msg = f"its maps are not those of {len(names)} images"
        raise ValueError(msg)
    scores, peaks, levels = (arrays[name] for name in NORMALS)
    # Enrolments of earlier releases have none.
    pictures = arrays.get(PICTURES, NO_PICTURES)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) not in {0, len(names)}:  # noqa: PLR2004
        msg = f"its pictures are not those of {len(names)} images"
        raise ValueError(msg)
    bank = bank_from_arrays(arrays, [m.shape[1] for m in maps], len(names))
    plain = Enrolment(maps, names, str(document["bundle"]), scores, peaks, levels, bank=bank, pictures=pictures)
    return plain.with_threshold(document["target_fpr"])


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an uncompressed ``.npz``: no pickle, and no entry larger than the file."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                msg = f"entry {entry.filename!r} is compressed or too large"
                raise ValueError(msg)
            # Read whole, so that the checksum is compared before anything is made of it.
            stream = io.BytesIO(archive.read(entry))
            array = np.lib.format.read_array(stream, allow_pickle=False)
            arrays[entry.filename.removesuffix(".npy")] = np.ascontiguousarray(array)
    return arrays


def _digest(array: NDArray[Any]) -> str:
    return sha256(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
