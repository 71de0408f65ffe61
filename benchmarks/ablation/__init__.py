# SPDX-License-Identifier: Apache-2.0
"""What the parts of a model are worth: a yaml file for each ablation, ``python -m benchmarks.ablation --help``."""
