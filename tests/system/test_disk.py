"""What only some disks have: discarded and zeroed ranges as the file has them, and the cache switch as QEMU has it."""

import os

import pytest

from pattern import pattern
from test_shell import Shell

MIB = 1 << 20
SECTOR = 512


def disk_of(vm, disk, size=8 * MIB, **properties):
    """A disk whose file gives discarded space back. Returns the file's path."""
    path = disk(size, pattern(5, 0, size))
    file = {"driver": "file", "filename": str(path), "discard": "unmap"}
    vm.blk(path, drive={"discard": "unmap", "file": file}, **properties)
    return path


def check_bytes(vm, path, start, end, what):
    """But for these bytes, the file is as it was; `what` of the range is None, or the byte that it is full of."""
    data = path.read_bytes()
    expected = pattern(5, 0, len(data))
    vm.check(data[:start] == expected[:start] and data[end:] == expected[end:], "what is beside the range was changed")
    vm.check(what is None or data[start:end] == bytes([what]) * (end - start), f"the range is not full of {what}")


@pytest.mark.parametrize("machine, packed", [("q35", False), ("microvm", True)])
def test_ranges(make_vm, disk, machine, packed):
    """Discard gives the space of the file back, write zeroes makes zeros; nothing else changes."""
    vm = make_vm(machine, app="shell")
    path = disk_of(vm, disk, packed=packed, serial="d1")
    before = os.stat(path).st_blocks
    shell = Shell(vm)
    vm.check("blk0:" not in shell("blk discard blk0 2048 4096"), "discard")
    shell("blk flush blk0")
    check_bytes(vm, path, MIB, 3 * MIB, None)
    vm.check(before - os.stat(path).st_blocks >= 4096 * 9 // 10, f"{before} blocks, {os.stat(path).st_blocks} behind the discard")
    with open(path, "rb") as file:
        hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
        vm.check((hole, os.lseek(file.fileno(), hole, os.SEEK_DATA)) == (MIB, 3 * MIB), f"a hole at {hole}")
    shell("blk fill blk0 2048 4096 5")
    check_bytes(vm, path, 0, 0, None)
    vm.check("blk0:" not in shell("blk zero blk0 8001 77"), "zero")
    check_bytes(vm, path, 8001 * SECTOR, 8078 * SECTOR, 0)
    vm.check("blk0: discard:" in shell("blk discard blk0 16384 1"), "a discard past the end")
    for command in ("erase blk0 0 8", "wear blk0", "zones blk0", "zone blk0 reset 0"):
        vm.check("blk0:" in shell(f"blk {command}"), f"{command}: is not offered")
    vm.check("usage" in shell("blk discard blk0"), "too few words")
    shell.poweroff()


def test_cache_switch(make_vm, disk):
    """QEMU's block layer is in the mode that the guest has set. Where it cannot be set, it is not."""
    vm = make_vm(app="shell")
    disk_of(vm, disk, MIB, **{"config-wce": True, "id": "first"})
    disk_of(vm, disk, MIB, **{"config-wce": False, "id": "second"})
    shell = Shell(vm)

    def modes():
        found = {info["qdev"].split("/")[-2] if info["qdev"].endswith("virtio-backend") else info["qdev"]: info["inserted"]["cache"]["writeback"]
                 for info in vm.qmp("query-block") if info.get("inserted")}
        return [found["first"], found["second"]]

    vm.check(modes() == [True, True], f"{modes()}")
    shell("blk cache blk0 off")
    vm.check(modes() == [False, True], f"{modes()}")
    shell("blk write blk0 3 text")
    shell("blk cache blk0 on")
    vm.check(modes() == [True, True], f"{modes()}")
    vm.check("blk1: cache:" in shell("blk cache blk1 off") and modes() == [True, True], "the second's cannot be switched")
    vm.check("blk0: cache:" in shell("blk cache blk0 maybe"), "neither on nor off")
    shell.poweroff()


@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm", marks=pytest.mark.full)])
def test_selftest(make_vm, disk, machine):
    """All of it by selftest, which leaves the disk as the pattern has it; without the word that allows it, nothing is tried."""
    vm = make_vm(machine, words="selftest.write=1 selftest.seed=5 selftest.bytes=1M")
    path = disk_of(vm, disk, **{"config-wce": True})
    vm.run()
    for test in ("discards", "writes zeroes", "switches its write cache"):
        vm.passed(f"blk0 {test}")
    check_bytes(vm, path, 0, 0, None)
    quiet = make_vm(machine, trace=["virtio_blk_handle_write"])
    disk_of(quiet, disk, **{"config-wce": True})
    quiet.run()
    quiet.check(not any("discards" in name or "zeroes" in name or "cache" in name for _, name, _ in quiet.tap()), "tried without being asked")
    quiet.check(not any(event.endswith("virtio_blk_handle_write") for event, _ in quiet.trace()), "something was written")
