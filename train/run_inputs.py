"""What a run is given besides its recipe – data, teachers, what selects – written down when it begins.

A run that is resumed must be given the same, or its student would be of two minds; only libraries may have changed.
Knows no stage and loads no model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bundle.atomic import write_atomically
from bundle.provenance import versions
from train.cache import content_identity, edits_identity, folder_identity
from train.config import Recipe
from train.errors import ResumeError
from train.sources import Pairs, Texts

_FILE = "inputs.json"
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


class RunInputs(msgspec.Struct, frozen=True):
    """Everything that decides a student and is not in its recipe."""

    data: dict[str, dict[str, str | None]]
    """By the recipe's path, with split, configuration and edits where they are not the usual ones: what the content of
    a source is known by."""
    teachers: dict[str, str]
    """By the recipe's name of a model, the hash of its files as they came."""
    selection: str
    """By what students are selected."""
    versions: dict[str, str]


def inputs_of(recipe: Recipe, data: Path | None, teachers: Sequence[Path], selection: str) -> RunInputs:
    """What a run would begin with now; `teachers` are the folders of `recipe.teachers`."""
    return RunInputs(
        data={_key(source): {**content_identity(source, data), **edits_identity(source)} for source in recipe.sources},
        teachers={
            config.model: folder_identity(folder) for config, folder in zip(recipe.teachers, teachers, strict=True)
        },
        selection=selection,
        versions=versions(_LIBRARIES),
    )


def settle_inputs(folder: Path, now: RunInputs) -> tuple[RunInputs, str]:
    """Write `now` to a run's folder or, where it has begun already, compare; returns what it was begun with and a note.

    A run that an earlier version began has no such file and is taken at its word.

    Raises:
        ResumeError: data, teachers or selection are others by now; the message names them.
    """
    file = folder / _FILE
    if not file.is_file():
        write_atomically(file, msgspec.json.format(msgspec.json.encode(now), indent=2))
        return now, ""
    try:
        begun = msgspec.json.decode(file.read_bytes(), type=RunInputs)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResumeError(f"{file} cannot be read ({error}); start over with another --out") from error
    changes = {"data": _differing(begun.data, now.data), "teachers": _differing(begun.teachers, now.teachers)}
    for kind, changed in changes.items():
        if changed:
            raise ResumeError(
                f"{folder} was begun with other {kind}: {', '.join(changed)} changed since then. Resume with what it "
                "was begun with, or use another --out"
            )
    if begun.selection != now.selection:
        raise ResumeError(
            f"{folder} was begun with students selected by {begun.selection}, now it would be {now.selection}: pass "
            "the same --data as then, or use another --out"
        )
    libraries = ", ".join(
        f"{name} {begun.versions.get(name)} (now {now.versions.get(name)})"
        for name in _differing(begun.versions, now.versions)
    )
    return begun, f"the run was begun with {libraries}" if libraries else ""


def _key(source: Texts | Pairs) -> str:
    unusual = [f"config={source.config}"] * (source.config is not None)
    unusual += [f"split={source.split}"] * (source.split != "train")
    unusual += [f"edits={source.edits}"] * (source.edits > 0)
    return source.path + (f" ({', '.join(unusual)})" if unusual else "")


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]
