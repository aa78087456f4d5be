"""What can go wrong while serving. Owns the names; `server.problems` says what a client is told.

Messages tell the offending value and the fix, and never contain a user's text.
"""

from bundle.errors import DiscoError


class MissingPackageError(DiscoError):
    """A setting needs a package that is not installed."""


class MalformedBodyError(DiscoError):
    """The body is not JSON."""


class InvalidRequestError(DiscoError):
    """The body is JSON, but a field is missing, mistyped or out of range."""


class UnknownModelError(DiscoError):
    """The request names a model that is not served."""


class BundleConflictError(DiscoError):
    """The bundles that were asked for cannot be served together, or in the place of those that are."""


class ForbiddenError(DiscoError):
    """The route is not open to anybody as the server is set up."""


class UnauthorizedError(DiscoError):
    """The route needs an API key, and the request brings none or a wrong one."""


class UnsupportedMediaTypeError(DiscoError):
    """The body claims to be something other than JSON."""


class OverloadedError(DiscoError):
    """The queue has no room for the request, or its key's rate has not; nothing of it was accepted."""

    def __init__(self, message: str, *, reason: str, retry_after: int) -> None:
        """`reason` is the limit that was hit: items, tokens, seconds, rate, bytes; `retry_after` whole seconds ≥ 1."""
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class SlowRequestError(DiscoError):
    """The client did not send the whole body in time."""


class TooManyConnectionsError(DiscoError):
    """The request came over a connection beyond the limit; nothing of it was accepted."""


class BackendError(DiscoError):
    """The model failed on this batch; other batches are not affected."""


class UnhealthyError(DiscoError):
    """No engine worker is able to do the work."""


class EngineDiedError(UnhealthyError):
    """An engine's process has died, or hung and was killed."""


class AddressError(DiscoError):
    """The address cannot be listened on."""


class PeerError(DiscoError):
    """Another process of this server could not answer."""


class DisconnectedError(UnhealthyError):
    """Another process of this server is gone, or does not answer."""


class RequestTimeoutError(DiscoError):
    """The work was not done before the request's deadline."""


class ClientGoneError(DiscoError):
    """The client has closed the connection: nobody will read the answer."""
