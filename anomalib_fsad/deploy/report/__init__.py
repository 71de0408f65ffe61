# SPDX-License-Identifier: Apache-2.0
"""Predictions -> one HTML file that a doctor can read: pictures, heat maps, scores, and what they rest on.

The page is written from plain arrays (:mod:`anomalib_fsad.deploy.report.content`), so that ``anomalib-fsad predict`` on
a box without torch and anomalib's own ``predict`` and ``test`` share it. Nothing here imports torch.
"""

from anomalib_fsad.deploy.report.content import Basis, Finding, NearestPatch, Support
from anomalib_fsad.deploy.report.writer import ReportWriter, check_report_path, entry_of, new_report

__all__ = ["Basis", "Finding", "NearestPatch", "ReportWriter", "Support", "check_report_path", "entry_of", "new_report"]
