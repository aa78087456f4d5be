"""When requests are sent: a list of absolute times (open loop) or a number of clients (closed loop).

Knows neither what is sent nor how, nor why so much is wanted when: that is a `Demand`.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadtest.demand import Demand, steady

Arrivals: TypeAlias = Literal["poisson", "constant"]


@dataclass(frozen=True)
class OpenLoop:
    """Requests leave at set times, whether or not earlier ones were answered, as independent users do."""

    times: NDArray[np.float64]
    """float64[n], ascending: the intended send times in seconds after the start."""


@dataclass(frozen=True)
class ClosedLoop:
    """Each client sends as soon as its last request was answered, so a slow server is asked less."""

    clients: int
    seconds: float


Load: TypeAlias = OpenLoop | ClosedLoop


def open_loop(arrivals: Arrivals, *, rate: float, seconds: float, seed: int) -> OpenLoop:
    """Spread `rate` requests per second over `seconds`; see `spread`."""
    return spread(steady(rate, seconds), arrivals, seed=seed)


def spread(demand: Demand, arrivals: Arrivals, *, seed: int) -> OpenLoop:
    """Set the times of the requests of a demand; `poisson` is random but the same for the same seed."""
    if arrivals == "constant":
        return OpenLoop(demand.when(np.arange(np.ceil(demand.total), dtype=np.float64)))
    generator = np.random.default_rng(seed)
    # Given their number, the events of a Poisson process are independent and uniform – in demand, not in time.
    return OpenLoop(np.sort(demand.when(generator.uniform(0, demand.total, generator.poisson(demand.total)))))
