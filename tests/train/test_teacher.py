from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from bundle.arrays import Vectors
from tests.train.conftest import with_default_prompt
from train import teacher
from train.config import Teacher
from train.errors import ModelError
from train.locate import locate_model
from train.sources import Texts
from train.teacher import TeacherEncoder, default_prompt


class Counting(TeacherEncoder):
    """Counts the texts that really went through the model; can be told to die."""

    encoded = 0
    dies_after: int | None = None

    def encode(self, texts: list[str]) -> Vectors:
        if self.dies_after is not None and self.encoded >= self.dies_after:
            raise KeyboardInterrupt
        self.encoded += len(texts)
        return super().encode(texts)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "_CHUNK", 50)


def open_teacher(folder: Path, prompt: str = "") -> Counting:
    return Counting(Teacher(model=str(folder), prompt=prompt), bf16=False)


def vectors(encoder: TeacherEncoder, texts_file: Path, rows: int = 240) -> Vectors:
    found = encoder.source_vectors(Texts(path=str(texts_file)), None, rows=rows, advance=lambda _: None)
    return found.astype(np.float32)


def test_cached_vectors_are_the_teachers(tiny_teacher: Path, texts_file: Path) -> None:
    expected = SentenceTransformer(str(tiny_teacher)).encode(texts_file.read_text().splitlines())
    assert np.allclose(vectors(open_teacher(tiny_teacher), texts_file), expected, atol=1e-3)


def test_a_second_run_encodes_nothing_and_a_larger_one_only_the_rest(tiny_teacher: Path, texts_file: Path) -> None:
    first, second, third = (open_teacher(tiny_teacher) for _ in range(3))
    part = vectors(first, texts_file, rows=100)
    assert np.array_equal(vectors(second, texts_file, rows=100), part)
    assert np.array_equal(vectors(third, texts_file)[:100], part)
    assert (first.encoded, second.encoded, third.encoded) == (100, 0, 140)


def test_an_interruption_loses_one_chunk_at_most(tiny_teacher: Path, texts_file: Path) -> None:
    whole = vectors(open_teacher(tiny_teacher, prompt=""), texts_file)
    interrupted, resumed = (open_teacher(tiny_teacher, prompt="the ") for _ in range(2))
    interrupted.dies_after = 150
    with pytest.raises(KeyboardInterrupt):
        vectors(interrupted, texts_file)
    prompted = vectors(resumed, texts_file)
    assert resumed.encoded == 90
    assert prompted.shape == whole.shape
    assert not np.allclose(prompted, whole, atol=1e-3)


def test_a_models_own_prompt_is_read_unless_the_recipe_has_one(
    tiny_teacher: Path, texts_file: Path, tmp_path: Path
) -> None:
    own = with_default_prompt(tiny_teacher, tmp_path / "own", "the red ")
    texts = texts_file.read_text().splitlines()
    model = SentenceTransformer(str(own))
    assert np.allclose(vectors(open_teacher(own), texts_file), model.encode(texts), atol=1e-3)
    assert not np.allclose(model.encode(texts), SentenceTransformer(str(tiny_teacher)).encode(texts), atol=1e-2)
    told = vectors(open_teacher(own, prompt="a cat "), texts_file)
    assert np.allclose(told, vectors(open_teacher(tiny_teacher, prompt="a cat "), texts_file), atol=1e-3)


def test_vectors_that_an_earlier_version_made_without_the_models_own_prompt_are_not_read(
    tiny_teacher: Path, texts_file: Path, tmp_path: Path, cache: Path
) -> None:
    own = with_default_prompt(tiny_teacher, tmp_path / "own", "the red ")
    earlier = open_teacher(own)
    earlier.prompt = ""
    vectors(earlier, texts_file)
    now = open_teacher(own)
    vectors(now, texts_file)
    assert now.encoded == 240


@pytest.mark.parametrize("config", ["{", "[]", '{"default_prompt_name": "x", "prompts": {}}'])
def test_a_default_prompt_that_cannot_be_read_is_told(tmp_path: Path, config: str) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(config)
    with pytest.raises(ModelError, match="no default prompt can be read"):
        default_prompt(tmp_path)


def test_a_torn_write_is_written_again(tiny_teacher: Path, texts_file: Path, cache: Path) -> None:
    expected = vectors(open_teacher(tiny_teacher), texts_file)
    folder = next(cache.glob("teacher-*"))
    (folder / "rows.txt").write_text("100")
    with (folder / "vectors.f16").open("r+b") as file:
        file.truncate(100 * 32 * 2 + 7)
    assert np.array_equal(vectors(open_teacher(tiny_teacher), texts_file), expected)


def test_two_runs_at_once_do_not_mix_up_their_rows(tiny_teacher: Path, texts_file: Path) -> None:
    encoders = [open_teacher(tiny_teacher) for _ in range(3)]
    with ThreadPoolExecutor(3) as runs:
        together = list(runs.map(lambda encoder: vectors(encoder, texts_file), encoders))
    expected = SentenceTransformer(str(tiny_teacher)).encode(texts_file.read_text().splitlines())
    assert all(np.allclose(found, expected, atol=1e-3) for found in together)
    assert sorted(encoder.encoded for encoder in encoders) == [0, 0, 240]


def test_another_teacher_is_refused(tiny_teacher: Path) -> None:
    with pytest.raises(ModelError, match="the recipe wants 00"):
        TeacherEncoder(Teacher(model=str(tiny_teacher), sha256="00"), bf16=False)


def test_a_model_that_is_nowhere_is_named() -> None:
    with pytest.raises(ModelError, match="not a model name: neither a folder here nor a model"):
        locate_model("not a model name")
