"""A model with fewer layers, to time: what the weights are makes no difference to that. Trains nothing."""

from collections.abc import Sequence
from pathlib import Path

from sentence_transformers import SentenceTransformer
from torch import nn

from export.loading import quiet_loading


def keep_layers(source: Path, layers: Sequence[int], target: Path) -> None:
    """Save the BERT-like model `source` with only the `layers` of these numbers to the folder `target`."""
    with quiet_loading():
        model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    transformer = model[0].auto_model
    transformer.encoder.layer = nn.ModuleList(transformer.encoder.layer[number] for number in layers)
    transformer.config.num_hidden_layers = len(layers)
    model.save(str(target))
