"""What the steps of one run share. Knows none of them."""

from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from train.config import Recipe
from train.progress import Progress
from train.teacher import TeacherEncoder


@dataclass
class Run:
    """A run on its way."""

    recipe: Recipe
    data: Path | None
    folder: Path
    progress: Progress
    teachers: list[TeacherEncoder]
    student: SentenceTransformer
    """The model that is trained: while the teacher is finetuned, that is the teacher."""
    tokenizer_file: Path
    prompt: str = ""
    """Put before every text that model reads."""
