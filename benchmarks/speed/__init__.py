# SPDX-License-Identifier: Apache-2.0
"""How long things take: ``python -m benchmarks.speed --help``."""
