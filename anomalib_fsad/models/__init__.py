# SPDX-License-Identifier: Apache-2.0
"""The detectors, one folder each, laid out as anomalib lays out its own models; import them from ``anomalib_fsad``."""
