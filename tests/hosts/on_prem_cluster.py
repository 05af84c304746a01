"""The cluster of launch/clusters/on_prem.yaml on hosts of our own, and what a person types at the laptop."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.hosts.hosts import Host, Hosts

_ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8265"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
CPUS_OF_A_HOST = 4


class OnPremCluster:
    """The cluster, its hosts, and the commands at its laptop; all in the folder of setup.py."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self._folder = hosts, folder
        self.config = folder / "on_prem.yaml"
        self.programs = hosts.home / "venv" / "bin"

    def write_config(self) -> None:
        """on_prem.yaml with these hosts' addresses, and CPUs that do not depend on this machine."""
        config = yaml.safe_load((_ROOT / "launch" / "clusters" / "on_prem.yaml").read_text())
        head, *workers = (host.address for host in self.hosts.hosts.values())
        config["provider"] |= {"head_ip": head, "worker_ips": workers}
        config["max_workers"] = len(workers)
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.hosts.key)}
        for key in ("head_start_ray_commands", "worker_start_ray_commands"):
            stop, start = config[key]
            config[key] = [stop, start.replace("ray start", f"ray start --num-cpus={CPUS_OF_A_HOST}")]
        self.config.write_text(yaml.safe_dump(config))

    def ray(self, *arguments: str, on: Host | None = None, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """`ray …` at the laptop, or on a host."""
        return (on or self.hosts.laptop).run(str(self.programs / "ray"), *arguments, env=TOKEN, timeout=timeout)

    def submit(self, command: str, *flags: str, job: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """`python -m launch.submit …` at the laptop, to its end."""
        line = self.submit_line(command, *flags, job=job)
        return self.hosts.laptop.run(*line, env=TOKEN, timeout=timeout)

    @contextlib.contextmanager
    def submitting(
        self, command: str, *flags: str, job: str, working_dir: Path = _ROOT, by_ray: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """The same, still running; or README's line of `ray job submit`."""
        submit = self.ray_submit_line if by_ray else self.submit_line
        line = submit(command, *flags, job=job, working_dir=working_dir)
        with self.hosts.laptop.running(*line, env=TOKEN) as process:
            yield process

    def down(self) -> None:
        """`ray down`, `ray stop` on the others, and the wait until no host runs anything but its sshd.

        On machines of one's own `ray down` stops Ray on the head alone. The others' raylets end by themselves when they
        have not heard from it for a minute, but Ray's log monitor stays.
        """
        down = self.ray("down", "--yes", str(self.config))
        assert down.returncode == 0, down.stdout
        for host in list(self.hosts.hosts.values())[1:]:
            self.ray("stop", on=host)
        ends = time.monotonic() + 150
        while left := [line for host in self.hosts.hosts.values() for line in _processes(host)]:
            assert time.monotonic() < ends, "left behind by `ray down`:\n" + "\n".join(left)
            time.sleep(1)

    def submit_line(self, command: str, *flags: str, job: str, working_dir: Path = _ROOT) -> list[str]:
        """The line itself."""
        line = [str(self.programs / "python"), "-m", "launch.submit", command, f"--address={ADDRESS}", f"--job={job}"]
        return [*line, f"--working_dir={working_dir}", "--", *flags]

    def ray_submit_line(self, command: str, *flags: str, job: str, working_dir: Path) -> list[str]:
        """What README has a person type without `launch.submit`, with this cluster, job and command."""
        (shown,) = re.findall(
            r"^ray job submit --address=\S+ (.*?) -- \\\n", (_ROOT / "README.md").read_text(), re.M | re.S
        )
        options = shlex.split(shown.replace("\\\n", " "))
        options[options.index("--working-dir") + 1] = str(working_dir)
        if command == "train":
            options.remove("--entrypoint-num-cpus=1")  # as README says
        line = [str(self.programs / "ray"), "job", "submit", f"--address={ADDRESS}", f"--submission-id={job}"]
        return [*line, *options, "--", "python", "-m", f"launch.{command}", *flags]

    def answers(self, host: str) -> subprocess.CompletedProcess[str]:
        """Tries to connect to the job server's port of `host` from the laptop; a return code of 0 says it answers."""
        connect = "import socket, sys; socket.create_connection((sys.argv[1], 8265), timeout=5)"
        return self.hosts.laptop.run(str(self.programs / "python"), "-c", connect, host)

    def await_tunnel(self, patience: float) -> None:
        """Waits until `ray dashboard` forwards the job server."""
        until = time.monotonic() + patience
        while self.answers("127.0.0.1").returncode:
            assert time.monotonic() < until, "`ray dashboard` forwards nothing"
            time.sleep(0.5)

    def await_nodes(self, count: int, patience: float) -> str:
        """Waits until `ray status` counts so many nodes, and returns what it said."""
        until = time.monotonic() + patience
        head = next(iter(self.hosts.hosts.values()))
        while True:
            said = self.ray("status", on=head).stdout
            active = said.partition("Active:")[2].partition("Pending:")[0]
            if sum(int(number) for number in re.findall(r"^ (\d+) \S+$", active, re.M)) == count:
                return said
            assert time.monotonic() < until, said
            time.sleep(1)


def _processes(host: Host) -> list[str]:
    """What runs on a host, beside sshd and this look at it."""
    lines = host.run("ps", "-eo", "pid=,comm=,args=").stdout.splitlines()
    return [f"{host.name}: {line}" for line in lines if line.split()[1] not in ("sshd", "ps")]


@contextlib.contextmanager
def cluster_up(hosts: Hosts, folder: Path) -> Iterator[OnPremCluster]:
    """`ray up`, two active nodes, and the tunnel to the dashboard; `ray down` at the end."""
    cluster = OnPremCluster(hosts, folder)
    cluster.write_config()
    # As Ray makes it, readable by all: setting up a node must mend that.
    generated = cluster.ray("get-auth-token", "--generate")
    assert generated.returncode == 0, generated.stdout
    began = time.monotonic()
    up = cluster.ray("up", "--yes", "--no-config-cache", str(cluster.config))
    assert up.returncode == 0, up.stdout
    try:
        status = cluster.await_nodes(2, 240)
        print(f"\nray up to 2 active nodes: {time.monotonic() - began:.0f} s\n{status}")
        dashboard = (str(cluster.programs / "ray"), "dashboard", str(cluster.config))
        with hosts.laptop.running(*dashboard, env=TOKEN):
            cluster.await_tunnel(60)
            yield cluster
    finally:
        cluster.down()
