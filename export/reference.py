"""The student in torch: the vectors that every graph is measured against. Exports nothing."""

from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer

from bundle.arrays import Vectors
from export.errors import DamagedStudentError
from export.loading import LOADING_ERRORS, first_line, quiet_loading
from export.source import Student


class TorchReference:
    """`SentenceTransformer` itself, so that prompts, tokenizer, pooling and normalisation are all compared."""

    def __init__(self, student: Student, *, threads: int) -> None:
        """Load the student in float32 on the CPU.

        Raises:
            DamagedStudentError: sentence-transformers cannot load it.
        """
        torch.set_num_threads(threads)
        try:
            with quiet_loading():
                self._model = SentenceTransformer(
                    str(student.path), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
                )
        except LOADING_ERRORS as error:
            raise DamagedStudentError(f"{student.path}: cannot be loaded: {first_line(error)}") from error

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed n texts as float32[n, dim] with the default prompt, if there is one."""
        vectors: Vectors = self._model.encode(list(texts), batch_size=32, convert_to_numpy=True)
        return vectors

    def token_ids(self, text: str) -> list[int]:
        """The ids of one text with the default prompt, as the tokenizer of the model gives them."""
        prompt = self._model.prompts.get(self._model.default_prompt_name or "", "")
        ids: list[int] = self._model.preprocess([prompt + text])["input_ids"].flatten().tolist()
        return ids
