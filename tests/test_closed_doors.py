"""Nothing from outside is run as code, and no shell or open port is a line away: what docs/security.md says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for name in ("estimators", "cvd_cluster", "launch") for path in (ROOT / name).rglob("*.py"))
RUNS_WHAT_IT_READS = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "marshal.load",
    "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "eval", "exec", "os.system", "os.popen",
}  # fmt: skip
# The process that builds a graph hands its error back over a pipe of its own.
KNOWN = {("estimators/model_graph/graph_check.py", "pickle.loads")}


def calls(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def doors(source: str) -> set[str]:
    """Names of calls in a source that run what they read, start a shell, or listen to everybody."""
    found = set()
    for call in calls(source):
        name = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in RUNS_WHAT_IT_READS:
            found.add(name)
        for keyword in ("shell", "allow_pickle"):
            if keywords.get(keyword, "False") != "False":
                found.add(f"{name}({keyword})")
        if any(isinstance(node, ast.Constant) and node.value == "0.0.0.0" for node in ast.walk(call)):
            found.add(f"{name}(0.0.0.0)")
    return found


def test_no_module_opens_a_door_but_those_that_are_known():
    assert {(path.relative_to(ROOT).as_posix(), door) for path in MODULES for door in doors(path.read_text())} == KNOWN


def test_the_line_that_makes_a_token_makes_it_for_its_owner_alone(tmp_path):
    text = (ROOT / "README.md").read_text()
    (line,) = {line.partition("  ")[0] for line in text.splitlines() if "get-auth-token --generate" in line}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(
        ["bash", "-c", f"umask 022; {line}"],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    token = tmp_path / ".ray" / "auth_token"
    assert made.returncode == 0 and token.stat().st_mode & 0o777 == 0o600, made.stderr
    assert len(token.read_text().strip()) == 64 and token.read_text().strip() not in made.stdout + made.stderr


@pytest.mark.parametrize("line", [
    "pickle.loads(data)", "yaml.load(text)", "np.load(path, allow_pickle=True)", "run(command, shell=True)",
    "server.bind(('0.0.0.0', 80))", "eval(text)",
])  # fmt: skip
def test_a_door_is_seen(line):
    assert doors(line)
