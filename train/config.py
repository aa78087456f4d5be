"""The recipe of a run: every choice that makes a student, typed and checked. Knows no torch.

Unknown fields are refused. What a stage can be told is in `train.schedules`, how a recipe is read from a file in
`train.recipe`.
"""

from itertools import chain
from typing import Literal, Self

from pydantic import Field, model_validator

from train.schedules import Distil, Finetune, Pretrain, Schedule
from train.sources import Pairs, Section, Texts


class Teacher(Section):
    """A model to distil; while the student learns from it, it is frozen."""

    model: str = Field(description="hub id, local folder, or `package:NAME/FOLDER` inside an installed Python package")
    name: str | None = Field(None, description="how the model card calls it; default: `model`")
    sha256: str | None = Field(None, description="refuse the teacher unless its model.safetensors has this SHA-256")
    prompt: str = Field("", description="put before every text the teacher reads; where empty, its own default prompt")

    @property
    def title(self) -> str:
        """What it is called in reports."""
        return self.name or self.model


class Student(Section):
    """Where the student's weights start from (its tokenizer is that of the model they come from)."""

    init: Literal["teacher-layers", "pretrained", "random", "token-table"] = Field(
        "teacher-layers", description="starting point; token-table: no layers at all, one vector per token, averaged"
    )
    layers: tuple[int, ...] = Field((0, 2, 5), description="teacher-layers: which of the teacher's layers to keep")
    model: str | None = Field(None, description="pretrained: hub id or folder of the encoder to start from")
    hidden_layers: int = Field(3, ge=1, description="random: depth")
    hidden_size: int = Field(384, ge=8, description="random: width")
    attention_heads: int = Field(12, ge=1, description="random: heads per layer")
    max_length: int = Field(256, ge=4, description="tokens per text the finished student reads, special ones included")
    share_layers: bool = Field(
        False,
        description="run all layers a second time on top, sharing weights, query and key swapped (Pea-KD): twice the "
        "depth and time for the same weights",
    )

    @model_validator(mode="after")
    def _init_is_complete(self) -> Self:
        if self.init == "pretrained" and not self.model:
            raise ValueError("init = 'pretrained' needs `model`, a hub id or a folder")
        if self.init == "teacher-layers" and not self.layers:
            raise ValueError("init = 'teacher-layers' needs at least one entry in `layers`")
        if self.init == "token-table" and self.share_layers:
            raise ValueError("init = 'token-table' has no layers: leave out `share_layers`")
        if self.init == "random" and self.hidden_size % self.attention_heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} cannot be shared out to attention_heads = {self.attention_heads}: "
                "make it a multiple of them"
            )
        return self


class FirstTeacher(Teacher):
    """The teacher that the student starts from."""

    finetune: Finetune | None = Field(
        None,
        description="first finetune the teacher itself; the settings of `finetune`, with `distil_weight` holding it to "
        "what it was",
    )


class Recipe(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the student")
    license: str = Field("apache-2.0", description="licence for the model card")
    seed: int = Field(42, ge=0, description="seeds weights, shuffling and dropout")
    bf16: bool = Field(
        True, description="compute in bfloat16 over float32 weights; the teacher encodes with bfloat16 weights as well"
    )
    teacher: FirstTeacher
    more_teachers: tuple[Teacher, ...] = Field(
        (),
        description="further teachers, with the fields of `teacher` (`finetune` apart): the student learns all their "
        "vectors side by side",
    )
    student: Student = Student()
    pretrain: Pretrain | None = Field(None, description="leave out to distil at once")
    distil: Distil | None = Field(None, description="leave out to finetune only, a student that exists already")
    finetune: Finetune | None = Field(None, description="leave out to stop after distilling")

    @property
    def teachers(self) -> tuple[Teacher, ...]:
        """All of them, that which the student starts from first."""
        return (self.teacher, *self.more_teachers)

    @property
    def stages(self) -> dict[str, Schedule]:
        """The student's, by their sections, in order."""
        stages = {"pretrain": self.pretrain, "distil": self.distil, "finetune": self.finetune}
        return {name: stage for name, stage in stages.items() if stage is not None}

    @property
    def sources(self) -> tuple[Texts | Pairs, ...]:
        """Every source of text or pairs of every stage."""
        texts = self.distil.texts if self.distil else ()
        return (*texts, *chain.from_iterable(self.pairs.values()))

    @property
    def pairs(self) -> dict[str, tuple[Pairs, ...]]:
        """The sources of labelled pairs by what they are used for."""
        stages = {
            "finetuning the teacher": self.teacher.finetune,
            "pretraining": self.pretrain,
            "distilling, labels unused": self.distil,
            "finetuning": self.finetune,
        }
        return {use: stage.pairs for use, stage in stages.items() if stage is not None}

    @model_validator(mode="after")
    def _has_a_stage(self) -> Self:
        if self.distil is None and self.finetune is None:
            raise ValueError("nothing to train: give [distil], [finetune] or both")
        if self.distil is None and self.pretrain is not None:
            raise ValueError("[pretrain] prepares for [distil], which is missing: give both or neither")
        return self

    @model_validator(mode="after")
    def _edited_copies_have_no_label(self) -> Self:
        for stage in (self.teacher.finetune, self.pretrain, self.finetune):
            if edited := [source.path for source in (stage.pairs if stage else ()) if source.edits]:
                raise ValueError(f"{edited[0]}: edits change what a pair means, so they are for [distil] only")
        return self

    @model_validator(mode="after")
    def _objectives_suit_the_student(self) -> Self:
        if self.student.init == "token-table" and self.distil is not None and self.distil.objectives.mixkd:
            raise ValueError("mixkd blends texts inside a transformer, which a token table is not: set it to 0")
        return self
