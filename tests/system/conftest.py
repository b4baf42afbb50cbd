"""Fixtures. `make_vm(...)` makes a VM that is closed with the test, whatever happened."""

import contextlib
import json

import pytest

from vm import VM


@pytest.fixture(autouse=True)
def boots(record_property):
    """What a test booted how, and which devices worked, goes with its result, for tools/boots and tools/devices."""
    VM.boots.clear()
    VM.worked.clear()
    yield
    record_property("devices", json.dumps(VM.worked))
    for boot in VM.boots:
        record_property("boot", json.dumps(boot))


@pytest.fixture
def make_vm():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(VM(*args, **options))


@pytest.fixture
def disk(tmp_path):
    """disk(size, fill): a file of so many bytes, zeros but for `fill` at its start."""
    count = 0

    def make(size, fill=b""):
        nonlocal count
        count += 1
        path = tmp_path / f"disk{count}.img"
        with open(path, "wb") as file:
            file.truncate(size)
            file.write(fill)
        return path

    return make
