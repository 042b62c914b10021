"""Computes the quantiles that the tables show."""

import statistics
from collections.abc import Sequence

__all__ = ["quantiles"]


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile of one or more values."""
    if len(values) == 1:
        return values[0], values[0]
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]
