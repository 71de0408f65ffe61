# SPDX-License-Identifier: Apache-2.0
"""How good the models are: ``python -m benchmarks.accuracy --help``."""
