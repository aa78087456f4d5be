"""What would stop a run later is told before anything long begins. Trains and writes nothing.

The texts themselves are looked at as far as the first of each source; a broken line further on is told when it is read.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle.sts import SELECTION, TASKS, read_pairs, with_sts
from train.config import Recipe
from train.data import read_source
from train.errors import RecipeError
from train.objectives import refuse_dimensions
from train.student import make_student, positions
from train.teacher import TeacherEncoder, open_model


def preflight(recipe: Recipe, data: Path | None) -> None:
    """See to it that all sources can be read, all models opened, and that the recipe suits them.

    Raises:
        DataError: a source is missing, or its first row is not what the recipe says; of STS files one is missing.
        ModelError: a teacher or a model to start from cannot be opened, or lacks what is wanted of it.
        RecipeError: a stage's `max_length` or `dimensions` are more than its model has.
    """
    for source in recipe.sources:
        next(read_source(source, data))
    if (sts := with_sts(data)) is not None:
        for name in (SELECTION, *TASKS.values()):
            read_pairs(sts, name)
    teachers = [TeacherEncoder(config, bf16=recipe.bf16) for config in recipe.teachers]
    if recipe.teacher.finetune is not None:
        _check_teacher(recipe, teachers[0])
    _check_student(recipe, teachers)


def _check_teacher(recipe: Recipe, teacher: TeacherEncoder) -> None:
    config = recipe.teacher.finetune
    assert config is not None
    model = open_model(teacher.folder)
    _refuse_length("teacher.finetune", config.max_length, positions(model))
    refuse_dimensions(config, model, model.get_embedding_dimension())


def _check_student(recipe: Recipe, teachers: list[TeacherEncoder]) -> None:
    with TemporaryDirectory(prefix="disco-") as scratch:
        student = make_student(recipe.student, teachers[0].folder, Path(scratch))
    for name, stage in recipe.stages.items():
        _refuse_length(name, stage.max_length, positions(student))
        if stage.max_length > recipe.student.max_length:
            raise RecipeError(
                f"{name}.max_length = {stage.max_length}: the finished student reads {recipe.student.max_length} "
                f"tokens (student.max_length), so it would learn of texts that it never sees whole; set "
                f"{name}.max_length = {recipe.student.max_length}, or raise student.max_length"
            )
    distil, finetune = recipe.distil, recipe.finetune
    if distil is not None and distil.dimensions:
        refuse_dimensions(distil, student, _dimension(teachers))
    if finetune is not None and finetune.dimensions:
        refuse_dimensions(finetune, student, _dimension(teachers) if finetune.distil_weight else None)


def _refuse_length(stage: str, max_length: int, longest: int | None) -> None:
    if longest is not None and max_length > longest:
        raise RecipeError(
            f"{stage}.max_length = {max_length}: the model has positions for {longest} tokens only; set "
            f"{stage}.max_length = {longest} or less"
        )


def _dimension(teachers: Sequence[TeacherEncoder]) -> int:
    """Of all their vectors side by side."""
    dimension = 0
    for teacher in teachers:
        dimension += int(teacher.encode(["."]).shape[1])
        teacher.release()
    return dimension
