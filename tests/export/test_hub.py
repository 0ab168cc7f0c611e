"""``nasbench export --push-to-hub`` against a local server that answers as the hub does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import huggingface_hub.constants
import pytest
import torch
import transformers
from click.testing import CliRunner

from nasbench.cli.main import cli
from nasbench.errors import UserError

RunOf = Callable[..., Path]


class _Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that creating a repository and committing files needs."""

    created: ClassVar[list[dict[str, Any]]] = []
    files: ClassVar[dict[str, bytes]] = {}
    refuses: ClassVar[bool] = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
        if self.refuses or self.headers.get("Authorization") != "Bearer hf_test":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            self._answer(200, {"url": f"http://{self.headers['Host']}/me/pruned"})
        elif self.path == "/api/validate-yaml":  # the head of the model card
            self._answer(200, {"errors": [], "warnings": []})
        elif self.path == "/api/models/me/pruned/preupload/main":
            names = [file["path"] for file in json.loads(body)["files"]]
            plain = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._answer(200, {"files": plain})
        elif self.path.startswith("/api/models/me/pruned/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/me/pruned/commit/{'0' * 40}"
            self._answer(200, {"success": True, "commitOid": "0" * 40, "commitUrl": url, "hookOutput": ""})
        else:
            self._answer(404, {"error": f"no {self.path}"})

    def do_GET(self) -> None:
        self._answer(404, {"error": "not found"})

    def _chunks(self) -> bytes:
        data = b""
        while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            data += self.rfile.read(size)
            self.rfile.readline()
        return data

    def _answer(self, status: int, values: dict[str, Any]) -> None:
        data = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """No lines on stderr."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    """A local server in place of the hub, and a token for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    _Hub.created.clear(), _Hub.files.clear()
    _Hub.refuses = False
    yield _Hub
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(run_of: RunOf) -> Path:
    return run_of([[1] * (12 + 144), [1, 1, 0, 0] * 3 + [1] * 24 + [0] * 24 + [1] * 96])


@torch.no_grad()
def test_uploaded_files_load_as_the_exported_folder(hub: type[_Hub], run: Path, tmp_path: Path) -> None:
    arguments = ["export", str(run), "--out", str(tmp_path / "out"), "--push-to-hub", "me/pruned", "--private"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "uploaded to http://127.0.0.1" in done.output
    (created,) = hub.created
    assert created["name"] == "pruned"
    assert created.get("private") is True or created.get("visibility") == "private"
    exported = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert hub.files == exported
    (tmp_path / "downloaded").mkdir()
    for name, data in hub.files.items():
        (tmp_path / "downloaded" / name).write_bytes(data)
    auto, ids = transformers.AutoModelForSequenceClassification, torch.tensor([[2, 7, 8, 3]])
    one, other = (auto.from_pretrained(tmp_path / name, trust_remote_code=True) for name in ("out", "downloaded"))
    assert torch.equal(one(ids).logits, other(ids).logits)


def test_refused_upload_keeps_the_folder_and_names_the_remedy(hub: type[_Hub], run: Path, tmp_path: Path) -> None:
    hub.refuses = True
    arguments = ["export", str(run), "--out", str(tmp_path / "out"), "--push-to-hub", "me/pruned"]
    with pytest.raises(UserError, match=r"cannot upload .* to me/pruned \(.*\); log in with `hf auth login`") as caught:
        CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_private_without_an_upload_is_refused(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", str(run), "--out", str(tmp_path / "out"), "--private"])
    assert (done.exit_code, "--private goes with --push-to-hub" in done.output) == (2, True)
    assert not (tmp_path / "out").exists()
