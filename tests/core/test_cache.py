# SPDX-License-Identifier: Apache-2.0
"""The cache: whole or absent, whoever writes, kills, flips bits or fills it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from aotfactory.core import cache as caching
from aotfactory.core.cache import Cache, key_of, open_cache
from aotfactory.core.errors import UsageError

KEYS = [key_of("test", number) for number in range(200)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def content(key: str) -> bytes:
    return random.Random(key).randbytes(3000)


def test_round_trip_and_kinds(cache: Cache) -> None:
    assert cache.get("a", KEYS[0]) is None
    cache.put("a", KEYS[0], b"one")
    cache.put_json("b", KEYS[0], {"two": [2]})
    assert (cache.get("a", KEYS[0]), cache.get_as("b", KEYS[0], dict)) == (b"one", {"two": [2]})
    assert sorted((e.kind, e.path.name) for e in cache.entries()) == [("a", KEYS[0]), ("b", KEYS[0])]
    assert cache.clean() == 2
    assert cache.get("a", KEYS[0]) is None


def test_every_flipped_bit_is_found_and_dropped(cache: Cache) -> None:
    cache.put("a", KEYS[0], b"some kernel " * 5)
    (entry,) = cache.entries()
    packed = entry.path.read_bytes()
    for position in range(len(packed)):
        entry.path.write_bytes(packed[:position] + bytes([packed[position] ^ 1]) + packed[position + 1 :])
        assert cache.get("a", KEYS[0]) is None, position
        assert not entry.path.exists()
    for length in (0, 10, 64, len(packed) - 1):
        entry.path.write_bytes(packed[:length])
        assert cache.get("a", KEYS[0]) is None


def test_verify_removes_what_is_damaged(cache: Cache) -> None:
    for key in KEYS[:3]:
        cache.put("a", key, content(key))
    damaged = next(e for e in cache.entries() if e.path.name == KEYS[1])
    damaged.path.write_bytes(b"x" * 70)
    assert cache.verify() == (2, [damaged.path])
    assert cache.verify() == (2, [])


def test_least_recently_used_goes_first(cache: Cache) -> None:
    cache.limit = 20 * 3200
    for number, key in enumerate(KEYS[:30]):
        cache.put("a", key, content(key))
        os.utime(cache._path("a", key), (number, number))
    assert cache.get("a", KEYS[0])  # used now
    assert cache.trim() > 0
    left = {entry.path.name for entry in cache.entries()}
    assert KEYS[0] in left
    assert KEYS[1] not in left
    assert KEYS[29] in left
    assert sum(entry.size for entry in cache.entries()) <= cache.limit
    assert cache.trim() == 0


def test_verifying_is_no_use(cache: Cache) -> None:
    for number, key in enumerate(KEYS[:10]):
        cache.put("a", key, content(key))
        os.utime(cache._path("a", key), (1000 - number, 1000 - number))
    assert cache.verify() == (10, [])
    cache.limit = 5 * 3200
    cache.trim()
    assert {e.path.name for e in cache.entries()} == set(KEYS[:4])


@pytest.mark.parametrize("moment", ["mkstemp", "replace"])
@pytest.mark.parametrize("how", ["clean", "remove"])
def test_cleaned_while_others_write(moment: str, how: str, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A farm at work goes on keeping what it makes; nothing is made anew the next time."""
    said: list[str] = []
    writing = Cache(cache.root, warn=said.append)
    owner = tempfile if moment == "mkstemp" else os
    done = getattr(owner, moment)

    def cleaned_before(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, moment, done)
        cache.clean() if how == "clean" else shutil.rmtree(cache.root)
        return done(*args, **options)

    writing.put("a", KEYS[0], b"one")
    monkeypatch.setattr(owner, moment, cleaned_before)
    writing.put("a", KEYS[1], b"two")
    writing.put("a", KEYS[2], b"three")
    assert [writing.get("a", key) for key in KEYS[:3]] == [None, b"two", b"three"]
    assert said == []
    assert not list(cache.root.rglob("*.tmp"))


def test_one_that_was_full_is_used_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    cache.warn = said.append
    replace = os.replace

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.put("a", KEYS[0], b"one")
    cache.put("a", KEYS[1], b"two")
    monkeypatch.setattr(os, "replace", replace)
    cache.put("a", KEYS[2], b"three")
    assert [cache.get("a", key) for key in KEYS[:3]] == [None, None, b"three"]
    assert len(said) == 1
    assert not list(cache.root.rglob("*.tmp"))


def test_temporary_files_of_killed_processes_go(cache: Cache) -> None:
    cache.put("a", KEYS[0], b"one")
    folder = cache._path("a", KEYS[0]).parent
    old, new = folder / ".12345678.old.tmp", folder / ".12345678.new.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * caching.ABANDONED,) * 2)
    cache.trim()
    assert (old.exists(), new.exists()) == (False, True)


def test_directory_is_its_owners_alone(cache: Cache) -> None:
    cache.put("a", KEYS[0], b"one")
    assert cache.root.stat().st_mode & 0o777 == 0o700
    assert cache._path("a", KEYS[0]).stat().st_mode & 0o777 == 0o600


def test_directory_that_others_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    said: list[str] = []
    cache = Cache(tmp_path / "cache", warn=said.append)
    cache.put("a", KEYS[0], b"one")
    cache.put("a", KEYS[1], b"two")
    assert cache.get("a", KEYS[0]) is None
    assert len(said) == 1
    assert "others may write to it" in said[0]


def test_what_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    cache = Cache(tmp_path / "file" / "cache", warn=said.append)
    cache.put("a", KEYS[0], b"one")
    assert cache.get("a", KEYS[0]) is None
    assert len(said) == 1


WRITER = """
import random, sys
from pathlib import Path
from aotfactory.core.cache import Cache
cache = Cache(Path(sys.argv[1]), limit=150_000)
order = sys.argv[3:]
random.Random(int(sys.argv[2])).shuffle(order)
for key in order:
    found = cache.get("a", key)
    wanted = random.Random(key).randbytes(3000)
    assert found in (None, wanted), key
    if found is None:
        cache.put("a", key, wanted)
    if key[0] == "0":
        cache.trim()
"""


def writer(root: Path, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(seed), *KEYS[:100]])


def test_many_processes_at_once(cache: Cache) -> None:
    processes = [writer(cache.root, seed) for seed in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    assert cache.verify()[1] == []


def test_killed_at_any_moment(cache: Cache) -> None:
    for seed in range(12):
        process = writer(cache.root, seed)
        time.sleep(random.Random(seed).uniform(0.03, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cache.verify()[1] == []
        assert all(cache.get("a", key) in (None, content(key)) for key in KEYS[:100])


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert open_cache() is None  # as the tests are run
    monkeypatch.setenv("AOTFACTORY_NO_CACHE", "0")
    monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path))
    monkeypatch.setenv("AOTFACTORY_CACHE_SIZE", "3M")
    opened = open_cache()
    assert opened is not None
    assert (opened.root, opened.limit) == (tmp_path, 3 * 2**20)
    monkeypatch.setenv("AOTFACTORY_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="'much'"):
        open_cache()


def test_what_others_may_write_to_is_not_used(cache: Cache, tmp_path: Path) -> None:
    warnings: list[str] = []
    cache.put("a", KEYS[0], b"one")
    for place in (cache.root, cache._path("a", KEYS[0]).parent, cache._path("a", KEYS[0])):
        mode = place.stat().st_mode
        place.chmod(0o777)
        careful = Cache(cache.root, warn=warnings.append)
        assert careful.get("a", KEYS[0]) is None
        assert "others may write to it" in warnings.pop()
        place.chmod(mode)
    assert cache.get("a", KEYS[0]) == b"one"


def test_directories_are_made_for_the_owner_alone(cache: Cache) -> None:
    before = os.umask(0)
    try:
        cache.put("a", KEYS[0], b"one")
    finally:
        os.umask(before)
    folders = [cache.root, *(Path(folder) for folder, _, _ in os.walk(cache.root))]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_entries_that_are_no_files_or_no_json(cache: Cache) -> None:
    cache.put("a", KEYS[0], b"[" * 100_000)
    cache.put("a", KEYS[1], b"\xff")
    cache.put("a", KEYS[3], b'["\\ud800"]')
    for key in (*KEYS[:2], KEYS[3]):
        assert cache.get_as("a", key, list) is None
    path = cache._path("a", KEYS[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)
    assert cache.get("a", KEYS[2]) is None


def test_a_cache_that_can_only_be_read_is_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("a", KEYS[0], b"one")

    def refuse(path: Path) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get("a", KEYS[0]) == b"one"
