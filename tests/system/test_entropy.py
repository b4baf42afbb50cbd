"""Random bytes: all that were asked for, from the source that the host gave, different each time."""

import zlib

import pytest

from pattern import pattern

MIB = 1 << 20


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_mebibyte(make_vm, machine):
    """1 MiB, not all alike; another boot gets other bytes."""
    seen = []
    for _ in range(2):
        vm = make_vm(machine, words=f"selftest.rng_bytes={MIB}")
        vm.rng()
        vm.run()
        vm.passed("rng0 gives bytes that are not alike")
        told = vm.record("rng")
        vm.check(told["bytes"] == MIB, f"{told}")
        seen.append(told["crc32"])
    assert seen[0] != seen[1]


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_bytes_of_the_source(make_vm, tmp_path, machine):
    """The guest gets what the host's source gives, and nothing else: here a file that the test knows."""
    source = tmp_path / "source"
    source.write_bytes(pattern(99, 0, 4 * MIB))
    vm = make_vm(machine, words=f"selftest.rng_bytes={MIB}")
    vm.rng(source)
    vm.run()
    vm.check(int(vm.record("rng")["crc32"], 0) == zlib.crc32(pattern(99, 0, MIB)), "other bytes")


def test_slow_source(make_vm):
    """A source that gives 1024 bytes in 200 ms: short answers, waited for."""
    vm = make_vm(words="selftest.rng_bytes=5000")
    vm.rng(**{"max-bytes": 1024, "period": 200})
    vm.run()
    vm.check(vm.record("rng")["bytes"] == 5000, "not all bytes")
