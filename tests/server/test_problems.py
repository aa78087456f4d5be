import logging

import pytest
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.testing import TestClient

from bundle.errors import EmptyInputError, TextTooLongError
from server.errors import BackendError, OverloadedError, RequestTimeoutError, UnhealthyError
from server.metrics import Metrics
from server.problems import answer_native, answer_openai

SECRET = "zanzibar"
CASES = [
    (EmptyInputError("nothing"), 400, "Empty"),
    (TextTooLongError("too long"), 422, "Validation"),  # through its base class
    (BackendError("broken"), 424, "Backend"),
    (OverloadedError("full", reason="items", retry_after=7), 429, "Overloaded"),
    (UnhealthyError("down"), 503, "Unhealthy"),
    (RequestTimeoutError("late"), 504, "Timeout"),
    (KeyError(SECRET), 500, "Internal"),
]


def client(error: Exception) -> TestClient[Litestar]:
    @get("/native", exception_handlers={Exception: answer_native})
    async def native() -> None:
        raise error

    @get("/openai", exception_handlers={Exception: answer_openai})
    async def openai() -> None:
        raise error

    state = State({"metrics": Metrics()})
    return TestClient(Litestar([native, openai], state=state, openapi_config=None, logging_config=None))


@pytest.mark.parametrize(("error", "status", "error_type"), CASES)
def test_each_error_has_its_status_and_type_on_both_kinds_of_route(
    error: Exception, status: int, error_type: str
) -> None:
    with client(error) as http:
        native, openai = http.get("/native"), http.get("/openai")
    assert (native.status_code, openai.status_code) == (status, status)
    assert set(native.json()) == {"error", "error_type"}
    assert native.json()["error_type"] == error_type
    assert set(openai.json()["error"]) == {"message", "type", "param", "code"}
    assert openai.json()["error"]["code"] == error_type.lower()


def test_overload_says_when_to_come_back() -> None:
    with client(OverloadedError("full", reason="items", retry_after=7)) as http:
        assert http.get("/native").headers["retry-after"] == "7"


def test_an_unexpected_error_is_logged_with_its_place_but_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), client(KeyError(SECRET)) as http:
        answer = http.get("/native")
    assert SECRET not in answer.text
    assert SECRET not in caplog.text
    assert "KeyError" in caplog.text
    assert "test_problems.py" in caplog.text
