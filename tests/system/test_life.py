"""The lives of a device: reset and brought up again, taken from its driver and given back, its queues reset under load."""

import re

import pytest

from pattern import pattern
from product import Rig

MIB = 1 << 20

# Each transport with each layout that it has: the machine, the words, version of virtio-mmio, options of the devices
WAYS = {
    "pci-split": ("q35", "", 2, {"disable-legacy": True}),
    "pci-packed": ("q35", "", 2, {"disable-legacy": True, "packed": True}),
    "pci-transitional": ("pc", "virtio.transport=pci-legacy", 2, {}),
    "pci-legacy": ("q35", "", 2, {"disable-modern": True}),
    "pci-intx": ("pc", "", 2, {"vectors": 0}),
    "pci-poll": ("q35", "virtio.irq=poll", 2, {"packed": True}),
    "mmio-1": ("microvm", "", 1, {}),
    "mmio-2-split": ("microvm", "", 2, {}),
    "mmio-2-packed": ("microvm-acpi", "", 2, {"packed": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_resets(make_vm, disk, tmp_path, way):
    """Each device reset in full 20 times, and then at work as after boot."""
    machine, words, version, properties = WAYS[way]
    rig = Rig(make_vm, disk, tmp_path, machine, f"selftest.reset=20 {words}", mmio_version=version, **properties)
    devices = rig.run(same_random=False)
    for name in devices:
        rig.vm.passed(f"{name} comes up again after each of 20 resets")
        again = len(rig.vm.warnings(f"{name}: reset, works again"))
        rig.vm.check(again == 20, f"{name} works again {again} times")


def rebind(vm, path, times, **properties):
    """Every device taken and given back so many times, with an operation each time. The selftest counts free pages."""
    vm.blk(path, **properties)
    vm.net_user(**properties)
    vm.rng(**properties)
    vm.null_console(**properties)
    vm.run(300)
    for name in vm.working("blk0", "net0", "rng0", "console0"):
        vm.passed(rf"{name} works after each of {times} times of remove and probe")


@pytest.mark.parametrize("machine, properties", [
    pytest.param("q35", {}, id="q35-split"),
    pytest.param("microvm", {"packed": True}, id="microvm-packed", marks=pytest.mark.full),
])
def test_rebind_1000(make_vm, disk, machine, properties):
    rebind(make_vm(machine, words="selftest.rebind=1000"), disk(MIB), 1000, **properties)


@pytest.mark.parametrize("way", WAYS)
def test_rebind(make_vm, disk, way):
    machine, words, version, properties = WAYS[way]
    rebind(make_vm(machine, words=f"selftest.rebind=20 {words}", mmio_version=version), disk(MIB), 20, **properties)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("irq", ["msix", "intx", "poll"])
def test_queue_resets(make_vm, disk, irq, packed):
    """200 resets of a queue with 32 requests in flight: each of those ends once, with the right data, none of them in an error.

    The requests are for the disk's id, all 20 bytes of it, since QEMU answers them at once. A read may still be under way in its
    block layer, where a queue reset of QEMU's does not look: it then ends in a queue that does not know it, and what follows is
    anything from DEVICE_NEEDS_RESET to a QEMU that hangs."""
    vm = make_vm(words=f"selftest.queue_resets=200 selftest.queue_load=id virtio.irq={irq}")
    vm.blk(disk(MIB), serial="vireo-0123456789abcd", queue_reset=True, packed=packed)
    vm.run(120)
    device = vm.working("blk0")["blk0"]
    vm.check(device["irq"] == irq and int(device["negotiated"], 0) >> 40 & 1, f"{device}")
    vm.passed("blk0: 200 queue resets under load lose and repeat no request")
    told = vm.record("queue-resets")
    vm.check(told["resets"] == 200 and told["requests"] > 200 and told["failed"] == 0, f"{told}")
    vm.check(not vm.warnings("blk0.*reset"), f"{vm.warnings('blk0.*reset')}")


def test_no_queue_resets(make_vm, disk):
    """Not offered, not done: a skipped test and nothing else."""
    vm = make_vm(words="selftest.queue_resets=200")
    vm.blk(disk(MIB), queue_reset=False)
    vm.run()
    skipped = [name for ok, name, directive in vm.tap() if directive and "queue resets" in name]
    vm.check(len(skipped) == 1 and vm.record("end")["skipped"] == 1, f"skipped: {skipped}")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_broken_promise(make_vm, disk, packed):
    """QEMU's virtio-mmio offers RING_RESET and does not do it (7.2): the queue is still ready. So the device is reset in full; what
    was in flight has ended once, in an error, and a disk that comes next to it is tested as ever. A QEMU that keeps its promise
    passes, too."""
    vm = make_vm("microvm", words="selftest.queue_resets=3 selftest.write=1 selftest.seed=3")
    path = disk(MIB)
    vm.blk(path, serial="vireo-0123456789abcd", packed=packed)
    vm.start()
    vm.wait()
    told = vm.record("queue-resets")
    vm.check(told["requests"] >= 32, f"{told}")
    if told["resets"] == 0:
        vm.check(told["failed"] == 32, f"{told}")
        vm.check(len(vm.warnings("blk0: queue requestq1 cannot be reset: reset")) == 1, "no line that says why")
        vm.check(len(vm.warnings("blk0: reset, works again")) == 1, "no line that it works again")
        failed = [name for ok, name, _ in vm.tap() if not ok]
        vm.check(len(failed) == 1 and re.search("queue resets", failed[0]), f"failed: {failed}")
    vm.check(path.read_bytes() == pattern(3, 0, MIB), "the disk differs from the pattern")
