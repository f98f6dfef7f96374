"""The house has one way through it: a room imports only rooms before it, through their public names, without a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import valueattr

PACKAGE = Path(valueattr.__file__).parent

# Leaves first. `_core` is the compiled part.
ROOMS = (
    ("_core",),
    ("stats", "tables", "outputs"),
    ("results",),
    ("questions",),
    ("world",),
    ("hedging",),
    ("activations",),
    ("probing",),
    ("model",),
    ("rating",),
    ("training",),
    ("measures",),
    ("plan",),
    ("diagnosis",),
    ("report", "export"),
    ("experiments",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}

# A room that is a folder of public modules, whose names may be read from outside.
PUBLIC_MODULES = {
    "valueattr.hedging.audit",
    "valueattr.hedging.dumps",
    "valueattr.hedging.prevalence",
    "valueattr.model.start",
    "valueattr.rating.model_judge",
    "valueattr.results.summary",
    "valueattr.training.tabular",
}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def targets(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it the import stands; the deepest that is named."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative path"
            assert node.module is not None
            inner = {f"{node.module}.{name.name}" for name in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
    return {name for name in found if name.split(".")[0] == "valueattr"}


@pytest.mark.parametrize("module", [name for name in MODULES if room_of(name)])
def test_a_room_imports_only_rooms_before_it_through_their_public_names(module):
    room = room_of(module)
    for target in targets(module):
        other = room_of(target)
        if other in ("", room):
            continue
        assert FLOOR[other] < FLOOR[room], f"{module} imports {target}, which comes after it or beside it"
        private = any(part.startswith("_") for part in target.split(".")[2:])
        assert not private, f"{module} reads a private file of another room: {target}"
        named = target.count(".") == 1 or target in PUBLIC_MODULES or other == "measures"
        assert named, f"{module} imports {target}, which its room does not show"


def test_no_file_imports_itself_round_about():
    graph = {module: targets(module) & MODULES.keys() for module in MODULES}
    # A room's __init__ gathers its files' names; a file of the room that imported from it would be a circle.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_room_has_its_place():
    rooms = {room_of(name) for name in MODULES} - {""}
    assert rooms <= FLOOR.keys()


def test_only_the_command_line_talks_to_a_terminal():
    for module in MODULES:
        if room_of(module) == "cli":
            continue
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
        }
        assert not imported & {"rich", "typer"}, module


def test_no_library_error_names_an_option_of_the_command_line():
    """A Python caller has no options; the command line adds them."""
    for module, file in MODULES.items():
        if room_of(module) == "cli":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Raise):
                said = [
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                assert not any("--" in text for text in said), f"{module}: {said}"
