"""Retrieval that nobody trains for: held-back questions → answers and titles → passages, as nDCG@10 × 100.

STS says whether two sentences mean alike; this says whether a student still finds documents as its teacher does. Knows
which files and rows; the measure is `bundle.quality`'s.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from bundle.quality import Encode, ndcg_at_10
from train.data import read_pairs, read_texts
from train.errors import ModelError
from train.sources import Pairs, Texts

HELD_BACK = 2000
"""The last so many distinct queries of each file; no recipe may train on them."""

_QUESTIONS = Pairs(path="nli/medquad_qa.tsv.zst", columns=("anchor", "positive"), header=False)
_PASSAGES = {"wikipedia": "passages/wikipedia.jsonl.zst", "wikinews": "passages/wikinews.jsonl.zst"}


class RetrievalScores(msgspec.Struct, frozen=True):
    """nDCG@10 × 100 per task, and their mean."""

    tasks: dict[str, float]
    mean: float


def evaluate_retrieval(encode: Encode, data: Path, encode_documents: Encode | None = None) -> RetrievalScores:
    """Score a model on every task; each query has one relevant document among those of all queries.

    `encode_documents`: the model that has indexed the documents, where that is another one.

    Raises:
        DataError: a file is missing or malformed.
        ModelError: queries and documents differ in dimension.
    """
    scores = {name: _score(encode, encode_documents or encode, pairs) for name, pairs in held_back(data)}
    return RetrievalScores(tasks=scores, mean=float(np.mean(list(scores.values()))))


def held_back(data: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each task's name and its documents by query."""
    yield "medquad", _last((pair.anchor, pair.positive) for pair in read_pairs(_QUESTIONS, data))
    for name, path in _PASSAGES.items():
        titles = read_texts(Texts(path=path, field="title"), data)
        texts = read_texts(Texts(path=path, field="text"), data)
        yield name, _last(zip(titles, texts, strict=True))


def _last(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The last distinct queries with distinct documents, so that each has exactly one right answer."""
    documents: dict[str, str] = {}
    seen: set[str] = set()
    for query, document in pairs:
        if query not in documents and document not in seen:
            documents[query] = document
            seen.add(document)
    return dict(islice(documents.items(), max(0, len(documents) - HELD_BACK), None))


def _score(encode_queries: Encode, encode_documents: Encode, documents: dict[str, str]) -> float:
    queries, found = encode_queries(list(documents)), encode_documents(list(documents.values()))
    if queries.shape != found.shape:
        raise ModelError(
            f"queries of {queries.shape[1]} dimensions cannot be compared with documents of {found.shape[1]}: only a "
            "student of its teacher's dimension can be in its space"
        )
    return 100 * ndcg_at_10(queries, found)
