"""Recipes as files: TOML in, a checked `Recipe` out, and the table of all settings for the docs. Knows no torch.

A recipe may extend another one, `base = "disco-minilm-l3"`, and tell only what differs; `--set distil.queue_size=65536`
overrides one value.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from train.config import FirstTeacher, Recipe, Student
from train.errors import RecipeError
from train.schedules import Distil, Finetune, Objectives, Pretrain
from train.sources import Pairs, Texts

RECIPES = Path(__file__).parent / "recipes"


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `a.b=value` overrides (values in TOML syntax; bare words are strings).

    Raises:
        RecipeError: missing file or base, bad TOML, unknown field, value out of range; the message says which.
    """
    document = _read_document(path)
    for override in overrides:
        _apply(document, override)
    return parse_recipe(document, source=str(path))


def parse_recipe(document: dict[str, Any], *, source: str) -> Recipe:
    """Check a decoded recipe.

    Raises:
        RecipeError: lists every offending field with its value.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(map(str, problem['loc'])) or 'as a whole'}: {problem['msg']}{_given(problem['input'])}"
            for problem in error.errors()
        )
        raise RecipeError(f"{source} is not a valid recipe:\n{problems}") from None


def recipe_path(name: str) -> Path:
    """A file path as it is, or the shipped recipe of that name."""
    return RECIPES / f"{name}.toml" if name in shipped_recipes() else Path(name)


def shipped_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _read_document(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The recipe's tables laid over those of its base, which may have a base itself."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        wanted = f", the base of {extended_by[-1]}" if extended_by else ""
        raise RecipeError(f"no recipe {path}{wanted}; shipped ones: {', '.join(shipped_recipes())}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    base = document.pop("base", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base = {base!r} is not the name or file of a recipe")
    found = path.parent / recipe_path(base)
    chain = (*extended_by, path.resolve())
    if found.resolve() in chain:
        raise RecipeError(f"{path}: base = {base!r} leads back to itself; a recipe cannot extend itself")
    return _lay_over(_read_document(found, chain), document)


def _lay_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it: tables are merged, every other value, lists included, is replaced."""
    merged = base | changes
    for key in base.keys() & changes.keys():
        if isinstance(base[key], dict) and isinstance(changes[key], dict):
            merged[key] = _lay_over(base[key], changes[key])
    return merged


def _given(value: Any) -> str:
    """The offending value, but not a whole section of the recipe."""
    return "" if isinstance(value, dict) else f" (given: {value!r})"


def _apply(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {override!r}: expected a.b=value")
    *parents, leaf = key.strip().split(".")
    section = document
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override!r}: {parent} is not a section")
    try:
        section[leaf] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        section[leaf] = text


def describe_settings() -> str:
    """Every setting of a recipe as a Markdown table; `docs/training.md` holds it, a test keeps it true."""
    sections: dict[str, type[BaseModel]] = {
        "": Recipe,
        "teacher.": FirstTeacher,
        "student.": Student,
        "pretrain.": Pretrain,
        "distil.": Distil,
        "distil.objectives.": Objectives,
        "distil.texts[].": Texts,
        "finetune.": Finetune,
        "finetune.pairs[].": Pairs,
    }
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for prefix, section in sections.items():
        for name, field in section.model_fields.items():
            if field.description is not None:
                default = "required" if field.is_required() else f"`{_shown(field.default)}`"
                lines.append(f"| `{prefix}{name}` | {default} | {field.description} |")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    return json.dumps(default.model_dump(exclude_unset=True) if isinstance(default, BaseModel) else default)
