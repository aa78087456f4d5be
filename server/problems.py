"""The one table from an error to what a client is told: status, type and body.

Native routes answer in the shape of Text Embeddings Inference, OpenAI's route in OpenAI's and Cohere's in Cohere's.
Neither an answer nor a log line made here contains a user's text.
"""

import logging
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from msgspec import Struct
from msgspec.json import encode

from bundle.errors import BundleError, DiscoError, EmptyInputError, InputError
from server.errors import (
    BackendError,
    BundleConflictError,
    ClientGoneError,
    ForbiddenError,
    InvalidRequestError,
    MalformedBodyError,
    OverloadedError,
    RequestTimeoutError,
    SlowRequestError,
    TooManyConnectionsError,
    UnauthorizedError,
    UnhealthyError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)
from server.metrics import Metrics
from server.schemas import CohereError, ErrorBody, OpenAIError, OpenAIErrorBody

logger = logging.getLogger(__name__)


class Problem(NamedTuple):
    """How an error is told to a client."""

    status: int
    error_type: str
    openai_type: str


PROBLEMS: dict[type[Exception], Problem] = {
    EmptyInputError: Problem(400, "Empty", "invalid_request_error"),
    MalformedBodyError: Problem(400, "Validation", "invalid_request_error"),
    ValidationException: Problem(400, "Validation", "invalid_request_error"),  # Litestar's answer to a missing body
    UnauthorizedError: Problem(401, "Unauthorized", "authentication_error"),
    ForbiddenError: Problem(403, "Forbidden", "permission_error"),
    NotFoundException: Problem(404, "NotFound", "invalid_request_error"),
    UnknownModelError: Problem(404, "ModelNotFound", "invalid_request_error"),
    MethodNotAllowedException: Problem(405, "MethodNotAllowed", "invalid_request_error"),
    RequestEntityTooLarge: Problem(413, "PayloadTooLarge", "invalid_request_error"),
    UnsupportedMediaTypeError: Problem(415, "Validation", "invalid_request_error"),
    InputError: Problem(422, "Validation", "invalid_request_error"),
    SlowRequestError: Problem(408, "SlowRequest", "invalid_request_error"),
    BundleConflictError: Problem(409, "Conflict", "invalid_request_error"),
    InvalidRequestError: Problem(422, "Validation", "invalid_request_error"),
    # A bundle that is refused while the server runs: told to operators, by the admin route only.
    BundleError: Problem(409, "Conflict", "invalid_request_error"),
    BackendError: Problem(424, "Backend", "server_error"),
    OverloadedError: Problem(429, "Overloaded", "rate_limit_error"),
    ClientGoneError: Problem(499, "ClientGone", "invalid_request_error"),
    InternalServerException: Problem(
        499, "ClientGone", "invalid_request_error"
    ),  # Litestar: gone before the body's end
    UnhealthyError: Problem(503, "Unhealthy", "server_error"),
    TooManyConnectionsError: Problem(503, "Overloaded", "server_error"),
    RequestTimeoutError: Problem(504, "Timeout", "server_error"),
    Exception: Problem(500, "Internal", "server_error"),
}


def problem_of(error: Exception) -> Problem:
    """Look `error` up in the table, nearest base class first."""
    problem = next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    if isinstance(error, HTTPException) and problem.status == 500 and error.status_code < 500:
        return Problem(error.status_code, "Validation", "invalid_request_error")
    return problem


class Told(NamedTuple):
    """An error as it is told to a client, in bytes."""

    status: int
    error_type: str
    headers: dict[str, str]
    body: bytes


class Answer:
    """Tells errors in the shape of one API; as it is called it is an exception handler of Litestar's."""

    def __init__(self, shape: Callable[[Problem, str], Struct]) -> None:
        self._shape = shape

    def __call__(self, request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        """Answer `request`."""
        told = self.tell(error, request.app.state.metrics, place=request.scope.get("path_template"))
        return Response(told.body, status_code=told.status, headers=told.headers, media_type="application/json")

    def tell(self, error: Exception, metrics: Metrics, *, place: str | None) -> Told:
        """Count `error`, log it where it is this program's fault, and say what the client is told."""
        told = self.describe(error)
        metrics.errors.labels(told.error_type).inc()
        if told.error_type == "Internal":
            # Without the message: whatever broke may have put a user's text into it.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s while answering %s\n%s", type(error).__name__, place, frames)
        return told

    def describe(self, error: Exception) -> Told:
        """Say what the client is told, and nothing to anybody else."""
        problem = problem_of(error)
        body = encode(self._shape(problem, _message(error)))
        return Told(problem.status, problem.error_type, _headers(error), body)


def _openai_body(problem: Problem, message: str) -> OpenAIErrorBody:
    code = problem.error_type.lower()
    return OpenAIErrorBody(OpenAIError(message=message, type=problem.openai_type, param=None, code=code))


answer_native = Answer(lambda problem, message: ErrorBody(error=message, error_type=problem.error_type))
answer_openai = Answer(_openai_body)
answer_cohere = Answer(lambda _, message: CohereError(message=message))


def _message(error: Exception) -> str:
    if isinstance(error, RequestEntityTooLarge):
        return "the body is larger than this server's payload limit; send fewer texts at once"
    if isinstance(error, ValidationException):
        return "the body is empty; send a JSON object"
    if isinstance(error, NotFoundException | MethodNotAllowedException):
        return f"{error.detail}; /docs lists the routes"
    if isinstance(error, HTTPException):
        return error.detail
    if isinstance(error, DiscoError):
        return str(error)
    return "internal error; the server's log has the details"


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, OverloadedError):
        return {"retry-after": str(error.retry_after)}
    if isinstance(error, SlowRequestError):
        return {"connection": "close"}  # who knows when the rest of the body comes
    if isinstance(error, TooManyConnectionsError):
        return {"connection": "close", "retry-after": "1"}
    if isinstance(error, UnauthorizedError):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, HTTPException) and error.headers:
        return dict(error.headers)
    return {}
