"""A report as one HTML page that needs neither scripts nor other sites. Computes nothing."""

from functools import cache

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from loadtest.capacity_report import CapacityReport
from loadtest.plots import plots_of, plots_of_search
from loadtest.report import Report


def to_html(report: Report | CapacityReport) -> bytes:
    """Any report as a page."""
    plots = plots_of(report) if isinstance(report, Report) else plots_of_search(report)
    document = msgspec.to_builtins(report)
    html = _template().render(report=document, plots=plots, is_search=isinstance(report, CapacityReport))
    return html.encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("loadtest", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2")
