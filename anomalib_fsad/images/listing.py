# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are its images: one answer for the datamodule, the models and the deployment."""

from pathlib import Path

from anomalib_fsad.images.decoding import IMAGE_SUFFIXES, is_dicom


def images_in(folder: Path, *, below: bool = False) -> list[Path]:
    """The image files of a folder, sorted; hidden files are left out.

    A file is an image by its suffix, or, where it has none, if it is DICOM.

    Args:
        folder: where to look; a folder that does not exist holds none.
        below: look into its sub-folders too.
    """
    found = folder.rglob("*") if below else folder.glob("*")
    return sorted(path for path in found if _is_image(path))


def _is_image(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and is_dicom(path))
