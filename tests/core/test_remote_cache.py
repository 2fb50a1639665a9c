# SPDX-License-Identifier: Apache-2.0
"""A cache that machines share: over S3's protocol with a server of the test's own, and over files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aotfactory.core.cache import Cache, key_of, open_cache
from aotfactory.core.errors import MissingError, UsageError
from aotfactory.core.remote_cache import RemoteCache
from aotfactory.core.workers import run_all

pytest.importorskip("fsspec")
KEY, OTHER = key_of("one"), key_of("two")


class Store:
    """A shared store: its URL, and its objects to meddle with."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        self.files, self.root = fsspec.url_to_fs(url)

    def objects(self) -> list[str]:
        self.files.invalidate_cache()
        return sorted(self.files.find(self.root))

    def machine(self, folder: Path, **options: Any) -> Cache:
        return Cache(folder, shared=RemoteCache(self.url, **options))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(params=["s3", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "file":
        (tmp_path / "shared").mkdir()
        return Store(f"file://{tmp_path}/shared")
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
    import fsspec

    bucket = f"bucket-{key_of(str(tmp_path))[:12]}"
    fsspec.filesystem("s3").mkdir(bucket)
    return Store(f"s3://{bucket}/cache")


def test_what_one_machine_made_another_has(store: Store, tmp_path: Path) -> None:
    store.machine(tmp_path / "a").put("kind", KEY, b"content")
    assert len(store.objects()) == 1
    second = store.machine(tmp_path / "b")
    assert (second.get("kind", KEY), second.get("kind", OTHER)) == (b"content", None)
    alone = Cache(tmp_path / "b")
    assert alone.get("kind", KEY) == b"content"  # it is local from now on


def test_damage_is_found_and_mended(store: Store, tmp_path: Path) -> None:
    store.machine(tmp_path / "a").put("kind", KEY, b"content")
    (name,) = store.objects()
    data = bytearray(store.files.cat_file(name))
    data[-1] ^= 1
    store.files.pipe_file(name, bytes(data))
    second = store.machine(tmp_path / "b")
    assert second.get("kind", KEY) is None
    second.put("kind", KEY, b"content")
    assert store.machine(tmp_path / "c").get("kind", KEY) == b"content"


def test_processes_that_are_forked(store: Store, tmp_path: Path) -> None:
    cache = store.machine(tmp_path / "a")
    keys = [key_of(n) for n in range(4)]
    run_all([lambda key=key: cache.put("kind", key, key.encode()) for key in keys], 2)  # type: ignore[misc]
    assert len(store.objects()) == 4
    other = store.machine(tmp_path / "b")
    assert run_all([lambda key=key: other.get("kind", key) for key in keys], 2) == [  # type: ignore[misc]
        key.encode() for key in keys
    ]


def test_readonly(store: Store, tmp_path: Path) -> None:
    store.machine(tmp_path / "a").put("kind", KEY, b"content")
    reader = Cache(tmp_path / "b", shared=RemoteCache(f"{store.url}?readonly"))
    reader.put("kind", OTHER, b"mine")
    assert len(store.objects()) == 1
    assert (reader.get("kind", KEY), reader.get("kind", OTHER)) == (b"content", b"mine")


def test_a_store_that_is_down_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    cache = Cache(tmp_path / "a", shared=RemoteCache(f"file://{tmp_path}/file/below", warn=said.append))
    cache.put("kind", KEY, b"content")
    cache.put("kind", OTHER, b"more")
    assert (cache.get("kind", KEY), len(said)) == (b"content", 1)
    assert said[0].startswith("the shared cache is left out: ")


def test_urls_that_make_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTFACTORY_NO_CACHE", "")
    for url in ("bucket/prefix", "s3://bucket?write"):
        monkeypatch.setenv("AOTFACTORY_REMOTE_CACHE", url)
        with pytest.raises(UsageError, match="AOTFACTORY_REMOTE_CACHE is"):
            open_cache()
    monkeypatch.setenv("AOTFACTORY_REMOTE_CACHE", "nothing-like-this://a")
    with pytest.raises((UsageError, MissingError), match="nothing-like-this"):
        open_cache()
