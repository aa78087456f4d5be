"""Running out of disk told in words. Knows which errors mean it, not what was being written."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from train.errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """While the block writes to `folder`, turn the errors of a full disk into one for people.

    Raises:
        DiskFullError: no space, quota or file size is left.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _means_full(error):
            raise
        free = shutil.disk_usage(folder).free / 1e6
        raise DiskFullError(
            f"no room left to write to {folder} ({free:,.0f} MB are free); all finished work and the last checkpoint "
            "are intact. Make room, then go on with the same command and --resume"
        ) from error


def _means_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind `error`, or behind the one that was being handled when it was raised.

    torch answers a failed write with a RuntimeError of its own, safetensors with the system's number in its message.
    """
    if error is None:
        return False
    if isinstance(error, OSError):
        number = error.errno
    else:
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else None
    return number in _FULL or _means_full(error.__context__)
