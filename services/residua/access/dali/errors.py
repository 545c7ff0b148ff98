"""Errors of requests, each with the status and the word clients know it by."""

__all__ = [
    "EmbargoError",
    "ForbiddenError",
    "GoneError",
    "NotFoundError",
    "OverloadError",
    "QueryTimeoutError",
    "RequestError",
    "SlowRequestError",
    "UnauthorizedError",
    "UnavailableError",
    "UsageError",
]


class RequestError(Exception):
    """A request that cannot be served; the message is for who sent it."""

    status = 500
    fault = "Error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(RequestError):
    """The request is wrong."""

    status = 400
    fault = "UsageFault"


class NotFoundError(RequestError):
    """There is no such thing."""

    status = 404
    fault = "NotFoundFault"


class GoneError(RequestError):
    """What was asked for cannot be had any more."""

    status = 410
    fault = "NotFoundFault"


class UnavailableError(RequestError):
    """Not just now: ask again."""

    status = 503
    fault = "TransientFault"


class UnauthorizedError(RequestError):
    """A token is missing or not valid."""

    status = 401
    fault = "AuthenticationFault"


class ForbiddenError(RequestError):
    """The token does not allow this."""

    status = 403
    fault = "AuthorizationFault"


class EmbargoError(ForbiddenError):
    """The pixels are not public yet."""


class QueryTimeoutError(RequestError):
    """The query took longer than it may."""

    status = 400
    fault = "FatalFault"


class SlowRequestError(RequestError):
    """The request did not arrive in time."""

    status = 408
    fault = "UsageFault"


class OverloadError(RequestError):
    """Too many requests: come again later."""

    status = 429
    fault = "TransientFault"
