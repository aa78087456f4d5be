"""What is sent: texts, routes, forms and sizes put together to requests. Knows neither when nor over what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.client import Endpoint
from loadtest.corpus import MOST_TEXTS, deal
from loadtest.forms import ANY_FORM, Form
from loadtest.mix import Mix
from loadtest.request import Request
from loadtest.routes import ROUTES, Route, RouteName


@dataclass(frozen=True)
class Target:
    """The server, and what every request to it says."""

    url: str
    model: str
    api_key: str | None

    def request(self, route: Route, texts: Sequence[str], form: Form = ANY_FORM) -> Request:
        """Make one request."""
        endpoint = Endpoint.from_url(self.url + route.path)
        body = route.encode(texts, self.model, form)
        wire = endpoint.request(body, api_key=self.api_key, accept=form.accept)
        return Request(wire, texts, route, form)


@dataclass(frozen=True)
class Composition:
    """What requests are made of; the three are drawn independently of each other."""

    routes: Mix[RouteName]
    sizes: Mix[int]
    """Texts in each request."""
    forms: Mix[Form]


def compose(composition: Composition, texts: Sequence[str], target: Target, *, seed: int) -> list[Request]:
    """Put `texts` into requests, using each about once; too few are repeated until every kind is there."""
    mixes = (composition.routes, composition.sizes, composition.forms)
    generator = np.random.default_rng(seed)
    mean_size = float(np.dot(composition.sizes.choices, composition.sizes.shares))
    # Rare kinds of large requests would make a list of gigabytes.
    enough = min(max(mix.least_draws for mix in mixes), max(1, int(10 * MOST_TEXTS / mean_size)))
    count = max(int(len(texts) / mean_size), enough)
    routes = [ROUTES[name] for name in composition.routes.draw(count, generator)]
    sizes = composition.sizes.draw(count, generator)
    forms = composition.forms.draw(count, generator)
    batches = deal(texts, [route.texts(size) for route, size in zip(routes, sizes, strict=True)])
    return [
        target.request(route, batch, form if route.encodings else ANY_FORM)
        for route, batch, form in zip(routes, batches, forms, strict=True)
    ]
