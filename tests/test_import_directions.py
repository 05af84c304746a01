"""Three floors, one direction: launch -> cvd_cluster -> estimators; and what a command's start may not import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What the modules of each package must never import, not even inside a function.
FORBIDDEN = {
    "estimators": {"cvd_cluster", "launch", "ray", "tests", "benchmarks"},
    "cvd_cluster": {"launch", "tests", "benchmarks"},
    "launch": {"tests", "benchmarks"},
}
COMMANDS = sorted(
    f"launch.{path.stem}" for path in (ROOT / "launch").glob("*.py") if "run_command(main)" in path.read_text()
)


def _modules(root: Path) -> dict[str, Path]:
    """Module name -> file, of all our packages below `root`."""
    found = {}
    for package in FORBIDDEN:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, at its top or inside functions.

    `from a import b` gives a.b, since b may be a module; relative names are made absolute by `package`.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((node.lineno, str(one.value)) for one in node.args if isinstance(one, ast.Constant))


def _imports_of(modules: Mapping[str, Path], name: str) -> Iterator[tuple[int, str]]:
    path = modules[name]
    return _imports(path, name if path.name == "__init__.py" else name.rpartition(".")[0])


def _wrong_directions(root: Path) -> list[str]:
    modules = _modules(root)
    return [
        f"{modules[name].relative_to(root)}:{line} imports {imported}"
        for name in sorted(modules)
        for line, imported in _imports_of(modules, name)
        if imported.partition(".")[0] in FORBIDDEN[name.partition(".")[0]]
    ]


def _graph(root: Path) -> dict[str, set[str]]:
    """Module -> our modules that it names; in `from package import name` that is package.name if it is a module."""
    modules = _modules(root)
    graph: dict[str, set[str]] = {}
    for name in modules:
        targets = (
            imported if imported in modules else imported.rpartition(".")[0]
            for _, imported in _imports_of(modules, name)
        )
        graph[name] = {target for target in targets if target in modules and target != name}
    return graph


def _folder(module: str, folders: Set[str]) -> str:
    """The folder within its floor that a module lies in; one that lies in none stands for itself."""
    folder = ".".join(module.split(".")[:2])
    return folder if folder in folders else module


def _graph_of_folders(root: Path) -> dict[str, set[str]]:
    folders = {f"{path.parent.parent.name}.{path.parent.name}" for path in root.glob("*/*/__init__.py")}
    graph: dict[str, set[str]] = {}
    for name, targets in _graph(root).items():
        named = graph.setdefault(_folder(name, folders), set())
        named |= {_folder(target, folders) for target in targets}
        named.discard(_folder(name, folders))
    return graph


def _cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle of the graph, [] if there is none."""
    finished: set[str] = set()

    def search(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        for target in sorted(graph[node]):
            if found := search(target, [*path, node]):
                return found
        finished.add(node)
        return []

    return next((found for node in sorted(graph) if (found := search(node, []))), [])


def _tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_floor_imports_one_above_it_and_estimators_never_imports_ray():
    assert _wrong_directions(ROOT) == []


def test_there_is_no_import_cycle_among_our_modules():
    assert " -> ".join(_cycle(_graph(ROOT))) == ""


def test_there_is_no_import_cycle_among_our_folders():
    assert " -> ".join(_cycle(_graph_of_folders(ROOT))) == ""


@pytest.mark.parametrize(
    "text",
    [
        "import ray.data",
        "def train():\n    from cvd_cluster import topology",
        "def train():\n    import importlib; importlib.import_module('launch.train')",
    ],
)
def test_a_wrong_direction_would_be_found(tmp_path, text):
    (found,) = _wrong_directions(_tree(tmp_path, {"estimators/models.py": text}))
    assert found.startswith("estimators/models.py:")


def test_a_cycle_would_be_found_even_through_functions_and_relative_imports(tmp_path):
    files = {
        "estimators/__init__.py": "",
        "estimators/a.py": "from estimators import b",
        "estimators/b.py": "def late():\n    from .hooks import c",
        "estimators/hooks/c.py": "import estimators.a",
    }
    assert _cycle(_graph(_tree(tmp_path, files))) == [
        "estimators.a",
        "estimators.b",
        "estimators.hooks.c",
        "estimators.a",
    ]


def test_a_cycle_of_folders_would_be_found(tmp_path):
    files = {
        "estimators/hooks/__init__.py": "",
        "estimators/hooks/a.py": "from estimators.inputs import b",
        "estimators/hooks/c.py": "",
        "estimators/inputs/__init__.py": "",
        "estimators/inputs/b.py": "import estimators.hooks.c",
    }
    tree = _tree(tmp_path, files)
    assert _cycle(_graph(tree)) == []
    assert _cycle(_graph_of_folders(tree)) == ["estimators.hooks", "estimators.inputs", "estimators.hooks"]


def test_the_commands_are_found():
    assert {"launch.train", "launch.prepare_data"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_neither_tensorflow_nor_ray(command):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['{command}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{command}', run_name='__main__')\n"
        "finally:\n"
        "    heavy = [name for name in ('tensorflow', 'ray', 'pandas', 'pyarrow') if name in sys.modules]\n"
        "    print('imported:', heavy, file=sys.stderr)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"python -m {command}" in finished.stdout
    assert finished.stderr.splitlines()[-1] == "imported: []"
