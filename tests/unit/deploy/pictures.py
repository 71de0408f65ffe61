# SPDX-License-Identifier: Apache-2.0
"""Small images of every kind that the deployment reads."""

from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def grey(seed: int, size: tuple[int, int], spot: bool = False) -> np.ndarray:
    """A smooth picture in [0, 1], height x width."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]), indexing="ij")
    picture = 0.5 + 0.3 * np.sin(7 * x + rng.uniform(0, 0.5)) * np.cos(5 * y) + rng.normal(0, 0.02, x.shape)
    if spot:
        picture[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 0.98
    return picture.clip(0, 1)


def colour(seed: int, size: tuple[int, int], spot: bool = False) -> np.ndarray:
    """The same in three tints, as bytes."""
    channels = [grey(seed, size, spot) * tint for tint in (1.0, 0.8, 0.6)]
    return (np.stack(channels, axis=-1) * 255).astype(np.uint8)


def write_dicom(path: Path, values: np.ndarray) -> None:
    """A CT slice of H x W 16-bit values with a rescale slope and a window."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.WindowCenter, data.WindowWidth = 1000, 3500
    data.PixelData = values.astype(np.uint16).tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def write_normals(folder: Path, count: int = 5, first_seed: int = 0, size: tuple[int, int] = (90, 80)) -> Path:
    """Normal pictures of one size."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + count):
        Image.fromarray(colour(seed, size)).save(folder / f"{seed}.png")
    return folder


def write_mixed(folder: Path) -> Path:
    """Mixed sizes, grey and colour, 8 and 16 bit, float and DICOM; one in a subfolder."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colour(10, (90, 80))).save(folder / "rgb8.png")
    Image.fromarray(colour(11, (200, 150), spot=True)).save(folder / "large.jpg", quality=90)
    Image.fromarray((grey(12, (40, 48)) * 255).astype(np.uint8)).save(folder / "grey8.bmp")
    Image.fromarray(np.dstack([colour(13, (70, 64)), np.full((70, 64), 255, np.uint8)])).save(folder / "rgba.png")
    Image.fromarray((grey(14, (120, 100), spot=True) * 4095).astype(np.uint16)).save(folder / "grey16.png")
    Image.fromarray((grey(15, (64, 64)) * 65535).astype(np.uint16)).save(folder / "grey16.tif")
    Image.fromarray(grey(16, (77, 91)).astype(np.float32)).save(folder / "float.tif")
    (folder / "scanner").mkdir(exist_ok=True)
    write_dicom(folder / "scanner/slice.dcm", grey(17, (128, 96), spot=True) * 4000)
    return folder
