"""A study: variants of one recipe, trained under one equal budget to be compared. Owns the file and its rows' form.

A variant trains one stage: it distils the base recipe's student or, with `from`, finetunes the student that another
variant has distilled, so that nothing shared is trained twice. Knows no torch; `train.studies.run` makes the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bundle.sts import StsScores
from train.cache import fingerprint
from train.config import Recipe, Teacher
from train.errors import StudyError
from train.recipe import load_recipe, parse_recipe, recipe_path
from train.retrieval import RetrievalScores

STUDIES = Path(__file__).parent
TEACHER = "teacher"
"""The row that all others are measured against; no variant may be called so."""


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"parent": "from"}):
    """What makes a variant, as its file says it."""

    set: tuple[str, ...] = ()
    """Values like those of `--set`."""
    parent: str | None = None
    """The variant, earlier in the file, whose student is finetuned."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    purpose: str
    base: str
    variants: dict[str, Changes]
    set: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One run of a study."""

    changes: Changes
    recipe: Recipe
    """Of one stage. With a parent, `student.model` is the parent's name, see `recipe_in`."""
    identity: str
    """Changes with the recipe and with that of the parent; settings left at their default do not count."""

    def recipe_in(self, folder: Path) -> Recipe:
        """The recipe to run where the study's students lie in `folder`."""
        if self.changes.parent is None:
            return self.recipe
        student = self.recipe.student.model_copy(update={"model": str(folder / self.changes.parent)})
        return self.recipe.model_copy(update={"student": student})


@dataclass(frozen=True)
class Study:
    """A whole comparison, every recipe checked."""

    name: str
    title: str
    purpose: str
    base: str
    common: tuple[str, ...]
    """Overrides of every variant: the budget."""
    budget: str
    """Fingerprint of the base recipe with those; rows of one budget can be compared."""
    teacher: Teacher
    variants: dict[str, Variant]


class Row(msgspec.Struct, frozen=True):
    """What one variant reached, and what it was made from; the teacher's has no training."""

    variant: str
    overrides: tuple[str, ...]
    parent: str | None
    common: tuple[str, ...]
    budget: str
    recipe: str
    """The variant's `identity`; the budget for the teacher."""
    commit: str | None
    """Of the checkout that trained it; None outside of one."""
    date: str
    """Day it was finished, UTC."""
    examples: int
    """Trained on in the variant's own stage."""
    seconds: float
    """In that stage's loop, selection included, teacher's encoding not."""
    sts_dev: float
    """Spearman × 100 on STS-B dev, by which checkpoints are selected."""
    sts: StsScores
    retrieval: RetrievalScores
    teacher_cosine: float | None
    """Mean cosine with the teacher's vectors of STS-B dev's sentences; None where dimensions differ."""


def study_path(name: str) -> Path:
    """A file path as it is, or the shipped study of that name."""
    shipped = STUDIES / f"{name}.toml"
    return shipped if shipped.is_file() else Path(name)


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study; `overrides` (`a.b=value`) come after those it sets for all.

    Raises:
        StudyError: missing file, bad TOML, unknown field, a variant's name or parent that cannot be, several teachers
            or one with a stage of its own.
        RecipeError: a variant's values make no valid recipe.
    """
    file = _read(path)
    # The last word on a setting counts, and is the only one worth telling.
    common = tuple({override.partition("=")[0].strip(): override for override in (*file.set, *overrides)}.values())
    variants: dict[str, Variant] = {}
    for name, changes in file.variants.items():
        if name == TEACHER:
            raise StudyError(f"{path}: a variant cannot be called {TEACHER}, that is the row of the teacher itself")
        if changes.parent is not None and changes.parent not in variants:
            raise StudyError(f"{path}: {name} is from {changes.parent!r}, which is no variant before it")
        document = load_recipe(recipe_path(file.base), [*common, *changes.set]).model_dump(exclude_defaults=True)
        document["name"] = f"{path.stem}-{name}"
        recipe = parse_recipe(_one_stage(document, changes.parent), source=f"{path}, variant {name}")
        _refuse_other_teachers(recipe, f"{path}, variant {name}")
        variants[name] = Variant(changes, recipe, _identity(recipe, variants.get(changes.parent or "")))
    base = load_recipe(recipe_path(file.base), common)
    _refuse_other_teachers(base, str(path))
    return Study(path.stem, file.title, file.purpose, file.base, common, _identity(base, None), base.teacher, variants)


def read_row(file: Path) -> Row:
    """Read one row.

    Raises:
        StudyError: the file holds none, or one of another version.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} is no row of a study: {error}") from error


def _read(path: Path) -> _File:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_File)
    except FileNotFoundError as error:
        known = ", ".join(sorted(study.stem for study in STUDIES.glob("*.toml")))
        raise StudyError(f"no study {path}; shipped ones: {known}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not a valid study: {error}") from error


def _refuse_other_teachers(recipe: Recipe, source: str) -> None:
    """A study's teacher is one, and as it came: its row, and every row's cosine with it, would say something else."""
    if recipe.teacher.finetune is not None:
        raise StudyError(
            f"{source}: [teacher.finetune] would be done anew for every variant, and rows be compared with the teacher "
            "as it came; finetune it in a run of its own and name the result (OUT/teacher) as teacher.model"
        )
    if recipe.more_teachers:
        raise StudyError(
            f"{source}: [[more_teachers]]: a study compares its rows with one teacher's vectors; leave the others out"
        )


def _one_stage(document: dict[str, Any], parent: str | None) -> dict[str, Any]:
    if parent is None:
        return {key: value for key, value in document.items() if key != "finetune"}
    # The parent's files hold shared layers one by one; to share them again would double the student.
    kept = {key: value for key, value in document.get("student", {}).items() if key == "max_length"}
    student = kept | {"init": "pretrained", "model": parent}
    return {key: value for key, value in document.items() if key not in ("pretrain", "distil")} | {"student": student}


def _identity(recipe: Recipe, parent: Variant | None) -> str:
    return fingerprint(
        {"recipe": recipe.model_dump_json(exclude_defaults=True), "from": parent.identity if parent else None}
    )
