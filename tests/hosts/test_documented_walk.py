"""README's way through a cluster, from beginning to end, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hosts.on_prem_cluster import OnPremCluster

pytestmark = pytest.mark.hosts

_ROOT = Path(__file__).parents[2]
# Done by the cluster that all tests here share.
_DONE = ("ray up --yes $CLUSTER", "ray dashboard $CLUSTER </dev/null &", "ray down --yes $CLUSTER")
_CURVES_ARE_SHOWN = """
python - <<'PYTHON'
import json, time, urllib.request
until = time.monotonic() + 120
while True:
    try:
        runs = json.load(urllib.request.urlopen("http://127.0.0.1:6006/data/runs", timeout=30))
        if {"run", "run/eval"} <= set(runs):
            break
    except OSError:
        pass
    assert time.monotonic() < until, "no curves through the tunnel"
    time.sleep(1)
print("runs with curves:", sorted(runs))
PYTHON
"""


def walk() -> list[str]:
    """The lines of the section, without what is done already."""
    section = (
        (_ROOT / "README.md").read_text().partition("## A cluster, from beginning to end\n")[2].partition("\n## ")[0]
    )
    blocks = re.compile(r"```sh\n(.*?)```", re.S)
    commands = [re.sub(r"\s+# .*", "", line) for line in "".join(blocks.findall(section)).splitlines()]
    assert all(commands.count(done) == 1 for done in _DONE), commands
    (nodes_up,) = re.findall(r"`(ray exec .*?)`", blocks.sub("", section))
    commands.insert(commands.index("ray up --yes $CLUSTER"), nodes_up)
    return [command for command in commands if command not in _DONE]


def test_every_line_of_the_readme_does_what_it_says(cluster: OnPremCluster, folder: Path, data: Path) -> None:
    shared = folder / "walk"
    shared.mkdir()
    values = {"CLUSTER=": str(cluster.config), "SHARED=": str(shared)}
    script = ["set -em", f"PATH={cluster.programs}:$PATH"]
    for line in walk():
        name = next((name for name in values if line.startswith(name)), None)
        script.append(f"{name}{values[name]}" if name else line.replace("/tmp/drawn", str(data)))
        if line.endswith(" &"):
            script += ["curves=$!", _CURVES_ARE_SHOWN]
    # The terminal of `ray exec` is closed, which ends what runs in it on the head.
    script.append("kill -- -$curves")
    log = folder / "walk.log"
    body = "\n".join(script)
    done = cluster.hosts.laptop.run("bash", "-c", f"exec >{log} 2>&1\n{body}", timeout=500)
    said = log.read_text()
    assert done.returncode == 0, said
    for told in ("Nothing was written", "Active:", "SUCCEEDED", "runs with curves: ", "job first succeeded"):
        assert told in said, said
    fetched = cluster.hosts.laptop.run("sh", "-c", "cat ~/submission.csv").stdout
    assert fetched == (shared / "submission.csv").read_text() and fetched.startswith("Id,Category\n")
