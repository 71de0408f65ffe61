# SPDX-License-Identifier: Apache-2.0
"""The phantom set: procedural medical pictures for trials without a network.

Six organs that look different, each image varied in pose, shape, contrast and noise, and five kinds of lesion in two
strengths, with exact masks. ``python -m anomalib_fsad.data.phantom OUT.png`` draws a contact sheet.
"""

from anomalib_fsad.data.phantom.generate import Phantom, make_phantom, write_phantom
from anomalib_fsad.data.phantom.lesions import LESIONS, STRENGTHS
from anomalib_fsad.data.phantom.organs import ORGANS

__all__ = ["LESIONS", "ORGANS", "STRENGTHS", "Phantom", "make_phantom", "write_phantom"]
