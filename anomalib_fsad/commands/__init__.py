# SPDX-License-Identifier: Apache-2.0
"""The verbs of the ``anomalib-fsad`` command: a file each, with ``add_arguments`` and ``run``."""
