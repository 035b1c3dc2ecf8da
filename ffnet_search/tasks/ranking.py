"""Qualities of several outputs as NumPy computes them, without torch: the ranking, by an output, of images that have a
label above the others, and errors in standard deviations. Shape keys: N images, K labels or targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_precision(output_NK: NDArray[np.floating], has_NK: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The average precision of each label, (K,); not a number where no image has it.

    The mean, over the images that have the label, of the precision among all that score as high: the sum of
    (R_n - R_{n-1}) P_n over thresholds, of which equal outputs share one."""
    precision_K = np.full(output_NK.shape[1], np.nan)
    for label in np.flatnonzero(has_NK.any(0)):
        order_N = np.argsort(-output_NK[:, label], kind="stable")
        falling_N, has_N = output_NK[order_N, label], has_NK[order_N, label]
        count_N = np.searchsorted(-falling_N, -falling_N, side="right")  # that score as high
        precision_K[label] = (has_N.cumsum()[count_N - 1] / count_N)[has_N].mean()
    return precision_K


def standardised_error(error_NK: NDArray[np.floating], target_NK: NDArray[np.floating]) -> float:
    """The mean over targets of the absolute error in standard deviations of the target; a target that does not vary
    has the standard deviation 1."""
    spread_K = target_NK.astype(np.float64).std(0)
    spread_K = np.where((target_NK == target_NK[:1]).all(0), 1.0, spread_K)
    return float((error_NK.astype(np.float64).mean(0) / spread_K).mean())
