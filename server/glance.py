"""A glance at the bytes that a connection has brought: are they one whole request of the plainest kind?

Knows just enough HTTP to say no to anything else, which is the parser's; what it says yes to is only ever refused.
"""

import re

LONGEST_HEAD = 4096

# Lines that every parser reads alike: a token, a colon, and nothing but printable ASCII behind it.
_PLAIN = re.compile(rb"POST ([!-~]+) HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+")
# Without these a request is read to its end by its length alone, and answered over a connection that stays open.
_UNUSUAL = re.compile(
    rb"\r\n(?:expect|transfer-encoding|upgrade|x-request-id|proxy-connection):"
    rb"|\r\nconnection:(?![\t ]*keep-alive[\t ]*\r\n)",
    re.IGNORECASE,
)
_LENGTH = re.compile(rb"\r\ncontent-length([^\r]*)", re.IGNORECASE)


def plain_post(data: bytes) -> bytes | None:
    """The URL where `data` is exactly one POST request, from its first byte to its last, with nothing unusual in it.

    A client's own X-Request-Id is unusual in this sense: the parser is to tell what it is.
    """
    if not data.startswith(b"POST "):
        return None
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if end < 0:
        return None
    head = data[: end + 2]
    plain = _PLAIN.fullmatch(head)
    if plain is None or _UNUSUAL.search(head):
        return None
    lengths = _LENGTH.findall(head)
    return plain[1] if lengths == [b": %d" % (len(data) - end - 4)] else None
