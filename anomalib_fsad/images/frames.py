# SPDX-License-Identifier: Apache-2.0
"""DICOM files of several frames, and series of several files: which slices there are, and in which order.

Of a header, only what is named here is read: no name, date or number of a patient.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_fsad.images.decoding import is_dicom
from anomalib_fsad.images.deflated import refuse_deflated_bomb
from anomalib_fsad.images.slices import slice_at

ORDER = ("SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames")
SIZE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")

MOST = 20_000
"""Frames of one file: an hour of film has fewer at the rate of a scanner."""

LEAST_BYTES = 16
"""What a frame takes in a file at least, however it is compressed."""


def frames_of(path: Path) -> list[Path]:
    """The slices of a file: itself, or the frames of a DICOM file that has several.

    What cannot be read, or claims more frames than it can hold, is itself: whoever reads it is told why.
    """
    header = _header(path, ("NumberOfFrames", *SIZE)) if is_dicom(path) else None
    count = 1 if header is None else frame_count(header)
    if count == 1 or not fits(path, header, count):
        return [path]
    return [path / str(number) for number in range(1, count + 1)]


def frame_count(data: Any) -> int:
    """How many frames a file says it has."""
    return int(data.get("NumberOfFrames") or 1)


def fits(path: Path, data: Any, count: int) -> bool:
    """Whether so many frames can be in this file."""
    frame = LEAST_BYTES
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        rows, columns, samples, bits = (int(data.get(name) or 1) for name in SIZE)
        frame = max(rows * columns * samples * bits // 8, 1)
    return 1 <= count <= MOST and count * frame <= path.stat().st_size


def in_scan_order(paths: Sequence[Path]) -> list[Path]:
    """The same paths, each DICOM series of a folder in the order in which its slices lie; the others stay in theirs.

    Slices without a position follow one another by their number, or by their name.
    """
    keys: dict[Path, tuple[int, float, float]] = {}
    first: dict[Any, int] = {}
    for path in paths:
        file, frame = slice_at(path)
        header = _header(file, ORDER) if frame is None and is_dicom(file) else None
        uid = None if header is None else header.get("SeriesInstanceUID")
        # Where the first of a series stood, the rest of it follows.
        place = first.setdefault((path.parent, str(uid)) if uid else path, len(first))
        keys[path] = (place, *(_position(header) if uid else (0.0, 0.0)))
    return sorted(paths, key=lambda path: keys[path])


def _position(header: Any) -> tuple[float, float]:
    """Along the normal of the image plane, and the number in the series."""
    number = float(header.get("InstanceNumber") or 0)
    try:
        along, down = np.asarray(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        place = float(np.dot(np.cross(along, down), np.asarray(header.ImagePositionPatient, dtype=np.float64)))
    except (AttributeError, TypeError, ValueError):
        return 0.0, number
    return round(place, 3) if np.isfinite(place) else 0.0, number


def _header(path: Path, names: Sequence[str]) -> Any | None:
    """These elements of a DICOM file; ``None`` if it cannot be read."""
    try:
        pydicom = import_module("pydicom")
        refuse_deflated_bomb(pydicom, path, path)
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(names))
        frame_count(data)
    except Exception:
        return None
    return data
