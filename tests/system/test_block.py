"""Disks: what the guest wrote is in the file, what is in the file the guest reads, and errors are errors."""

import os
import zlib

import pytest

from pattern import pattern

DISK = 64 << 20
MIB = 1 << 20


def crc(vm, name="blk0"):
    """The CRC-32 that the guest recorded."""
    found = [record for record in vm.records("hash") if record["device"] == name]
    vm.check(len(found) == 1, f"hash records of {name}: {found}")
    return int(found[0]["crc32"], 0)


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_write_in_full(make_vm, disk, machine):
    """Mixed sizes, queue depths and scatter lists over the whole disk, flushed; compared byte by byte on the host."""
    path, seed = disk(DISK), int.from_bytes(os.urandom(6), "little")
    vm = make_vm(machine, words=f"selftest.write=1 selftest.seed={seed}")
    vm.blk(path)
    vm.run(120)
    vm.working("blk0")
    vm.check(path.read_bytes() == pattern(seed, 0, DISK), "the disk differs from the pattern")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_read_in_full(make_vm, disk, machine):
    """A disk made on the host hashes equal in the guest."""
    path = disk(DISK, pattern(4711, 3, DISK))
    vm = make_vm(machine, words="selftest.hash=1")
    vm.blk(path)
    vm.run(120)
    vm.check(crc(vm) == zlib.crc32(path.read_bytes()), "the guest read something else")


def test_two_disks(make_vm, disk):
    """Each has its own data, in both directions at once."""
    first, second = disk(4 * MIB), disk(3 * MIB + 512)
    vm = make_vm(words="selftest.write=1 selftest.seed=7")
    vm.blk(first)
    vm.blk(second)
    vm.run()
    vm.check(first.read_bytes() == pattern(7, 0, 4 * MIB), "the first disk differs from the pattern")
    vm.check(second.read_bytes() == pattern(7, 0, 3 * MIB + 512), "the second disk differs from the pattern")


def test_nothing_is_written_unasked(make_vm, disk):
    path = disk(2 * MIB, pattern(1, 0, 2 * MIB))
    vm = make_vm(words="selftest.hash=1")
    vm.blk(path)
    vm.run()
    vm.check(path.read_bytes() == pattern(1, 0, 2 * MIB), "the disk changed")


def test_part_of_a_disk(make_vm, disk):
    """selftest.bytes= is a bound."""
    path = disk(4 * MIB, b"\xff" * 4 * MIB)
    vm = make_vm(words="selftest.write=1 selftest.seed=2 selftest.bytes=1M")
    vm.blk(path)
    vm.run()
    vm.check(path.read_bytes() == pattern(2, 0, MIB) + b"\xff" * 3 * MIB, "not the first MiB and only that")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_read_only(make_vm, disk, machine):
    path = disk(2 * MIB, pattern(1, 5, 2 * MIB))
    vm = make_vm(machine, words="selftest.write=1 selftest.hash=1")
    vm.blk(path, read_only=True)
    vm.run()
    vm.passed("blk0 is read-only and refuses a write")
    vm.passed("blk0 works on after refusals")
    vm.check(crc(vm) == zlib.crc32(pattern(1, 5, 2 * MIB)), "the guest read something else")
    vm.check(path.read_bytes() == pattern(1, 5, 2 * MIB), "the disk changed")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_past_the_end(make_vm, disk, machine):
    vm = make_vm(machine)
    vm.blk(disk(MIB + 512))
    vm.run()
    for what in ("past the end", "across the end", "at the end of all numbers"):
        vm.passed(f"blk0 refuses a read {what}")
    vm.passed("blk0 works on after refusals")


@pytest.mark.parametrize("size", [512, 1024, 4096, MIB - 512, MIB, MIB + 512, 5 * MIB + 1536])
def test_sizes(make_vm, disk, size):
    """From one sector up, on both sides of what the tests read at once."""
    path = disk(size)
    vm = make_vm(words="selftest.write=1 selftest.seed=3 selftest.hash=1")
    vm.blk(path)
    vm.run()
    vm.check(path.read_bytes() == pattern(3, 0, size), "the disk differs from the pattern")
    vm.check(crc(vm) == zlib.crc32(pattern(3, 0, size)), "the guest read something else")


def test_huge(make_vm, disk):
    """A capacity beyond 32 bits of sectors; a sparse file costs nothing."""
    path = disk(8 << 40)
    vm = make_vm(words="selftest.write=1 selftest.bytes=1M selftest.seed=9")
    vm.blk(path)
    vm.run()
    with open(path, "rb") as file:
        vm.check(file.read(MIB) == pattern(9, 0, MIB), "the disk differs from the pattern")


@pytest.mark.parametrize("properties", [
    {"queue-size": 4},
    {"queue-size": 8, "seg-max-adjust": False},
    {"queue-size": 16, "seg-max-adjust": True},
    {"queue-size": 16, "indirect_desc": False},
    {"queue-size": 1024},
    {"logical_block_size": 4096, "physical_block_size": 4096},
    {"num-queues": 2},
    {"write-cache": "off"},
    {"config-wce": False},
    {"discard": False},
    {"scsi": False},
], ids=lambda properties: "+".join(properties))
@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm", marks=pytest.mark.full)])
def test_variants(make_vm, disk, machine, properties):
    """What a device may offer or limit."""
    path = disk(2 * MIB)
    vm = make_vm(machine, words="selftest.write=1 selftest.seed=5")
    vm.blk(path, **properties)
    vm.run()
    vm.working("blk0")
    vm.check(path.read_bytes() == pattern(5, 0, 2 * MIB), "the disk differs from the pattern")


def test_identity(make_vm, disk):
    vm = make_vm()
    vm.blk(disk(MIB), serial="vireo-0123456789abcd")  # all 20 bytes: no NUL behind it
    vm.blk(disk(MIB), serial="short")
    vm.run()
    vm.check({record["device"]: record["id"] for record in vm.records("id")} == {"blk0": "vireo-0123456789abcd", "blk1": "short"},
             f"{vm.records('id')}")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_read_errors(make_vm, disk, machine):
    """QEMU fails a read of each of ten sectors, once; the guest reads 100."""
    rules = [{"event": "none", "iotype": "read", "errno": 5, "once": True, "sector": 7 * i + 3} for i in range(10)]
    vm = make_vm(machine, words="selftest.errors=100")
    vm.blk(disk(MIB), blkdebug=rules)
    vm.run()
    vm.working("blk0")
    told = vm.record("errors")
    vm.check(told["errors"] == 10 and told["repeated"] == 0 and told["requests"] == 100, f"{told}")


def test_lasting_errors(make_vm, disk):
    """A sector that stays bad, and one behind it that works."""
    vm = make_vm(words="selftest.errors=10")
    vm.blk(disk(MIB), blkdebug=[{"event": "none", "iotype": "read", "errno": 5, "sector": 4},
                                {"event": "none", "iotype": "read", "errno": 5, "once": True, "sector": 6}])
    vm.run()
    told = vm.record("errors")
    vm.check(told["errors"] == 2 and told["repeated"] == 1, f"{told}")


@pytest.mark.parametrize("iotype", ["write", "flush"])
def test_write_and_flush_errors(make_vm, disk, iotype):
    """An injected error fails the test that meets it (so the guest saw it), and only that."""
    vm = make_vm(words="selftest.write=1 selftest.seed=6")
    rule = {"event": "none", "iotype": iotype, "errno": 5, "once": True}
    vm.blk(disk(MIB), blkdebug=[dict(rule, sector=999) if iotype == "write" else rule], werror="report")
    vm.run(status=35)
    failed = [name for ok, name, _ in vm.tap() if not ok]
    if iotype == "flush":
        vm.check(failed == ["blk0 flushes"], f"failed: {failed}")
    else:
        vm.check(failed and all("writes" in name for name in failed), f"failed: {failed}")
    vm.check(vm.record("end")["failed"] == len(failed), "the end record counts otherwise")


def test_resets(make_vm, disk):
    """Reset and brought up ten times, then tested in full."""
    path = disk(MIB)
    vm = make_vm(words="selftest.reset=10 selftest.write=1 selftest.seed=8")
    vm.blk(path)
    vm.net_user()
    vm.rng()
    vm.null_console()
    vm.run()
    vm.check(path.read_bytes() == pattern(8, 0, MIB), "the disk differs from the pattern")


@pytest.mark.parametrize("queues", [2, 1])
def test_shared_queues(make_vm, disk, queues):
    """More CPUs than queues: some hand their requests to another CPU, and get them back."""
    vm = make_vm(words="selftest.write=1", cpus="4")
    vm.blk(disk(8 << 20), **{"num-queues": queues})
    vm.run()
    vm.check(len(vm.devices()["blk0"]["queues"]) == queues, f"{vm.devices()['blk0']}")
    vm.passed("blk0 writes for 4 CPUs at once")
