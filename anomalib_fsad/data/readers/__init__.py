# SPDX-License-Identifier: Apache-2.0
"""The readers of public medical sets, in the layouts in which they unpack: one file a layout.

A new set is one function with ``@reader(name, looks_like=[...])``, one line here, and one test on a miniature of it.
The order of the lines is the order in which ``reader: auto`` tries the layouts.
"""

from anomalib_fsad.data.readers.folder import read_folder
from anomalib_fsad.data.readers.phantom import read_phantom
from anomalib_fsad.data.readers.registry import READERS, Reader, Sample, images_in, reader, to_table

__all__ = [
    "READERS",
    "Reader",
    "Sample",
    "images_in",
    "read_folder",
    "read_phantom",
    "reader",
    "to_table",
]
