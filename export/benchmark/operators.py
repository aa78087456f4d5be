"""Which operators the time of a graph goes to, as ONNX Runtime's own profiler tells it. Compares no engines."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bundle.arrays import Ids, Vectors
from bundle.onnx_encoder import OUTPUT, SLOW_FUSIONS, session_options
from bundle.padding import PaddingEncoder
from bundle.timing import Contender, Load, time_in_turns

ROUNDS = 5


class OperatorShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of operator takes of a graph's time under one load."""

    model: str
    shape: str
    """Texts × tokens."""
    operator: str
    share: float
    """Of the time of all operators, 0 to 1."""
    us_per_token: float
    """Microseconds on one thread; what the profiler itself costs is in it."""


def profile_operators(graph: Path, ids: Ids, loads: Mapping[str, Load], *, model: str) -> list[OperatorShare]:
    """Run `graph` with `ids` under every load, as it is served; the operators that take most come first."""
    shares = []
    for load in loads.values():
        with TemporaryDirectory(prefix="disco-profile-") as folder:
            profiled = _Profiled(graph, Path(folder))
            time_in_turns({graph.stem: Contender(profiled, ids)}, {"load": load}, rounds=ROUNDS)
            microseconds = profiled.finish()
        tokens = (ROUNDS + 1) * load.runs * load.texts * load.tokens  # there is a round more, to warm up
        shares += [
            OperatorShare(
                model=model,
                shape=f"{load.texts}x{load.tokens}",
                operator=operator,
                share=round(spent / microseconds.total(), 4),
                us_per_token=round(spent / tokens, 3),
            )
            for operator, spent in microseconds.most_common()
        ]
    return shares


class _Event(msgspec.Struct):
    """An entry of the profile, of which operators' own work is named so and has arguments."""

    name: str
    dur: int
    """Microseconds."""
    args: dict[str, object] = {}


class _Profiled(PaddingEncoder):
    """A session like those of `bundle.onnx_encoder`, with the profiler on."""

    def __init__(self, graph: Path, folder: Path) -> None:
        options = session_options(threads=1)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        self._session = ort.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
        super().__init__(dimension=self._session.get_outputs()[0].shape[-1], description="profiled")

    def finish(self) -> Counter[str]:
        """End the profile: microseconds by kind of operator."""
        events = msgspec.json.decode(Path(self._session.end_profiling()).read_bytes(), type=list[_Event])
        spent: Counter[str] = Counter()
        for event in events:
            if event.name.endswith("_kernel_time"):
                spent[str(event.args["op_name"])] += event.dur
        return spent

    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        vectors: Vectors = self._session.run([OUTPUT], {"input_ids": input_ids, "attention_mask": attention_mask})[0]
        return vectors
