"""A hub of models on loopback: what the hub's client asks of one repository, and faults at will."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "somebody/tiny"
INFO = f"/api/models/{REPOSITORY}"


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """What it holds and what it does wrong.

    Attributes:
        files: contents by path; those of more than 1,000 bytes have a SHA-256 at the hub.
        promised: contents that its listing is about, where they are others than it sends.
        cut_at: bytes of a file after which the connection is cut, until it is set to None; from
            then on it answers 503.
        asked: every request: method, path and the first byte that was asked for.
        targets: what each of them asked for, as it was written.
    """

    files: dict[str, bytes]
    url: str = ""
    promised: dict[str, bytes] = field(default_factory=dict)
    cut_at: int | None = None
    is_cut: bool = False
    is_silent: bool = False
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def listing(self) -> dict[str, object]:
        """As the hub's API lists a repository."""
        files = {**self.files, **self.promised}
        return {
            "_id": "1",
            "id": REPOSITORY,
            "modelId": REPOSITORY,
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [_sibling(path, content) for path, content in files.items()],
        }


def _sibling(path: str, content: bytes) -> dict[str, object]:
    found = {"rfilename": path, "size": len(content), "blobId": git_id(content)}
    if len(content) <= 1000:
        return found
    large = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
    return {**found, "lfs": large}


@contextmanager
def running_hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve a hub at a free port of loopback until the block ends."""
    hub = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (_Asked,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Asked(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
        """Say nothing."""

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        first = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        hub.asked.append((self.command, path, first))
        hub.targets.append(self.requestline.split()[1])  # the path has lost a slash too many
        hub.headers.append(dict(self.headers))
        if hub.is_silent:
            hub.over.wait()
            self.close_connection = True
        elif path in {INFO, f"{INFO}/revision/{COMMIT}"}:
            self._send(200, json.dumps(hub.listing()).encode())
        elif (name := path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")) in hub.files:
            self._send_file(name, first)
        else:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _send_file(self, name: str, first: int) -> None:
        content = self.hub.files[name]
        tag = sha256(content) if len(content) > 1000 else git_id(content)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and self.hub.is_cut:
            self._send(503, b"")
        else:
            self._send(206 if first else 200, content[first:], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        cut_at = self.hub.cut_at
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_at is not None and "resolve" in self.path and len(body) > cut_at:
            self.hub.is_cut = True
            self.wfile.write(body[:cut_at])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(body)
