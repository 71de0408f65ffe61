# SPDX-License-Identifier: Apache-2.0
"""Small whole image files of many kinds, to be damaged."""

import io
from random import Random
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

SIZE = (16, 12)

PNG_CHUNKS = ("IHDR", "PLTE", "tRNS", "IDAT", "IEND", "iCCP", "eXIf", "tEXt", "zTXt", "iTXt", "acTL", "fcTL", "gAMA")
JPEG_MARKERS = (0xC0, 0xC1, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE)
BMP_HEADERS = (12, 40, 64, 108, 124)
TIFF_TAGS = (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 324, 338, 339, 34665, 34853)
DICOM_TAGS = ("e07f1000", "feff00e0", "feffdde0", "28001000", "28001030", "ffffffff")
SYNTAXES = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5")

WORDS: dict[str, tuple[bytes, ...]] = {
    "png": tuple(name.encode() for name in PNG_CHUNKS),
    "jpeg": tuple(bytes([0xFF, marker]) for marker in JPEG_MARKERS),
    "bmp": (b"BM", *(size.to_bytes(4, "little") for size in BMP_HEADERS)),
    "tiff": tuple(tag.to_bytes(2, "little") for tag in TIFF_TAGS),
    "dicom": (
        *(bytes.fromhex(tag) for tag in DICOM_TAGS),
        *(name.encode() for name in ("SQ", "OW", "DS", "UN", *SYNTAXES)),
    ),
}

DICOM_VALUES: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 11, 65535),
    "Columns": (0, 1, 15, 65535),
    "SamplesPerPixel": (0, 1, 3, 4, 65535),
    "PlanarConfiguration": (0, 1, 7),
    "BitsAllocated": (0, 1, 8, 12, 16, 32, 64, 65535),
    "BitsStored": (0, 1, 8, 12, 16, 32, 65535),
    "HighBit": (0, 7, 15, 65535),
    "PixelRepresentation": (0, 1, 2),
    "NumberOfFrames": (0, 1, 2, 10**9, -1),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "?", ""),
    "RescaleSlope": (0, 1, -1, 1e308, float("nan"), float("inf"), ""),
    "RescaleIntercept": (0, -1024, -1e308, float("nan"), float("-inf")),
    "WindowCenter": (0, 1e308, float("nan"), [1, 2], ""),
    "WindowWidth": (0, -1, 1, 1e-300, 1e308, float("inf"), [], ""),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID", "?"),
    "PixelPaddingValue": (0, 65535),
    "RedPaletteColorLookupTableDescriptor": ([0, 0, 0], [256, 0, 16], [1, 65535, 8]),
}


def pixels(channels: int = 0, deep: bool = False) -> np.ndarray:
    """A smooth picture."""
    y, x = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]), indexing="ij")
    grey = 0.5 + 0.3 * np.sin(7 * x) * np.cos(5 * y)
    values = (grey * 4095).astype(np.uint16) if deep else (grey * 255).astype(np.uint8)
    return np.stack([values] * channels, axis=-1) if channels else values


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> dict[str, list[bytes]]:
    """Whole files, by their kind."""
    grey, rgb, deep = (Image.fromarray(p) for p in (pixels(), pixels(3), pixels(deep=True)))
    floats = Image.fromarray(pixels().astype(np.float32) / 255)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "of a picture", zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "turned"
    small = {mode: rgb.convert(mode) for mode in ("1", "P", "LA", "RGBA", "CMYK", "YCbCr")}
    return {
        "png": [
            *(encoded(p, "PNG") for p in (grey, rgb, deep, small["1"], small["P"], small["LA"], small["RGBA"])),
            encoded(small["P"], "PNG", transparency=3),
            encoded(rgb, "PNG", pnginfo=text, exif=exif, icc_profile=b"p" * 200),
            encoded(grey, "PNG", save_all=True, append_images=[grey.rotate(90)]),
        ],
        "jpeg": [
            *(encoded(p, "JPEG") for p in (grey, rgb, small["CMYK"])),
            encoded(rgb, "JPEG", progressive=True, exif=exif, icc_profile=b"p" * 200),
            encoded(rgb, "JPEG", subsampling=2, optimize=True, comment=b"words"),
            encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        ],
        "bmp": [encoded(p, "BMP") for p in (grey, rgb, small["1"], small["P"], small["RGBA"])]
        + [encoded(rgb, "DIB"), _run_length_bmp()],
        "tiff": [
            *(encoded(p, "TIFF") for p in (grey, rgb, deep, floats, small["P"], small["RGBA"], small["CMYK"])),
            *(encoded(rgb, "TIFF", compression=c) for c in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg")),
            encoded(small["1"], "TIFF", compression="group4"),
            encoded(deep, "TIFF", compression="tiff_adobe_deflate", exif=exif),
            encoded(small["YCbCr"], "TIFF"),
            encoded(grey, "TIFF", save_all=True, append_images=[grey]),
            encoded(grey, "TIFF", big_tiff=True),
        ],
        "dicom": [dicom_bytes(data) for data in dicoms()],
    }


def _run_length_bmp() -> bytes:
    """Eight-bit run lengths, which Pillow reads and does not write."""
    plain = bytearray(encoded(Image.fromarray(pixels()).convert("P"), "BMP"))
    start = int.from_bytes(plain[10:14], "little")
    runs = (bytes([SIZE[1], 7]) + b"\x00\x00") * SIZE[0] + b"\x00\x01"
    plain[30:34], plain[34:38] = (1).to_bytes(4, "little"), len(runs).to_bytes(4, "little")
    return bytes(plain[:start]) + runs


def dicoms() -> list[Dataset]:
    """Single images in several transfer syntaxes, photometric interpretations and look-up tables."""
    syntaxes = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    plain = [slice_of(pixels(deep=True), syntax) for syntax in syntaxes]
    inverted = slice_of(pixels(), PhotometricInterpretation="MONOCHROME1", NumberOfFrames=1)
    sigmoid = slice_of(pixels(deep=True), WindowCenter=1000, WindowWidth=3500, VOILUTFunction="SIGMOID")
    table = slice_of(pixels(deep=True))
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 8], (np.arange(4096) // 16).astype(np.uint16).tobytes()
    lut["LUTData"].VR = "OW"
    table.VOILUTSequence = Sequence([lut])
    padded = slice_of(pixels(deep=True), PixelPaddingValue=0)
    colour = slice_of(pixels(3), PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    palette = slice_of(pixels(), PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(palette, f"{name}PaletteColorLookupTableData", (np.arange(256) * 257).astype(np.uint16).tobytes())
    run_length = slice_of(pixels(deep=True))
    run_length.compress(RLELossless)
    jpeg = slice_of(pixels(), JPEGBaseline8Bit)
    jpeg.PixelData = encapsulate([encoded(Image.fromarray(pixels()), "JPEG")])
    jpeg["PixelData"].VR = "OB"
    return [*plain, inverted, sigmoid, table, padded, colour, palette, run_length, jpeg]


def slice_of(values: np.ndarray, syntax: Any = ExplicitVRLittleEndian, **more: Any) -> Dataset:
    """A CT slice of these values."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.PatientName = "Mustermann^Erika"
    data.Rows, data.Columns = values.shape[:2]
    bits = 8 * values.itemsize
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    data.PixelData = values.tobytes()
    data["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in more.items():
        setattr(data, name, value)
    return data


def dicom_bytes(data: Dataset) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def strange_dicom(content: bytes, random: Random) -> bytes:
    """A file that is well formed, with one to three values that no scanner writes."""
    data = dcmread(io.BytesIO(content))
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(list(DICOM_VALUES))
        if random.random() < 0.2 and name in data:
            delattr(data, name)
        else:
            setattr(data, name, random.choice(DICOM_VALUES[name]))
    return dicom_bytes(data)
