"""How log lines look: text or one JSON object a line, with the ids of request and trace. Never a user's text."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send everything from `level` on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_request_id)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = REQUEST_ID.get()
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": REQUEST_ID.get(),
            "message": record.getMessage(),
        }
        if (trace_id := TRACE_ID.get()) is not None:
            line["trace_id"] = trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
