"""Scoring finished models or bundles on STS and retrieval. Knows how to open either; knows no training."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bundle.arrays import Vectors, normalize
from bundle.embedder import Embedder
from bundle.layout import MANIFEST, open_bundle
from bundle.quality import Encode
from bundle.runtime import open_encoder
from bundle.sts import TASKS, StsScores, evaluate
from bundle.text import TextEncoder
from train.errors import ModelError
from train.locate import locate_model
from train.retrieval import RetrievalScores, evaluate_retrieval
from train.scoring import encode_texts
from train.teacher import open_model

Read = Callable[[Sequence[str], str | None], Vectors]
"""Texts and what is put before each of them → vectors; None: the model's own default prompt."""


def open_encode(name: str) -> Encode:
    """A function from texts to vectors for a bundle, a model folder or a hub id.

    Raises:
        BundleError: a damaged bundle.
        ModelError: nothing that can be loaded.
    """
    return _after(open_read(name), None)


def open_read(name: str) -> Read:
    """The same with a prompt to choose."""
    if (Path(name) / MANIFEST).is_file():
        return _open_bundle_read(Path(name))
    model = open_model(locate_model(name))
    return lambda texts, prompt: encode_texts(model, texts, prompt=prompt)


def _open_bundle_read(path: Path) -> Read:
    bundle = open_bundle(path)
    encoder = open_encoder(bundle, threads=2)
    own = Embedder(TextEncoder.from_bundle(bundle), encoder)
    bare = Embedder(TextEncoder.from_file(bundle.tokenizer_file, max_length=bundle.manifest.max_length), encoder)
    return lambda texts, prompt: own.embed(texts) if prompt is None else bare.embed([prompt + text for text in texts])


def _after(read: Read, prompt: str | None) -> Encode:
    return lambda texts: read(texts, prompt)


class Scores(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model reaches."""

    sts: StsScores
    retrieval: RetrievalScores | None = None
    documents_by: RetrievalScores | None = None
    """Of its queries among documents that another model has indexed."""


def evaluate_models(
    names: Sequence[str],
    data: Path,
    note: Callable[[str], None],
    *,
    retrieval: bool,
    dimensions: Sequence[int] = (),
    documents_by: str | None = None,
    prompt: str | None = None,
    documents_prompt: str | None = None,
) -> dict[str, Scores]:
    """The seven STS figures of each model and, when asked for, those of retrieval.

    Args:
        names: models or bundles.
        data: folder with sts/ and, for retrieval, nli/ and passages/.
        note: is told what is being done.
        retrieval: whether documents are looked for as well.
        dimensions: score each model once more with only so many leading dimensions, as `NAME @ DIMENSION`.
        documents_by: a model that indexes the documents; retrieval is scored once more with them.
        prompt: what each of `names` reads before every text; None: its own default prompt.
        documents_prompt: what is read before the documents of retrieval, also by `documents_by`; None: `prompt`, and
            for `documents_by` its own default prompt.

    Raises:
        ModelError: a model has fewer dimensions than asked for, or others than `documents_by`.
    """
    index = None if documents_by is None else _remembered(_after(open_read(documents_by), documents_prompt))
    scores = {}
    for name in names:
        note(f"evaluating {name}")
        read = open_read(name)
        encode = _remembered(_after(read, prompt)) if dimensions else _after(read, prompt)
        documents = None
        if retrieval:
            documents = encode if documents_prompt is None else _remembered(_after(read, documents_prompt))
        scores[name] = _scores(encode, documents, index, data)
        for dimension in dimensions:
            own, others = (each and _truncated(each, dimension) for each in (documents, index))
            scores[f"{name} @ {dimension}"] = _scores(_truncated(encode, dimension), own, others, data)
    return scores


def _scores(encode: Encode, documents: Encode | None, index: Encode | None, data: Path) -> Scores:
    """`documents` are read by the model itself, `index` is another one's; neither is looked at where it is None."""
    return Scores(
        evaluate(encode, data),
        evaluate_retrieval(encode, data, documents) if documents else None,
        evaluate_retrieval(encode, data, index) if index else None,
    )


def _remembered(encode: Encode) -> Encode:
    """The same function, for which no list of texts is work twice."""
    kept = functools.cache(encode)
    return lambda texts: kept(tuple(texts))


def _truncated(encode: Encode, dimension: int) -> Encode:
    def shortened(texts: Sequence[str]) -> Vectors:
        vectors = encode(texts)
        if vectors.shape[1] < dimension:
            raise ModelError(f"--dimensions {dimension}: the model has only {vectors.shape[1]}")
        return normalize(vectors[:, :dimension])

    return shortened


def print_sts(scores: Mapping[str, StsScores], console: Console) -> None:
    """One row a model: the seven tasks and their mean (Spearman × 100)."""
    table = Table("Spearman × 100", *TASKS, "mean")
    for name, row in scores.items():
        table.add_row(name, *(f"{row.tasks[task]:.2f}" for task in TASKS), f"{row.mean:.2f}")
    console.print(table)


def print_retrieval(scores: Mapping[str, RetrievalScores], console: Console) -> None:
    """One row a model: each task and their mean (nDCG@10 × 100)."""
    tasks = list(next(iter(scores.values())).tasks)
    table = Table("nDCG@10 × 100", *tasks, "mean")
    for name, row in scores.items():
        table.add_row(name, *(f"{row.tasks[task]:.2f}" for task in tasks), f"{row.mean:.2f}")
    console.print(table)
