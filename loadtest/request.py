"""One request: its bytes, and whether what comes back answers it. Knows neither times nor connections."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.forms import ANY_FORM, Form
from loadtest.measurement import OK
from loadtest.routes import Route

INVALID = "invalid answer"


@dataclass(frozen=True)
class Request:
    """A request ready to be sent any number of times."""

    wire: bytes
    texts: Sequence[str]
    route: Route
    form: Form = ANY_FORM

    def judge(self, body: bytes) -> str:
        """The outcome of an answer with status 200: `OK` or the kind of failure."""
        return OK if self.route.is_answer(body, len(self.texts), self.form) else INVALID
