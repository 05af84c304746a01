"""Hosts of our own, of namespaces, each with its network, processes, home and /tmp/ray, joined by a bridge:

    laptop  10.77.0.1    where `ray up` and `launch.submit` are typed
    h1, h2  10.77.0.11…  an sshd each, which `ray up` reaches

The bridge lies in the laptop's namespace, so nothing of this is seen outside, and runs beside each other do not meet.
All hosts see the same files but for their home, /etc/passwd (which names that home) and /tmp/ray.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

_SPACES = ("--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts")
PROGRAMS = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "ps": "procps",
    "pgrep": "procps",
}


# What this module as a program ends with where there can be no hosts; not the code of an error in it.
NOT_POSSIBLE_HERE = 3

# What making a host needs; in namespaces of its own, so nothing of it stays.
_TRIAL = "mount --bind /tmp /tmp && ip link add br0 type bridge && ip link add trial0 type veth peer name trial1"


def missing() -> str:
    """Why there can be no hosts here; "" if there can."""
    if os.geteuid() != 0:
        return f"namespaces are root's to make, and this is user {os.geteuid()}"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if absent := [program for program in PROGRAMS if not shutil.which(program, path=path)]:
        packages = " ".join(sorted({PROGRAMS[program] for program in absent}))
        return f"no {', '.join(absent)}: apt-get install {packages}"
    trial = ["unshare", *_SPACES, "sh", "-c", _TRIAL]
    tried = subprocess.run(trial, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


class Host:
    """A host that is up. `init` is the process of ours whose end ends all that runs on it."""

    def __init__(self, name: str, address: str, home: Path, init: subprocess.Popen[bytes], pid: int) -> None:
        self.name, self.address, self.home = name, address, home
        self._init, self._pid = init, pid

    def command(self, *command: str) -> list[str]:
        """`command` as it is run on this host."""
        spaces = ("--net", "--pid", "--mount", "--uts")
        return ["nsenter", f"--target={self._pid}", *spaces, f"--wdns={Path.cwd()}", "--", *command]

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment of a command on this host."""
        return {**_environment(self.home), **extra}

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on this host; stderr goes with stdout."""
        return subprocess.run(
            self.command(*command), env=self.environment(env or {}), timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, *command: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command on this host for as long as the context lasts. What it says must not be much, or must be read."""
        process = subprocess.Popen(
            self.command(*command), env=self.environment(env or {}), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                for one in psutil.Process(process.pid).children(recursive=True):  # what nsenter started
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
                process.kill()
            process.communicate()

    def end(self) -> None:
        """Ends the host with all that runs on it, at once, as a power cut does."""
        self._init.kill()
        self._init.wait()


class Hosts:
    """A laptop and some hosts."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder, self._names = folder, names
        self.home = folder / "home"
        self.laptop: Host
        self.hosts: dict[str, Host] = {}

    @property
    def key(self) -> Path:
        """The private key that opens every host."""
        return self._folder / "id"

    def make(self) -> None:
        """Starts them all; every host can be reached by SSH from the laptop when it returns."""
        self.home.mkdir(parents=True)
        (self.home / ".bashrc").touch()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        _make_environment(self.home / "venv")
        self.laptop = self._start("laptop", "10.77.0.1", "exec sleep infinity")
        for command in ("link add br0 type bridge", "addr add 10.77.0.1/24 dev br0", "link set br0 up"):
            self._on_laptop(command)
        for number, name in enumerate(self._names, start=1):
            self.start_host(name, f"10.77.0.1{number}")

    def start_host(self, name: str, address: str) -> Host:
        """Starts one host, or starts it again with the home that it had, and links it to the bridge."""
        sshd = (
            f"exec /usr/sbin/sshd -D -e -o PidFile=none -o HostKey={self.key} -o AuthorizedKeysFile={self.key}.pub "
            f"-o PermitRootLogin=prohibit-password -o StrictModes=no -o UsePAM=no 2>/tmp/ray/sshd.log"
        )
        host = self._start(name, address, sshd)
        self._on_laptop(f"link add to-{name} type veth peer name eth0 netns {host._pid}")
        self._on_laptop(f"link set to-{name} master br0 up")
        for command in (f"addr add {address}/24 dev eth0", "link set eth0 up", "route add default via 10.77.0.1"):
            _checked(host.run("ip", *command.split()))
        self.hosts[name] = host
        until = time.monotonic() + 30
        while self.laptop.run("ssh", "-i", str(self.key), *_SSH, f"root@{address}", "true").returncode:
            assert time.monotonic() < until, f"no sshd on {name}: {host.run('cat', '/tmp/ray/sshd.log').stdout}"
            time.sleep(0.2)
        return host

    def lose(self, name: str) -> None:
        """Takes a host's link away, and ends all that runs on it: nobody is told."""
        self._on_laptop(f"link del to-{name}")
        self.hosts[name].end()
        assert "does not exist" in self.laptop.run("ip", "link", "show", f"to-{name}").stdout

    def end(self) -> None:
        """Ends all of them, with all that they run. With their last process the kernel takes the namespaces away."""
        for host in (*self.hosts.values(), *([self.laptop] if hasattr(self, "laptop") else ())):
            host.end()

    def _on_laptop(self, command: str) -> None:
        # Only its network: the process ids in these commands are ours.
        spaces = ["nsenter", f"--target={self.laptop._pid}", "--net", "--"]
        subprocess.run([*spaces, "ip", *command.split()], check=True, timeout=30)

    def _start(self, name: str, address: str, last: str) -> Host:
        own = self._folder / name
        if not own.exists():
            (own / "ray").mkdir(parents=True)
            shutil.copytree(self.home, own / "home", symlinks=True)
            passwd = Path("/etc/passwd").read_text().splitlines()
            entries = [
                f"root:x:0:0:root:{self.home}:/bin/bash" if line.startswith("root:") else line for line in passwd
            ]
            (own / "passwd").write_text("\n".join(entries) + "\n")
        Path("/tmp/ray").mkdir(exist_ok=True)
        script = (
            f"hostname {name} && mount --bind {own}/home {self.home} && mount --bind {own}/passwd /etc/passwd && "
            f"mount --bind {own}/ray /tmp/ray && ip link set lo up && echo $$ && {last}"
        )
        init = subprocess.Popen(
            ["unshare", *_SPACES, "bash", "-c", script],
            env=_environment(self.home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert init.stdout is not None and init.stdout.readline() == b"1\n", f"{name} did not start"
        (child,) = Path(f"/proc/{init.pid}/task/{init.pid}/children").read_text().split()
        return Host(name, address, self.home, init, int(child))


_SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")  # fmt: skip


@contextlib.contextmanager
def hosts_in(folder: Path, *names: str) -> Iterator[Hosts]:
    """Hosts of these names for as long as the context lasts; nothing of them stays."""
    made = Hosts(folder, names)
    try:
        made.make()
        yield made
    finally:
        made.end()


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TF_CONFIG", "VIRTUAL_ENV"))}
    return {**kept, "HOME": str(home), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _make_environment(venv: Path) -> None:
    """A venv that already holds all packages but our own, as after a first download: those of this Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "downloaded.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # A package of constraints.txt that is not there is told at once, instead of being looked for in the network.
    config = venv.parent / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[global]\nno-index = true\n")
    for name, module in {"pip": "pip", "ray": "ray.scripts.scripts"}.items():
        program = venv / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {venv}/bin/python -m {module} "$@"\n')
        program.chmod(0o755)


def _checked(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{' '.join(done.args)}:\n{done.stdout}"


if __name__ == "__main__":
    if said := missing():
        print(said)
        sys.exit(NOT_POSSIBLE_HERE)
