"""What is installed is what is in the repository, in versions that the lock holds."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("estimators", "cvd_cluster", "launch")
INIT_FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))


@pytest.fixture(scope="module")
def setup_file() -> ModuleType:
    """setup.py with its call of `setup` left out."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))]
    module = ModuleType("setup_file")
    exec(compile(tree, "setup.py", "exec"), module.__dict__)
    return module


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    """Package -> version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_every_package_folder_is_listed_and_nothing_else_is_installed(setup_file):
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert set(setup_file.PACKAGES) == folders
    assert sorted(setup_file.PACKAGES) == setup_file.PACKAGES


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_every_folder_with_modules_is_a_package(folder):
    folders = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert not [str(path) for path in folders if not (path / "__init__.py").exists()]


@pytest.mark.parametrize("path", INIT_FILES, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_the_names_that_a_package_offers_are_sorted_and_listed_once(path):
    tree = ast.parse(path.read_text())
    offered = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(offered) <= 1
    for names in offered:
        assert list(names) == sorted(set(names))


def test_every_requirement_is_locked_to_a_version_that_it_allows(setup_file, locked):
    requirements = setup_file.REQUIREMENTS + [one for extra in setup_file.EXTRAS.values() for one in extra]
    for requirement in map(Requirement, requirements):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked to {version}"


def test_the_lock_says_how_to_renew_it_and_pins_each_package_once(locked):
    first, *others = (ROOT / "constraints.txt").read_text().splitlines()
    assert first.startswith("# ") and "Renew" in first
    assert all(re.fullmatch(r"[\w.-]+==[\w.+-]+", line) for line in others)
    assert len(locked) == len(others)


def test_everything_that_our_modules_import_is_required_by_name(setup_file):
    distributions = {
        "PIL": "pillow",
        "botocore": "boto3",
        "google": "protobuf",
        "google_crc32c": "google-crc32c",
        "googleapiclient": "google-api-python-client",
        "yaml": "PyYAML",
    }
    required = setup_file.REQUIREMENTS
    # This one looks whether they are there, and does without.
    optional = {"cvd_cluster/cloud_machines.py": [*setup_file.EXTRAS["aws"], *setup_file.EXTRAS["gcp"]]}

    def is_named(path: Path, name: str) -> bool:
        allowed = [*required, *optional.get(str(path.relative_to(ROOT)), [])]
        wanted = canonicalize_name(distributions.get(name, name))
        return wanted in {canonicalize_name(Requirement(one).name) for one in allowed}

    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in _top_level_imports(path)
        if name not in PACKAGES and not is_named(path, name)
    }
    assert missing == set()


def _top_level_imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
