"""Every way an export can fail on purpose, with its exit code. Messages tell the offending value and the fix."""

from bundle.errors import DiscoError


class ExportError(DiscoError):
    """Base of the export's own errors."""

    exit_code = 2


class StudentNotFoundError(ExportError):
    """Neither a folder on this machine nor a model that the hub hands out."""


class DamagedStudentError(ExportError):
    """The student directory lacks a file, or one of its files cannot be read."""


class MissingTokenizerError(ExportError):
    """The student has no `tokenizer.json`, the only tokenizer format that is served."""


class UnsupportedArchitectureError(ExportError):
    """The transformer is not of a family that this exporter knows to be right."""


class UnsupportedPoolingError(ExportError):
    """The pooling is neither mean nor CLS."""


class UnsupportedModuleError(ExportError):
    """The student has modules other than transformer, pooling and normalisation."""


class OccupiedTargetError(ExportError):
    """The output folder holds something that the export would destroy."""


class GateFailedError(ExportError):
    """The export works but lost more than the gates allow."""

    exit_code = 3


class NoTokenError(ExportError):
    """The bundle is to be published, and there is nothing to log in with."""


class HubError(ExportError):
    """The bundle is written, but the hub would not take it."""

    exit_code = 4
