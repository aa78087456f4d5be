"""Whether the generator itself was the bottleneck, in which case its figures describe it and not the server."""

import numpy as np

from loadtest.measurement import Measurement, percentile

MOST_CPU = 0.9
"""Of one core: asyncio has no second one, so beyond this answers wait here to be read."""
TOLERATED_LAG = 0.002
"""Seconds; what a busy machine's scheduler does to any process."""
MOST_LAG_SHARE = 0.25
"""Of the latency at the same percentile; what is more describes the generator."""


def find_bottlenecks(measurement: Measurement) -> list[str]:
    """Reasons not to trust a run; none for a sound one."""
    reasons = []
    if measurement.cpu_share > MOST_CPU:
        reasons.append(
            f"the generator used {measurement.cpu_share:.0%} of a core: lower the load or use several generators"
        )
    if len(measurement.lags):
        lag = percentile(np.sort(measurement.lags), 99)
        latency = percentile(np.sort(measurement.latencies), 99)
        if lag > max(TOLERATED_LAG, MOST_LAG_SHARE * latency):
            reasons.append(
                f"requests left late: p99 of the lag is {lag * 1e3:.1f} ms where p99 of the latency is "
                f"{latency * 1e3:.1f} ms; lower the rate or give the generator its own core"
            )
    return reasons
