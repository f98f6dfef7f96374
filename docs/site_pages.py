"""Pages of the site that have their source elsewhere: those beside the README, and one for each room but the command line.

mkdocs calls these hooks by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ROOMS = ROOT / "python" / "valueattr"
BESIDE_README = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
EXAMPLES = ("examples/scan_with_ray.py",)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    pages = {"index.md": _from_root("README.md")}
    pages |= {name: _from_root(name) for name in BESIDE_README}
    pages |= {name: (ROOT / name).read_text("utf-8") for name in EXAMPLES}
    pages |= {f"reference/{room.name}.md": _reference(room) for room in ROOMS.iterdir() if _is_public(room)}
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


def _is_public(room: Path) -> bool:
    return room.is_dir() and room.name not in ("cli", "__pycache__")


def _reference(room: Path) -> str:
    """What a room exports, and then its public modules."""
    name = f"valueattr.{room.name}"
    modules = [f"{name}.{path.stem}" for path in sorted(room.glob("[!_]*.py"))]
    parts = (f"## {module}\n\n::: {module}\n    options: {{heading_level: 3}}\n" for module in modules)
    return "\n".join([f"# {name}\n\n::: {name}\n", *parts])
