"""Persistent memory: the bytes are in the file, and a flush is enough for them to stay when QEMU is killed."""

import pytest

from pattern import pattern

MIB = 1 << 20


def pmem(vm, path, size, **properties):
    node = vm.name("memory")
    vm.args += ["-object", f"memory-backend-file,id={node},share=on,mem-path={path},size={size}"]
    return vm.device("pmem", memdev=node, **properties)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_bytes(make_vm, disk, packed):
    """Written in full by the guest, and found in the file."""
    path = disk(16 * MIB)
    vm = make_vm(words="selftest.write=1 selftest.seed=21 selftest.reset=2", memory="256M,slots=2,maxmem=2G")
    pmem(vm, path, 16 * MIB, packed=packed)
    vm.run(120)
    vm.working("pmem0")
    vm.check(path.read_bytes() == pattern(21, 0, 16 * MIB), "the file differs from the pattern")


def test_kill_after_flush(make_vm, disk):
    """What was flushed is there after kill -9, and another boot reads it."""
    path = disk(4 * MIB)
    vm = make_vm(app="shell", memory="256M,slots=2,maxmem=2G")
    pmem(vm, path, 4 * MIB)
    vm.start()
    vm.expect("vireo> ")
    vm.send("blk fill pmem0 0 8192 5\n")
    vm.expect("8192 sectors of seed 5 written")
    vm.send("blk flush pmem0\n")
    vm.expect("pmem0: flushed")
    vm.process.kill()
    vm.process.wait()
    vm.check(path.read_bytes() == pattern(5, 0, 4 * MIB), "the file differs from the pattern")
