"""The folder of an unfinished run beside its `--out`: made, or found again. Knows the recipe in it and no stage."""

from pathlib import Path

from pydantic import ValidationError

from bundle.atomic import write_atomically
from train.config import Recipe
from train.errors import ResumeError

_RECIPE = "recipe.json"
LOGS = "logs"
"""TensorBoard's folder in it, and in the finished student's."""


def claim_folder(recipe: Recipe, out: Path, *, resume: bool) -> Path:
    """Make `OUT.run`, or find it again.

    Raises:
        ResumeError: see `refuse_taken`.
    """
    folder = refuse_taken(recipe, out, resume=resume)
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _RECIPE, recipe.model_dump_json(indent=2))
    return folder


def refuse_taken(recipe: Recipe, out: Path, *, resume: bool) -> Path:
    """Where the run's folder is or will be.

    Raises:
        ResumeError: `out` exists, an unfinished run lies there and `resume` is false, or it used another recipe.
    """
    folder = out.with_name(f"{out.name}.run")
    recipe_file = folder / _RECIPE
    if out.exists():
        raise ResumeError(f"{out} exists already; choose another --out or remove it")
    if folder.exists() and not resume:
        raise ResumeError(f"{folder} holds an unfinished run; continue it with --resume, or remove it")
    if recipe_file.is_file() and not _holds(recipe_file, recipe):
        raise ResumeError(f"{folder} was begun with another recipe; resume with the same one, or use another --out")
    return folder


def _holds(recipe_file: Path, recipe: Recipe) -> bool:
    """Whether the file says the same, be it in the words of an older version that knew fewer settings."""
    try:
        return Recipe.model_validate_json(recipe_file.read_bytes()) == recipe
    except ValidationError:
        return False
