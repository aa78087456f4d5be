"""The process that runs one encoder for `server.engine_process`, until its parent closes the connection or dies."""

import faulthandler
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from bundle.arrays import Vectors
from bundle.errors import DiscoError
from bundle.layout import open_bundle
from bundle.runtime import TokenEncoder, open_encoder
from server.engine_process import EngineSpec, Opened, Request
from server.errors import BundleConflictError


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    # A signal for the whole group is for the parent, which lets accepted work finish.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    faulthandler.enable()  # a crash shows where, on stderr
    with Connection(int(sys.argv[1])) as connection:
        try:
            serve(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent has closed it, or is gone


def serve(connection: Connection) -> None:
    """Open what the first message asks for, and answer one batch a message from then on.

    Raises:
        EOFError, OSError: the connection has ended.
    """
    spec: EngineSpec = connection.recv()
    os.nice(spec.niceness)
    try:
        encoder = _open(spec)
    except DiscoError as error:
        connection.send(error)
        return
    connection.send(Opened(encoder.dimension, encoder.description, encoder.encodes_tokens, encoder.cost))
    while True:
        connection.send(_answer(encoder, connection.recv()))


def _open(spec: EngineSpec) -> TokenEncoder:
    bundle = open_bundle(spec.bundle)
    if bundle.manifest.digest != spec.digest:
        raise BundleConflictError(f"{spec.bundle} is another bundle than the one that is served; reload it")
    return open_encoder(bundle, precision=spec.precision, runtime=spec.runtime, threads=1)


def _answer(encoder: TokenEncoder, request: Request) -> Vectors | str:
    encode = encoder.encode if request.pooled else encoder.encode_tokens
    try:
        return encode(request.ids, request.offsets)
    except Exception:  # noqa: BLE001  told to the parent, which decides
        return traceback.format_exc()


if __name__ == "__main__":
    main()
