"""A Hugging Face Hub on this machine: the parts of its HTTP interface that uploads and downloads of models use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_fake"
API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit|paths-info)/([^/]+))?(?:/.*)?")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Repository:
    """The commits of a repository, oldest first; each is the hash and all files."""

    def __init__(self, private: bool) -> None:
        self.private, self.gated = private, False
        self.commits: list[tuple[str, dict[str, bytes]]] = []
        self.commit({})

    def commit(self, files: dict[str, bytes]) -> str:
        content = repr((len(self.commits), sorted(files.items()))).encode()
        self.commits.append((hashlib.sha1(content).hexdigest(), files))
        return self.commits[-1][0]

    @property
    def files(self) -> dict[str, bytes]:
        return dict(self.commits[-1][1])

    def revision(self, name: str) -> tuple[str, dict[str, bytes]] | None:
        return self.commits[-1] if name == "main" else next((one for one in self.commits if one[0] == name), None)


class FakeHub:
    """The server, its repositories, and the requests that it received as ``"METHOD path"``."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def publish(self, name: str, files: dict[str, bytes], private: bool = False) -> Repository:
        """Make a repository without an upload."""
        self.repositories[name] = Repository(private)
        self.repositories[name].commit(files)
        return self.repositories[name]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            path, body = unquote(urlsplit(self.path).path), self.rfile.read(int(self.headers["Content-Length"] or 0))
            hub.requests.append(f"{self.command} {path}")
            known = self.headers["Authorization"] == f"Bearer {TOKEN}"
            if self.command == "POST" and path == "/api/validate-yaml":
                return self.say({"errors": [], "warnings": []})
            if self.command == "POST" and not known:
                return self.say({"error": "Invalid username or password."}, 401)
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            found = RESOLVE.fullmatch(path) or API.fullmatch(path)
            repository = hub.repositories.get(found[1]) if found else None
            if found is None or repository is None or (repository.private and not known):
                return self.refuse("RepoNotFound", "Repository not found", 401)
            if repository.gated:
                return self.refuse("GatedRepo", "Access to model is restricted", 403)
            if found.re is RESOLVE:
                return self.resolve(repository, found[2], found[3])
            action = found[2] or "revision"
            if action == "preupload":
                files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
                return self.say({"files": [{**one, "shouldIgnore": False} for one in files]})
            if action == "commit":
                return self.commit(found[1], repository, [json.loads(line) for line in body.splitlines()])
            return self.list(found[1], repository, action, found[3] or "main")

        def create(self, asked: dict[str, Any]) -> None:
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in hub.repositories:
                return self.say({"error": "You already created this model repo", "url": f"{hub.address}/{name}"}, 409)
            hub.repositories[name] = Repository(private=asked.get("private") or asked.get("visibility") == "private")
            self.say({"url": f"{hub.address}/{name}", "id": "0", "name": name})

        def commit(self, name: str, repository: Repository, lines: list[dict[str, Any]]) -> None:
            files = repository.files
            for line in lines:
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            commit = repository.commit(files)
            address = f"{hub.address}/{name}/commit/{commit}"
            self.say({"success": True, "commitOid": commit, "commitUrl": address, "hookOutput": ""})

        def list(self, name: str, repository: Repository, action: str, revision: str) -> None:
            if (found := repository.revision(revision)) is None:
                return self.refuse("RevisionNotFound", "Invalid rev id", 404)
            commit, files = found
            if action == "revision":
                siblings = [{"rfilename": path} for path in files]
                return self.say({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []})
            rows = [
                {"type": "file", "path": path, "size": len(files[path]), "oid": _etag(files[path])} for path in files
            ]
            self.say([] if "cursor" in parse_qs(urlsplit(self.path).query) else rows)

        def resolve(self, repository: Repository, revision: str, path: str) -> None:
            if (found := repository.revision(revision)) is None:
                return self.refuse("RevisionNotFound", "Invalid rev id", 404)
            commit, files = found
            if path not in files:
                return self.refuse("EntryNotFound", "Entry not found", 404, {"X-Repo-Commit": commit})
            self.send(200, files[path], {"ETag": f'"{_etag(files[path])}"', "X-Repo-Commit": commit})

        def refuse(self, code: str, message: str, status: int, headers: dict[str, str] | None = None) -> None:
            named = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
            self.send(status, json.dumps({"error": message}).encode(), named)

        def say(self, content: Any, status: int = 200) -> None:
            self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
