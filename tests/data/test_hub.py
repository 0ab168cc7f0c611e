"""Whether the hub is asked for files at all."""

from __future__ import annotations

import socket

import pytest

from nasbench.data import hub

reachable = hub._reachable
"""The function itself: the fixtures of all tests replace it."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's proxies and endpoint are hidden."""
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def test_hub_is_reachable_if_it_accepts_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"https://127.0.0.1:{server.getsockname()[1]}"
        assert reachable(endpoint)
    assert not reachable(endpoint)  # refused


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hang(address: tuple[str, int], timeout: float) -> None:
        asked.append((address, timeout))
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", hang)
    assert not reachable("https://huggingface.co")
    assert not reachable("http://mirror.example:8080/models")
    addresses = [("huggingface.co", 443), ("mirror.example", 8080)]
    assert asked == [(address, hub._PROBE_TIMEOUT_S) for address in addresses]


@pytest.mark.parametrize("setting", ["proxy", "HF_ENDPOINT"])
def test_only_the_libraries_can_tell_behind_a_proxy_or_with_another_endpoint(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    def connects(*_: object, **__: object) -> None:
        pytest.fail("the hub was asked")

    monkeypatch.setattr(socket, "create_connection", connects)
    if setting == "proxy":
        monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    else:
        monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert reachable("https://huggingface.co")
