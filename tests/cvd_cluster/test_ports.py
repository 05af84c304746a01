from __future__ import annotations

import concurrent.futures
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.ports import PortLease

ROOT = Path(__file__).parents[2]


def bind_error(port: int, *, host: str = "", family: int = socket.AF_INET, reuse: bool = False) -> int | None:
    """The error number of binding a listening socket there, or None if that works."""
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        if reuse:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            taken.bind((host, port))
            taken.listen()
        except OSError as error:
            return error.errno
    return None


def test_fifty_leases_at_once_have_fifty_ports() -> None:
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        leases = list(pool.map(lambda _: PortLease(), range(50)))
    try:
        assert len({lease.port for lease in leases}) == 50 and all(lease.port > 1023 for lease in leases)
    finally:
        for lease in leases:
            lease.release()


def test_several_processes_lease_at_once_without_meeting() -> None:
    code = (
        "from cvd_cluster.ports import PortLease; leases = [PortLease() for _ in range(50)]\n"
        "print(*(lease.port for lease in leases), flush=True); input()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        ports = [
            port for process in processes for port in (process.stdout.readline() if process.stdout else "").split()
        ]
        assert len(set(ports)) == len(ports) == 150
    finally:
        for process in processes:
            process.communicate("\n", timeout=20)


def test_two_hundred_leases_in_a_row_each_serve_and_are_given_back() -> None:
    for _ in range(200):
        lease = PortLease()
        assert bind_error(lease.port, reuse=True) is None
        lease.release()


def test_a_server_that_shares_ports_starts_on_the_lease_and_again_and_gets_every_connection() -> None:
    lease = PortLease()
    try:
        for _ in range(3):
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                server.bind(("", lease.port))
                server.listen()
                for _ in range(20):
                    with socket.create_connection(("127.0.0.1", lease.port), timeout=5) as client:
                        accepted, _ = server.accept()
                        with accepted:
                            client.sendall(b"x")
                            assert accepted.recv(1) == b"x"
    finally:
        lease.release()


SERVERS = """
import os, sys, threading
import tensorflow as tf

failed = []

def serve(port):
    try:
        servers.append(tf.distribute.Server({"worker": [f"127.0.0.1:{port}"]}, job_name="worker", task_index=0))
    except Exception as error:
        failed.append(f"{port}: {error}")

servers = []
threads = [threading.Thread(target=serve, args=(port,)) for port in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tf.Graph().as_default():
    answer = tf.constant(7)
    answers = [tf.compat.v1.Session(server.target).run(answer) for server in servers]
print(len(servers), sum(answers), *failed, flush=True)
os._exit(0)  # as a kill does: no server is shut down
"""


def test_fifty_servers_of_tensorflow_start_at_once_on_fifty_leases_and_again_on_the_same_ports() -> None:
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        leases = list(pool.map(lambda _: PortLease(), range(50)))
    try:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", SERVERS, *(str(lease.port) for lease in leases)],
                env={**os.environ, "TF_GRPC_REUSE_PORT": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.stdout == "50 350\n", done.stdout + done.stderr
    finally:
        for lease in leases:
            lease.release()


def test_while_fifty_leases_serve_and_are_served_again_two_hundred_others_come_and_go() -> None:
    leases = [PortLease() for _ in range(50)]
    errors: list[int | None] = []

    def serve_again(lease: PortLease) -> None:
        errors.extend(bind_error(lease.port, family=socket.AF_INET6, reuse=True) for _ in range(20))

    def come_and_go(_: int) -> None:
        other = PortLease()
        errors.append(bind_error(other.port, reuse=True))
        other.release()

    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(come_and_go, range(200)))
            list(pool.map(serve_again, leases))
            list(pool.map(come_and_go, range(200)))
        assert errors == [None] * len(errors) and len(errors) == 1400
    finally:
        for lease in leases:
            lease.release()


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_nobody_else_can_take_a_leased_port(host: str) -> None:
    lease = PortLease()
    try:
        assert bind_error(lease.port, host=host) == errno.EADDRINUSE
    finally:
        lease.release()


def test_a_port_that_is_given_back_can_be_taken() -> None:
    lease = PortLease()
    lease.release()
    assert bind_error(lease.port) is None
    lease.release()  # twice is no error


def test_a_connection_is_refused_until_a_server_is_there() -> None:
    lease = PortLease()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", lease.port), timeout=5)
    finally:
        lease.release()


def test_a_kernel_without_ipv6_leases_too(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *args: Any, **kwargs: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", without_ipv6)
        lease = PortLease()
    try:
        assert bind_error(lease.port) == errno.EADDRINUSE and bind_error(lease.port, reuse=True) is None
    finally:
        lease.release()
