# SPDX-License-Identifier: Apache-2.0
"""Image files: finding, choosing and decoding them, without torch or anomalib; all other parts may use it."""
