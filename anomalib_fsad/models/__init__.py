# SPDX-License-Identifier: Apache-2.0
"""The detectors, one folder each, laid out as anomalib lays out its own models; import them from ``anomalib_fsad``."""

# First of all: registering the plug-in follows this import, and must not find a model half imported.
import anomalib.models  # noqa: F401
