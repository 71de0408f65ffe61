# SPDX-License-Identifier: Apache-2.0
"""The models on a box without torch: export a few small graphs, enrol an organ with K normal images (D24FAD), predict.

Everything is loaded on first use. Only ``export`` needs torch and anomalib; the rest needs NumPy, Pillow and OpenVINO
or onnxruntime.

Example:
    >>> import anomalib_fsad.deploy as deploy
    >>> sorted(deploy.__all__)
    ['Bundle', 'BundleError', 'Enrolment', 'FewShotInferencer', 'Prediction', 'export', 'threshold_from_normals']
"""

from typing import TYPE_CHECKING

from anomalib_fsad.lazy import lazy_names

if TYPE_CHECKING:
    from anomalib_fsad.deploy.bundle import Bundle, BundleError
    from anomalib_fsad.deploy.enrolment import Enrolment
    from anomalib_fsad.deploy.exporting import export
    from anomalib_fsad.deploy.inferencer import FewShotInferencer
    from anomalib_fsad.deploy.prediction import Prediction
    from anomalib_fsad.threshold import threshold_from_normals

__all__ = [
    "Bundle",
    "BundleError",
    "Enrolment",
    "FewShotInferencer",
    "Prediction",
    "export",
    "threshold_from_normals",
]

_HOMES = {
    "Bundle": "anomalib_fsad.deploy.bundle",
    "BundleError": "anomalib_fsad.deploy.bundle",
    "Enrolment": "anomalib_fsad.deploy.enrolment",
    "FewShotInferencer": "anomalib_fsad.deploy.inferencer",
    "Prediction": "anomalib_fsad.deploy.prediction",
    "export": "anomalib_fsad.deploy.exporting",
    "threshold_from_normals": "anomalib_fsad.threshold",
}

__getattr__, __dir__ = lazy_names(__name__, lambda: _HOMES)
