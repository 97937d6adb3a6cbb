"""Holds the house to its table: who may import whom, and who may touch environment, torch, disk and printer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "smlmbatch"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room may import the rooms of lower or equal level, and no other room of its own level where that is said.
LEVELS = (
    {"errors", "config", "locs", "raster", "provenance", "samples"},
    {"store", "hpc", "simulate", "blinks", "clustering", "score", "registration"},
    {"stages", "work", "methods", "where", "selection", "settings"},
    {"ingest", "tile", "quality", "measure", "analyse", "train", "embed", "cluster", "pick", "order"},
    {"report", "export"},
    {"engine", "campaign", "sharing", "ordering"},
    {"run"},
    {"upkeep", "together"},
    {"progress", "submission", "against", "across", "crate"},
    {"cli_options", "cli_talk", "cli_work", "cli_shared", "cli_watch", "cli_learn", "cli_pool", "cli_score", "cli_tools"},
    {"cli", "__main__", "__init__"},
)
STAGE_ROOMS = LEVELS[3]
ONLY_IN = {
    "zarr": {"store"},
    "dask": {"hpc"},
    "distributed": {"hpc"},
    "matplotlib": {"report"},
    "torch": {"simulate", "methods", "train", "embed", "cluster", "pick", "order"},
    "torch_geometric": {"methods", "train", "cluster"},
    "umap": {"analyse"},
    "click": {"cli", "cli_options", "cli_talk", "cli_work", "cli_shared", "cli_watch", "cli_learn", "cli_pool", "cli_score", "cli_tools"},
    "h5py": {"ingest", "simulate", "export"},
    "shapely": {"tile", "simulate", "analyse", "report", "score"},
}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def level(name: str) -> int:
    return next(i for i, names in enumerate(LEVELS) if name in names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("smlmbatch.")}


def test_every_file_has_a_room():
    for path in FILES:
        assert any(room(path) in names for names in LEVELS), f"{path} is in no room of the table"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = room(path)
    for other in ours(path) - {here, "__version__"}:
        assert level(other) <= level(here), f"{here} imports {other}, which stands above it"
        if here in STAGE_ROOMS and other in STAGE_ROOMS:
            pytest.fail(f"stage {here} imports stage {other}; stages meet only in the store")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    for name in {name.split(".")[0] for name in imports(path)}:
        assert room(path) in ONLY_IN.get(name, {room(path)}), f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_environment_printer_and_global_state(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
            assert room(path) == "hpc", f"{path}:{node.lineno} reads the environment"
        if isinstance(node, ast.Global):
            pytest.fail(f"{path}:{node.lineno} changes a module-level variable")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert path.name == "schema.py", f"{path}:{node.lineno} prints"
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random.") and node.attr in ("seed", "rand", "randn"):
            pytest.fail(f"{path}:{node.lineno} draws from a global generator")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_size_and_docstring(path):
    text = path.read_text()
    assert text.count("\n") <= 450, f"{path} has grown past 450 lines"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path} doesn't say what it is for"


HEAVY = {"numpy", "pyarrow", "zarr", "torch", "torch_geometric", "umap", "numba", "matplotlib", "dask", "distributed", "h5py", "scipy"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("smlmbatch.cli", set()),
        ("smlmbatch.run", set()),
        ("smlmbatch.upkeep", set()),
        ("smlmbatch.ingest.stage", {"numpy", "pyarrow", "zarr", "h5py"}),
        ("smlmbatch.tile.stage", {"numpy", "scipy", "zarr"}),
        ("smlmbatch.quality.stage", {"numpy", "scipy", "zarr", "numba"}),
        ("smlmbatch.measure.stage", {"numpy", "scipy", "zarr", "numba"}),
        ("smlmbatch.embed.stage", {"numpy", "zarr"}),
        ("smlmbatch.cluster.stage", {"numpy", "scipy", "zarr", "numba"}),
        ("smlmbatch.pick.stage", {"numpy", "zarr"}),
    ],
)
def test_what_a_start_imports(module, allowed):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert loaded & HEAVY <= allowed
