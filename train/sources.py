"""Where text and pairs come from, as a recipe says it, typed and checked. Reads none of them; that is `train.data`'s.

`Section` is what these parts of a recipe and all others (`train.config`) have in common.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Edits = Annotated[
    int,
    Field(
        ge=0,
        le=20,
        description="`distil` only, English: behind each text of at most 40 words, up to so many copies of it with "
        "words swapped, replaced, negated, dropped or spliced",
    ),
]


class Section(BaseModel):
    """A part of a recipe: unknown fields are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Texts(Section):
    """One source of unlabelled text."""

    path: str = Field(
        description="file (.txt one text a line, or .jsonl; .zst allowed) or folder of such files, relative to the "
        "data folder, `hub:DATASET_ID` or `builtin:docstrings`"
    )
    field: str = Field("text", description="column of a .jsonl file or hub dataset")
    config: str | None = Field(None, description="configuration (subset) of a hub dataset that has several")
    split: str = Field("train", description="split of a hub dataset")
    limit: int | None = Field(None, ge=1, description="use only the first so many texts")
    edits: Edits = 0
    license: str | None = Field(None, description="the source's licence, for the model card")


class Pairs(Section):
    """One source of labelled pairs: anchor, positive and, where there is one, a hard negative."""

    path: str = Field(
        description="file (.tsv or .jsonl; .zst allowed) relative to the data folder, `hub:DATASET_ID` or "
        "`builtin:docstrings`"
    )
    columns: tuple[str, ...] = Field(
        ("anchor", "positive", "negative"),
        min_length=2,
        max_length=3,
        description="column names of anchor, positive and optional negative",
    )
    header: bool = Field(
        True, description="whether a .tsv file names its columns; without, `columns` are in file order"
    )
    config: str | None = Field(None, description="configuration (subset) of a hub dataset that has several")
    split: str = Field("train", description="split of a hub dataset")
    sources: tuple[str, ...] = Field((), description="keep only rows whose `source` column has one of these values")
    limit: int | None = Field(None, ge=1, description="use only the first so many pairs")
    edits: Edits = 0
    license: str | None = Field(None, description="the source's licence, for the model card")
