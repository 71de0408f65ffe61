# SPDX-License-Identifier: Apache-2.0
"""The readers of public medical sets, in the layouts in which they unpack: one file a layout.

A new set is one function with ``@reader(name, ("a pattern", "that all must match"))``, one line here, and one test on a
miniature of it. The order of registration is the order in which ``reader: auto`` tries the layouts: the plain folder,
which others resemble, comes last.
"""

# isort: off
from anomalib_fsad.data.readers import meta_json, split_json
from anomalib_fsad.data.readers import aptos, brain_tumor, head_ct, isic2018, lag, rsna, zhanglab
from anomalib_fsad.data.readers import brain_mri, camelyon
from anomalib_fsad.data.readers import folder, phantom

# isort: on
from anomalib_fsad.data.readers.registry import READERS, Reader, Sample, reader, to_table

__all__ = [
    "READERS",
    "Reader",
    "Sample",
    "aptos",
    "brain_mri",
    "brain_tumor",
    "camelyon",
    "folder",
    "head_ct",
    "isic2018",
    "lag",
    "meta_json",
    "phantom",
    "reader",
    "rsna",
    "split_json",
    "to_table",
    "zhanglab",
]
