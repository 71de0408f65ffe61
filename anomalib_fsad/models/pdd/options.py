# SPDX-License-Identifier: Apache-2.0
"""Checks of what only PDD has, since anomalib's benchmark passes jsonargparse by."""


def check_taus(tau_low: float, tau_high: float) -> None:
    """Refuse thresholds that no cosine can be on the right side of."""
    for option, value in (("tau_low", tau_low), ("tau_high", tau_high)):
        if not -1 <= value <= 1:
            msg = f"{option}={value} is compared with cosines: it must be between -1 and 1; the authors start at "
            raise ValueError(msg + "tau_low=0.75, tau_high=0.30.")
