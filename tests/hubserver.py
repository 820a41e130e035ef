"""A Hugging Face Hub on this machine: of its HTTP interface what pushing, pulling and reading a data set ask for."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback import Quiet, listening

COMMIT = "c" * 40
FORBIDDEN = "someone/forbidden"


@dataclass
class Repository:
    """One repository, with one commit."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Hub:
    """What is kept: repositories by kind and name, such as "models/someone/leaves"; large files by SHA-256.

    asked: each request; cards: the model cards that the client had checked
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """Return status, content (bytes, or JSON) and headers."""
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            return self._created(json.loads(body))
        if path == "/api/validate-yaml":
            self.cards.append(json.loads(body)["content"])
            return 200, {"errors": [], "warnings": []}, {}
        if parts[:1] == ["lfs"]:
            if method == "PUT":
                assert hashlib.sha256(body).hexdigest() == parts[1]
                self.large[parts[1]] = body
            return 200, {}, {}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, self._batch(json.loads(body)), {"Content-Type": "application/vnd.git-lfs+json"}
        if parts[0] == "api":
            return self._api("/".join(parts[1:4]), parts[4:], body)
        return self._file(*(("datasets", parts[1:]) if parts[0] == "datasets" else ("models", parts)))

    def _created(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if name == FORBIDDEN:
            return 403, {"error": "You don't have the rights"}, {"X-Error-Message": "You don't have the rights"}
        known = f"models/{name}" in self.repositories
        private = bool(asked.get("private")) or asked.get("visibility") == "private"  # by the age of the client
        self.repositories.setdefault(f"models/{name}", Repository(private))
        return 409 if known else 200, {"url": f"{self.address}/{name}", "id": name}, {}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for each in asked["objects"]:
            place = {"href": f"{self.address}/lfs/{each['oid']}", "header": {}}
            actions = {} if each["oid"] in self.large else {"actions": {"upload": place, "verify": place}}
            rows.append({"oid": each["oid"], "size": each["size"], "authenticated": True, **actions})
        return {"transfer": "basic", "objects": rows}

    def _api(self, which: str, rest: list[str], body: bytes) -> tuple[int, Any, dict[str, str]]:
        found = self.repositories.get(which)
        if found is None:
            return 401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        if rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False, "oid": None} for f in asked]
            return 200, {"files": modes}, {}
        if rest[:1] == ["commit"]:
            self._commit(found, body)
            url = f"{self.address}/{which.partition('/')[2]}/commit/{COMMIT}"
            return 200, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""}, {}
        files = [{"rfilename": name, "size": len(data), "blobId": "0" * 40} for name, data in found.files.items()]
        if rest[:1] == ["tree"]:
            tree = [{"type": "file", "path": f["rfilename"], "size": f["size"], "oid": "0" * 40} for f in files]
            return 200, tree, {}
        about = {"id": which.partition("/")[2], "sha": COMMIT, "private": found.private, "siblings": files, "tags": []}
        return 200, {**about, "downloads": 0, "likes": 0, "disabled": False, "gated": False}, {}

    def _commit(self, found: Repository, body: bytes) -> None:
        for line in body.splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                found.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            elif row["key"] == "lfsFile":
                found.files[row["value"]["path"]] = self.large[row["value"]["oid"]]

    def _file(self, kind: str, parts: list[str]) -> tuple[int, Any, dict[str, str]]:
        found = self.repositories.get(f"{kind}/{'/'.join(parts[:2])}")
        if found is None or parts[2] != "resolve":
            return 401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        name = unquote("/".join(parts[4:]))
        if name not in found.files:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
        data = found.files[name]
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        return 200, data, headers


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".onnx")) else "regular"


def _handler(hub: Hub) -> type[Quiet]:
    """Return what answers the requests to a hub."""

    class Handler(Quiet):
        def _do(self) -> None:
            body = self._body()
            path = urlsplit(self.path).path
            hub.asked.append(f"{self.command} {path}")
            status, content, headers = hub.answer(self.command, path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            for name, value in {"Content-Type": kind, **headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        do_GET = do_HEAD = do_POST = do_PUT = _do  # noqa: N815  (so http.server calls them)

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub at `hub.address` inside the block."""
    with listening(_handler(hub)) as hub.address:
        yield hub
