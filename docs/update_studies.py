"""Writes the tables of comparisons into the docs from committed JSON, so that no figure there is typed: `make readme`.

With --check it only tells whether the pages are up to date (exit status 1 if not).
"""

import sys
from pathlib import Path

from update_readme import fill

from train.studies.table import markdown, read_comparison

DOCS = Path(__file__).resolve().parent
COMPARISONS = DOCS.parent / "benchmarks" / "studies"
PAGES = {"objectives.md": ("objectives",), "ablations.md": ("ablation", "queue", "temperature")}


def main() -> int:
    """Rewrite or check the marked parts of the pages."""
    is_current = True
    for page, studies in PAGES.items():
        old = new = (DOCS / page).read_text(encoding="utf-8")
        for study in studies:
            new = fill(new, study, section(study))
        is_current = is_current and new == old
        if "--check" not in sys.argv[1:]:
            (DOCS / page).write_text(new, encoding="utf-8")
    return 1 if "--check" in sys.argv[1:] and not is_current else 0


def section(study: str) -> str:
    """Table, budget and plot of one study, or that there is none."""
    file = COMPARISONS / f"{study}.json"
    if not file.is_file():
        return "*Not measured yet.*"
    comparison = read_comparison(file)
    budget = ", ".join(f"`{override}`" for override in comparison.common)
    plot = f"![{comparison.title}](../benchmarks/studies/{study}.svg)"
    note = f"Recipe `{comparison.base}` with {budget}. In the plot the teacher is the dashed line."
    return "\n\n".join([markdown(comparison), note, plot])


if __name__ == "__main__":
    sys.exit(main())
