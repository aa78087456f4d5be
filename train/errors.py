"""Every error training can raise on purpose. Owns the names; the CLI turns them into one line and exit code 2."""

from bundle.errors import DataError, DiscoError

__all__ = [
    "BenchmarkError",
    "BudgetError",
    "DataError",
    "DiscoError",
    "DiskFullError",
    "DivergedError",
    "LadderError",
    "LaunchError",
    "ModelError",
    "RecipeError",
    "ResumeError",
    "StudyError",
]


class RecipeError(DiscoError):
    """A recipe is not valid TOML, has an unknown field, or a value out of range."""


class BenchmarkError(DiscoError):
    """A recipe is not one to measure speed with, or what was measured failed."""


class StudyError(DiscoError):
    """A study is not valid, or rows are not of one comparison."""


class LadderError(DiscoError):
    """The ladder of measured students is missing or damaged, or bundles do not make one."""


class BudgetError(DiscoError):
    """A budget cannot be read, or no student keeps to it."""


class ModelError(DiscoError):
    """A teacher or student cannot be loaded, or is not what the recipe says."""


class ResumeError(DiscoError):
    """A run cannot be started or resumed where it was asked to."""


class LaunchError(DiscoError):
    """Processes were started together in a way they cannot work together."""


class DivergedError(DiscoError):
    """Loss or gradients are no longer finite numbers; the last checkpoint is intact, but leads there again."""


class DiskFullError(DiscoError):
    """There is no room left to write to; what was finished is intact."""
