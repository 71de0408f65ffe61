# SPDX-License-Identifier: Apache-2.0
"""Models side by side under one protocol: cells of model, target, K and seed, their results and reports."""
