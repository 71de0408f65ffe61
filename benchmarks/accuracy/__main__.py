# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.accuracy NAME``."""

import sys
from importlib import import_module

from benchmarks.command import chosen

SUBJECTS = {
    "report": "finished runs of anomalib-fsad compare -> tables and plots",
    "choice": "D24FAD's options, those of each target chosen on the other organs",
    "sources": "D24FAD against the number of source images and organs: what would more of them bring?",
    "leaks": "what blurring across a batch, and scoring one image in ten, are worth",
    "demo": "which options the demo takes, by the organs that it does not test",
    "precisions": "what mixed precision, bfloat16 and 8 bits do to the scores",
    "threshold": "how well a threshold from K normals keeps its false-positive rate",
    "enrolment": "what predict's drift and enroll's outliers are on drawn organs: where their limits come from",
}

if __name__ == "__main__":
    name, rest = chosen("accuracy", SUBJECTS, sys.argv[1:])
    sys.exit(import_module(f"benchmarks.accuracy.{name}").main(rest) or 0)
