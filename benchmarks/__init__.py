# SPDX-License-Identifier: Apache-2.0
"""Runnable comparisons; see README.md."""
