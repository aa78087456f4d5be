"""The server's certificate and private key: are they usable? Encrypts nothing itself."""

import ssl
from pathlib import Path

from bundle.errors import DiscoError


class TlsError(DiscoError):
    """The certificate or its key cannot be used."""


def server_context(certificate: Path, key: Path | None, password: str | None) -> ssl.SSLContext:
    """What answers TLS 1.2 and 1.3; without `key` the private key is in the certificate's file.

    Raises:
        TlsError: a file cannot be read, is none of PEM, the two do not belong together, or the password is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password where there is none: OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password or "")
    except OSError as error:  # ssl.SSLError is one
        where = f"{certificate} and {key}" if key else str(certificate)
        raise TlsError(f"{where} cannot be used for TLS: {_reason(error)}") from None
    return context


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return error.strerror or type(error).__name__
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not this certificate's"
    return (
        "write a certificate and its private key as PEM (--tls-certificate, --tls-key); "
        "the password of an encrypted key is DISCO_TLS_KEY_PASSWORD"
    )
