"""Every error a bundle can raise. Owns the names; knows neither HTTP statuses nor exit codes.

Messages tell the offending value and the fix, and never contain a user's text.
"""


class DiscoError(Exception):
    """Base of all errors that are meant for the user rather than for a debugger."""


class BundleError(DiscoError):
    """A bundle on disk cannot be used."""


class NotABundleError(BundleError):
    """The folder is missing or has no manifest."""


class ManifestError(BundleError):
    """The manifest is not valid JSON, has unknown fields, an unknown version or a wrong digest."""


class DamagedFileError(BundleError):
    """A file that the manifest lists is missing or its SHA-256 differs."""


class UnsupportedGraphError(BundleError):
    """No graph of the bundle fits what was asked for, or a graph has unexpected inputs or outputs."""


class UnsupportedModelError(UnsupportedGraphError):
    """The native engine knows no such model; ONNX Runtime does."""


class MissingRuntimeError(BundleError):
    """The engine that was asked for is not installed."""


class MissingPackageError(DiscoError):
    """A model was named as part of a Python package that is not there."""


class InputError(DiscoError):
    """A text cannot be encoded as asked."""


class EmptyInputError(InputError):
    """There is nothing to encode: no texts, or a text of length zero."""


class InvalidTextError(InputError):
    """A text is not valid Unicode (lone surrogates)."""


class TextTooLongError(InputError):
    """A text has more tokens than the model takes and truncation was switched off."""


class UnknownPromptError(InputError):
    """The prompt name is not one of the bundle's prompts."""


class InvalidTokensError(InputError):
    """Token ids are negative or outside the vocabulary."""


class DataError(DiscoError):
    """Evaluation or training data is missing or malformed."""
