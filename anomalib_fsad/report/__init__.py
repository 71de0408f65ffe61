# SPDX-License-Identifier: Apache-2.0
"""The report of ``anomalib-fsad predict``, written by anomalib's own ``predict`` and ``test``."""
