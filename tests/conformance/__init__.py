# SPDX-License-Identifier: Apache-2.0
"""What every model of the registry must be able to do; README.md says how a new one joins."""
