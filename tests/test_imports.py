"""What is imported when, and in which direction."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "convlstm"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From below; what stands in one group may not import another of it. Benchmarks, which a command
# runs, try what computes a server's runs, too.
ORDER = (
    ("layer",),
    ("networks",),
    ("scenes",),
    ("training",),
    ("files",),
    ("server",),
    ("benchmarks",),
    ("ui", "commands"),
)
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
# Belongs to no room, and may be used in all of them.
COMMON = {"checks", "settings", "devices", "pieces"}
SCENES = {"squares", "digits", "storm"}
# Who may name a scene: the catalogue, old formats (by name alone), a script, of squares alone, and
# links, whose short names of settings are some scenes' names.
NAMING = {
    "scenes/catalogue.py",
    "files/versions.py",
    "files/script.py",
    "server/lessons.py",
    "server/links.py",
}


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def imported(path: Path) -> set[str]:
    """Every module that a file imports, except those for type checkers only."""
    names: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


def imported_of_ours(path: Path) -> set[str]:
    return imported(path) & NAMES


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_importing_the_package_loads_neither_the_page_nor_what_draws():
    code = """
import sys

def loaded():
    names = ("gradio", "matplotlib", "matplotlib.pyplot", "skimage", "PIL")
    print([name for name in names if name in sys.modules])

import convlstm
loaded()
import convlstm.files.pictures, convlstm.server.scheduler, convlstm.server.service, numpy
loaded()
convlstm.files.pictures.frame_figure(numpy.zeros((4, 4)), "title")
loaded()
"""
    first, second, third = run(code).splitlines()
    assert (first, second) == ("[]", "[]")
    # Drawing keeps off pyplot, whose state is global.
    assert third == "['matplotlib', 'PIL']"


def test_the_page_s_process_brings_in_nothing_that_computes():
    code = """
import sys
import convlstm, convlstm.server.pool, convlstm.ui.stream, convlstm.ui.texts, playground
import convlstm.server.limits, convlstm.server.line, convlstm.server.cluster, convlstm.ui.classroom
print([name for name in ("torch", "numpy", "safetensors", "PIL", "ray") if name in sys.modules])
"""
    assert run(code) == "[]\n"


@pytest.mark.parametrize("path", [p for p in MODULES if place(p).startswith("ui/")], ids=place)
def test_the_page_knows_the_workers_by_their_pool_alone(path):
    servers = {"pool", "limits", "classroom", "board"}  # and a class, of the page's own process
    known = {f"convlstm.server.{name}" for name in servers} | {"convlstm.server", "convlstm.checks"}
    if place(path) == "ui/zero_gpu.py":  # for the processes that are forked from the page's
        known.add("convlstm.server.chunk")
    assert {m for m in imported_of_ours(path) if not m.startswith("convlstm.ui")} <= known


def test_every_part_of_the_package_has_its_floor():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(FLOOR)
    assert {path.stem for path in PACKAGE.glob("*.py")} == COMMON | {"__init__", "__main__"}


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_point_one_way(path):
    own = room_of(module_name(path))
    rooms = {room_of(module) for module in imported_of_ours(path)} - COMMON - {own, None}
    if own in COMMON:
        assert not rooms
    elif own in FLOOR:
        above = {room for room in rooms if FLOOR[room] >= FLOOR[own]}
        assert not above


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_page_knows_gradio(path):
    names = {name.split(".")[0] for name in imported(path)}
    assert "gradio" not in names or place(path) == "ui/page.py"
    assert "convlstm.ui" not in imported_of_ours(path) or place(path).startswith("ui/")


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_cluster_knows_ray_and_only_when_it_is_asked_for(path):
    names = {name.split(".")[0] for name in imported(path)}
    assert "ray" not in names or place(path) == "server/cluster.py"
    at_once = ast.parse(path.read_text("utf-8")).body
    assert not any(isinstance(n, ast.Import) and n.names[0].name == "ray" for n in at_once)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_nothing_but_the_catalogue_knows_a_scene(path):
    where = place(path)
    of_scenes = {f"convlstm.scenes.{scene}" for scene in SCENES}
    classes = {f"convlstm.scenes.{scene.capitalize()}" for scene in SCENES}
    if where not in ("scenes/catalogue.py", "scenes/__init__.py"):
        assert not imported(path) & (of_scenes | classes)
    if where.split("/")[0] in ("layer", "networks", "training", "files", "server"):
        tree = ast.parse(path.read_text("utf-8"))
        found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not found & {scene.capitalize() for scene in SCENES}
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        if where not in NAMING:
            assert not texts & SCENES


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "__init__.py"], ids=place
)
def test_a_package_s_front_defines_nothing(path):
    if path.parent == PACKAGE:  # which imports what is asked for, when it is asked for
        return
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            assert ast.unparse(target) in ("__all__", "TEXTS")  # the texts join two files
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)


def test_imports_go_round_in_no_circle():
    known = {module_name(path): imported_of_ours(path) for path in MODULES}
    # A package's front imports its modules, which may import others of the same package.
    fronts = {module_name(path) for path in MODULES if path.name == "__init__.py"}
    graph = {name: others - fronts for name, others in known.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
    used = {"config", "costs", "losses", "metrics", "optimizers", "records", "validation"}
    assert known["convlstm.training.trainer"] >= {f"convlstm.training.{name}" for name in used}


def test_every_public_name_is_there_and_described():
    import convlstm
    import convlstm.files
    import convlstm.layer
    import convlstm.networks
    import convlstm.scenes
    import convlstm.training

    for package in (
        convlstm,
        convlstm.files,
        convlstm.layer,
        convlstm.networks,
        convlstm.scenes,
        convlstm.training,
    ):
        assert package.__all__
        for name in package.__all__:
            value = getattr(package, name)
            # A type that is a name for others has no sentence of its own.
            assert value.__doc__ or name == "State"
