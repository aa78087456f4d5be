"""HTML pages for people: one file that opens offline, one style. Needs jinja2, which serving does not."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render_page(template: Path, **content: Any) -> str:
    """Fill `template`, which extends `page.html.jinja`; whatever is filled in is escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(content)


def inline(svg: str) -> str:
    """`svg` as the address of a picture: the page stays one file, and ids of two plots cannot clash."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
