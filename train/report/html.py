"""A finished run for people: one HTML file that opens offline, made from `training.json` alone. Measures nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bundle.atomic import write_atomically
from bundle.pages import inline, render_page
from train.report.plots import plot_stage
from train.report.record import TrainingRecord, read_record

HTML_REPORT = "report.html"

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True)
class Source:
    """One source of text or pairs, as a stage used it."""

    stage: str
    path: str
    license: str | None
    options: dict[str, str]
    """How it was read: limit, columns and the like, as far as they were set."""
    hash: str | None
    """SHA-256 of the file, of a folder's files, or of the packages that docstrings are from; None where only a name is
    known."""


def write_html_report(folder: Path, target: Path) -> None:
    """Make the report of the student or bundle in `folder`.

    Raises:
        ModelError: `folder` has no training record, or a damaged one.
    """
    write_atomically(target, render_report(read_record(folder)))


def render_report(record: TrainingRecord) -> str:
    """The whole page: headline figures, curves, sources, recipe, versions."""
    return render_page(
        _TEMPLATE,
        record=record,
        plots={
            name: inline(plot_stage(stage, score=record.selection_of(name), kept=record.kept(name)))
            for name, stage in record.stages.items()
        },
        settings=_settings(record.recipe),
        sources=list(_sources(record)),
    )


def _settings(section: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Every setting by its dotted name, as `--set` takes it; lists of sources are left out."""
    settings: dict[str, str] = {}
    for name, value in section.items():
        if isinstance(value, dict):
            settings |= _settings(value, f"{prefix}{name}.")
        elif not _is_sources(value):
            settings[prefix + name] = _shown(value)
    return settings


def _sources(record: TrainingRecord) -> Iterator[Source]:
    for stage, entry in _source_entries(record.recipe):
        identity = record.data.get(entry["path"], {})
        yield Source(
            stage=stage,
            path=entry["path"],
            license=entry.get("license"),
            options={name: _shown(option) for name, option in entry.items() if _is_option(name, option)},
            hash=identity.get("sha256") or identity.get("folder") or identity.get("packages"),
        )


def _source_entries(section: dict[str, Any], stage: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every source of the recipe with the dotted name of the section it is in."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _source_entries(value, f"{stage}.{name}".removeprefix("."))
        elif _is_sources(value):
            yield from ((stage, entry) for entry in value)


def _is_sources(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and "path" in entry for entry in value)


def _is_option(name: str, value: Any) -> bool:
    return name not in ("path", "license") and value not in (None, [])


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
