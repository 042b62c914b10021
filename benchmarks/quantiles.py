"""What is shown of many measurements."""

import statistics
from collections.abc import Sequence

__all__ = ["quantiles"]


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile of at least one value."""
    if len(values) == 1:
        return values[0], values[0]
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]
