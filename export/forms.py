"""The forms that an int8 graph can take: what `--tune` chooses from. Builds nothing, measures nothing."""

import msgspec


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How an int8 graph is made. The defaults are what was fastest on most of what was tried (docs/LOG.md)."""

    fused_attention: bool = True
    """Attention as one operator, where the family is known (`export.fusion`)."""
    fused_normalization: bool = False
    """Residual sum and normalisation as one operator."""
    fast_gelu: bool = False
    """GELU by tanh instead of erf: 1e-3 off at most."""
    fixed_scales: bool = True
    """Scales of activations fixed at export, not found anew for every batch, which lets batch-mates matter."""
    int8_tables: bool = True
    """Embedding tables in 8 bits: a third of the size."""
    smoothing: float = 0.75
    """How far outlier channels are moved from activations into weights; 0 leaves all outliers as they are."""


def changes(form: Form) -> dict[str, dict[str, bool | float]]:
    """What can be changed of `form`, one thing at a time: the fields with their new values, by a name."""
    names = {
        "fused_attention": "attention fused",
        "fused_normalization": "normalisation fused",
        "fast_gelu": "GELU by tanh",
        "fixed_scales": "scales fixed",
        "int8_tables": "tables in int8",
    }
    found: dict[str, dict[str, bool | float]] = {}
    for field, name in names.items():
        was = getattr(form, field)
        found[f"{name}: {'no' if was else 'yes'}"] = {field: not was}
    if form.smoothing:
        found["outliers tamed: no"] = {"smoothing": 0.0}
    return found
