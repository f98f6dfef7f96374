"""Pages of the site that have their source elsewhere: those beside the README, and one for each public room.

mkdocs calls these hooks by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE_README = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
EXAMPLES = ("examples/scan_with_ray.py",)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    pages = {"index.md": _from_root("README.md")}
    pages |= {name: _from_root(name) for name in BESIDE_README}
    pages |= {name: (ROOT / name).read_text("utf-8") for name in EXAMPLES}
    pages |= {
        uri: _reference(Path(uri).stem) for uri in _in_nav(config["nav"]) if uri.startswith("reference/")
    }
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that leave docs/ lead to the pages that `on_files` adds."""
    up = "../" * (page.file.src_uri.count("/") + 1)
    return (
        markdown.replace(f"]({up}", f"]({up.removesuffix('../')}")
        if page.file.generated_by is None
        else markdown
    )


def _from_root(name: str) -> str:
    """A page beside the README, with its links as they are from docs/."""
    return re.sub(r"\]\(docs/", "](", (ROOT / name).read_text("utf-8"))


def _reference(room: str) -> str:
    """What a room exports, and then its public modules."""
    folder = ROOT / "python" / "valueattr" / room
    modules = [f"valueattr.{room}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]
    whole = [f"valueattr.{room}"] if (folder / "__init__.py").is_file() else []
    parts = "".join(
        f"## {module}\n\n::: {module}\n    options: {{heading_level: 3}}\n\n" for module in modules
    )
    return f"# valueattr.{room}\n\n" + "".join(f"::: {name}\n\n" for name in whole) + parts


def _in_nav(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [uri for part in parts for uri in _in_nav(part)]
