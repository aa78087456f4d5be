"""Texts through a loaded model as fast as the machine allows. Knows no cache and not what the vectors are for."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device

from bundle.arrays import Vectors

_BATCH_CHARACTERS = 8192  # a forward pass, about 2,000 tokens: on CPU larger batches are slower


def encode_in_parallel(model: SentenceTransformer, texts: Sequence[str]) -> Vectors:
    """Unit vectors, float32[n, dim], by as many single-threaded workers as there are cores (one on a GPU).

    One pass on two threads is slower than two passes side by side: the threads wait for each other at every operation.
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    batches = list(_batches(order, [len(text) for text in texts]))
    # The tokenizer is not safe to share between threads.
    features = (model.preprocess([texts[row] for row in batch]) for batch in batches)
    threads = torch.get_num_threads()
    if model.device.type == "cpu":
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                vectors = list(pool.map(partial(_unit_vectors, model), features))
        finally:
            torch.set_num_threads(threads)  # the workers' setting is not theirs alone
    else:
        vectors = [_unit_vectors(model, batch) for batch in features]
    unit = np.empty((len(texts), vectors[0].shape[1]), dtype=np.float32)
    unit[np.concatenate(batches)] = np.concatenate(vectors)
    return unit


def _unit_vectors(model: SentenceTransformer, features: dict[str, Any]) -> Vectors:
    with torch.inference_mode():
        embedded = model(batch_to_device(features, model.device))["sentence_embedding"].float()
    unit: Vectors = torch.nn.functional.normalize(embedded, dim=-1).cpu().numpy()
    return unit


def _batches(order: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """Rows in order of length, cut wherever a padded batch would exceed `_BATCH_CHARACTERS` (one row at least)."""
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * lengths[row] > _BATCH_CHARACTERS:
            yield batch
            batch = []
        batch.append(row)
    yield batch
