"""A page from its template: one file that loads nothing from elsewhere."""

from functools import partial
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from valueattr.results import write_atomically


def write_page(template: str, path: Path, **values: object) -> Path:
    """Render a template of this package with its style, and write it to `path`, which is returned."""
    environment = Environment(
        loader=PackageLoader("valueattr.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(resources.files("valueattr.report").joinpath("style.css").read_text("utf-8"))
    page = environment.get_template(template).render(style=style, **values)
    write_atomically(path, partial(_write, page))
    return path


def _write(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")
