"""The script that every node of `ray up` runs, with programs that note their calls in place of the real ones."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "launch" / "clusters" / "set_up_node.sh"


def set_up(tmp_path: Path, extras: str, *, driver_after: int) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Runs the script with a home and programs of the test's own; returns what was called."""
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    made = {
        programs / "python3.11": "exit 0",
        programs / "sleep": 'echo "sleep $*" >>"$CALLS"',
        programs
        / "nvidia-smi": f'echo "nvidia-smi $*" >>"$CALLS"; test $(grep -c nvidia-smi "$CALLS") -gt {driver_after}',
        tmp_path / "venv" / "bin" / "pip": 'echo "pip $*" >>"$CALLS"',
    }
    for path, body in made.items():
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(stat.S_IRWXU)
    env = {"HOME": str(tmp_path), "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin", "CALLS": str(calls)}
    done = subprocess.run(
        ["bash", str(SCRIPT), extras], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    return done, calls.read_text().splitlines()


@pytest.mark.parametrize(("extras", "installed"), [("gcp", "-e .[gcp]"), ("", "-e .")])
def test_setting_up_a_node_installs_the_lock_and_is_repeatable(tmp_path, extras, installed):
    done, calls = set_up(tmp_path, extras, driver_after=99)
    assert done.returncode == 0, done.stderr
    assert len(calls) == 2 and all("-c constraints.txt" in call for call in calls) and calls[1].endswith(installed)
    bashrc = (tmp_path / ".bashrc").read_text()
    again = {"HOME": str(tmp_path), "CALLS": os.devnull, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    subprocess.run(["bash", str(SCRIPT)], env=again, check=True, timeout=60)
    assert (tmp_path / ".bashrc").read_text() == bashrc and "RAY_AUTH_MODE=token" in bashrc


def test_setting_up_a_node_shuts_the_token_away(tmp_path):
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    done, _ = set_up(tmp_path, "", driver_after=99)
    assert done.returncode == 0 and stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.mark.parametrize(("driver_after", "code"), [(3, 0), (10**6, 1)])
def test_setting_up_a_gpu_node_waits_for_the_driver_and_fails_without_one(tmp_path, driver_after, code):
    done, calls = set_up(tmp_path, "cuda", driver_after=driver_after)
    assert done.returncode == code, done.stderr
    assert calls.count("sleep 5") == min(driver_after, 60)


def test_a_node_without_python_gets_it_once_the_locks_of_its_first_boot_are_free(tmp_path):
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    made = {
        # There only once apt has installed it; then it makes the environment.
        "python3.11": 'test -e "$HOME/installed" || exit 1\n'
        'if [ "$2" = venv ]; then mkdir -p "$HOME/venv/bin"; cp "$HOME/bin/pip" "$HOME/venv/bin/pip"; fi',
        "pip": 'echo "pip $*" >>"$CALLS"',
        "sudo": 'while [[ $1 == *=* ]]; do shift; done; "$@"',
        "cloud-init": 'echo "cloud-init $*" >>"$CALLS"',
        "add-apt-repository": 'echo "add-apt-repository $*" >>"$CALLS"',
        # The lock of the package lists is held twice.
        "apt-get": 'echo "apt-get $*" >>"$CALLS"\n'
        '[[ "$*" == *update* && $(grep -c update "$CALLS") -lt 3 ]] && exit 100\n'
        '[[ "$*" == *python3.11-venv* ]] && touch "$HOME/installed"\nexit 0',
        "sleep": 'echo "sleep $*" >>"$CALLS"',
    }
    for name, body in made.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(stat.S_IRWXU)
    env = {"HOME": str(tmp_path), "PATH": f"{programs}:/usr/bin:/bin", "CALLS": str(calls)}
    done = subprocess.run(["bash", str(SCRIPT)], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = calls.read_text().splitlines()
    assert said[:2] == ["cloud-init status --wait", "add-apt-repository -y ppa:deadsnakes/ppa"]
    assert said.count("sleep 10") == 2 and said[-1].endswith("-e .")
