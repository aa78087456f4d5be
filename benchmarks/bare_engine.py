"""The engine without a server around it, asked over stdin: python benchmarks/bare_engine.py BUNDLE < questions.

The first line is a JSON list of texts, answered by `null` once the engine is open. Each further line is a question:
`["one", SECONDS]`, answered by the median seconds of tokenising and embedding one text on one thread, or
`["all", SECONDS]`, answered by texts per second of one thread per core.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bundle.embedder import Embedder
from bundle.layout import open_bundle
from bundle.provenance import available_cores

CHUNK = 256
"""Texts that are sorted by length at once: as many as the server's queue looks at."""


def main(folder: str) -> None:
    """Answer until there are no more questions."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the server
    bundle = open_bundle(Path(folder))
    embedders = [Embedder.from_bundle(bundle) for _ in range(available_cores())]
    texts = json.loads(sys.stdin.readline())
    print("null", flush=True)
    for line in sys.stdin:
        what, seconds = json.loads(line)
        answer = one_text(embedders[0], texts, seconds) if what == "one" else all_cores(embedders, texts, seconds)
        print(json.dumps(answer), flush=True)


def one_text(embedder: Embedder, texts: list[str], seconds: float) -> float:
    """The median time of one text after the other, in seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        embedder.embed([texts[len(took) % len(texts)]])
        took.append(time.perf_counter() - began)
    return median(took)


def all_cores(embedders: list[Embedder], texts: list[str], seconds: float) -> float:
    """Texts per second of one thread per embedder, each with a share of the texts."""
    began = time.perf_counter()

    def work(number: int) -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            start = (done * len(embedders) + number * CHUNK) % (len(texts) - CHUNK)
            embedders[number].embed(texts[start : start + CHUNK])
            done += CHUNK
        return done

    with ThreadPoolExecutor(len(embedders)) as threads:
        done = sum(threads.map(work, range(len(embedders))))
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1])
