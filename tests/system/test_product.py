"""The full product: {transports} x {layouts} x {EVENT_IDX} x {INDIRECT_DESC} x {kinds of interrupts} on each machine, with all four
devices at work in one boot. Also what stands beside it: an IOMMU platform, queue sizes, IN_ORDER.

By default a selection runs in which any three values meet that can; `make test-full` runs all."""

import subprocess

import pytest

from product import (ACCESS_PLATFORM, ANY_LAYOUT, DISK, EVENT_IDX, FRAMES, IN_ORDER, INDIRECT_DESC, RING_PACKED, RING_RESET, SEED,
                     VERSION_1, Rig, combinations, reserved, selection)
from pattern import pattern
from test_net import Echo
from vm import QEMU

ALL = combinations()
CHOSEN = selection(ALL)
MODERN = {INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_RESET}


@pytest.fixture
def rig(make_vm, disk, tmp_path):
    return lambda *args, **options: Rig(make_vm, disk, tmp_path, *args, **options)


@pytest.mark.parametrize("one", [pytest.param(one, id=str(one), marks=[] if one in CHOSEN else pytest.mark.full) for one in ALL])
def test_product(rig, one):
    what = rig(one.machine, one.words(), mmio_version=1 if one.bus == "mmio-1" else 2, **one.properties())
    for name, device in what.run().items():
        offered, negotiated = reserved(device["offered"]), reserved(device["negotiated"])
        known = {INDIRECT_DESC, EVENT_IDX, RING_PACKED, VERSION_1}
        what.vm.check(offered & known == one.offered(), f"QEMU's offer for {name}: {sorted(offered)}")
        what.vm.check(negotiated == one.negotiated(offered), f"{name} negotiated {sorted(negotiated)}")
        what.vm.check(not int(device["negotiated"], 0) & ~int(device["offered"], 0), f"accepted what was not offered: {device}")
        what.vm.check(device["transport"] == ("mmio" if one.mmio else "pci"), f"transport of {device}")
        what.vm.check(device["revision"] == ("1.x" if one.modern else "legacy"), f"revision of {device}")
        what.vm.check(device["irq"] == one.irq, f"interrupts of {device}")
        what.vm.check({queue["layout"] for queue in device["queues"]} == {one.layout}, f"layout of {device}")


# ---- beside it ----

@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("machine, args, properties", [
    ("q35", ["-device", "intel-iommu"], {"disable-legacy": True}),
    ("pc", [], {"disable-legacy": True}),
    ("microvm", [], {}),
], ids=["q35-intel-iommu", "pc", "microvm"])
def test_iommu_platform(rig, machine, args, properties, packed):
    """The device's addresses are the platform's: as long as nobody sets an IOMMU up, the memory's own."""
    what = rig(machine, args=args, iommu_platform=True, packed=packed, **properties)
    for name, device in what.run().items():
        want = MODERN | {ACCESS_PLATFORM} | ({RING_PACKED} if packed else set())
        what.vm.check(reserved(device["negotiated"]) == want, f"{name}: {device}")


@pytest.mark.parametrize("machine, packed", [("q35", False), ("microvm", True)])
def test_no_queue_reset(rig, machine, packed):
    """Without RING_RESET: a device of the time before 1.2."""
    what = rig(machine, queue_reset=False, packed=packed)
    for name, device in what.run().items():
        want = MODERN - {RING_RESET} | ({RING_PACKED} if packed else set())
        what.vm.check(reserved(device["negotiated"]) == want, f"{name}: {device}")


def test_packed_legacy(rig):
    """What lies beyond the 32 bits of the legacy interface is not there, whatever the device could do."""
    what = rig("q35", "virtio.transport=pci-legacy", packed=True)
    for name, device in what.run().items():
        want = {INDIRECT_DESC, EVENT_IDX} | ({ANY_LAYOUT} & reserved(device["offered"]))
        what.vm.check(reserved(device["negotiated"]) == want and device["queues"][0]["layout"] == "split", f"{name}: {device}")


def has_property(device, name):
    told = subprocess.run([QEMU, "-device", f"{device},help"], capture_output=True, text=True, timeout=30, check=False)
    return f" {name}=" in told.stdout


@pytest.mark.parametrize("machine", ["q35", "microvm"])
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_in_order(rig, machine, packed):
    """The device uses what it was given in order, and may tell of many buffers at once."""
    if not has_property("virtio-blk-pci", "in_order"):
        pytest.skip("this QEMU has no in_order=on: 9.2 or later has")
    what = rig(machine, in_order=True, packed=packed)
    for name, device in what.run().items():
        want = MODERN | {IN_ORDER} | ({RING_PACKED} if packed else set())
        what.vm.check(reserved(device["negotiated"]) == want, f"{name}: {device}")


BLK_SIZES = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
NET_SIZES = [(256, 256), (512, 512), (1024, 1024)]
DRIVERS_BEST = 256  # entries: what the drivers of disks and network cards have use for, where they may choose


@pytest.mark.parametrize("properties, legacy", [({}, False), ({"packed": True}, False), ({"disable-modern": True}, True)],
                         ids=["split", "packed", "legacy"])
def test_queue_sizes(make_vm, disk, properties, legacy):
    """From the smallest to the largest that QEMU takes, each on a disk or card of its own, in one boot. (QEMU's virtio-mmio offers
    1024 entries whatever the option says.)"""
    vm = make_vm(words=f"selftest.write=1 selftest.seed={SEED} selftest.net=echo selftest.frames={FRAMES}")
    disks = [disk(DISK) for _ in BLK_SIZES]
    for size, path in zip(BLK_SIZES, disks):
        vm.blk(path, **{"queue-size": size}, **properties)
    hosts = [Echo(vm.net_socket(queued="packed" in properties, rx_queue_size=rx, tx_queue_size=tx, **properties), SEED)
             for rx, tx in NET_SIZES]
    vm.run(120)
    devices = vm.working(*[f"blk{i}" for i in range(len(BLK_SIZES))], *[f"net{i}" for i in range(len(NET_SIZES))])
    for i, size in enumerate(BLK_SIZES):
        told = devices[f"blk{i}"]["queues"][0]["size"]
        vm.check(told == (size if legacy else min(size, DRIVERS_BEST)), f"queue-size={size}: {told}")
    for path in disks:
        vm.check(path.read_bytes() == pattern(SEED, 0, DISK), f"{path} differs from the pattern")
    for host in hosts:
        host.finish()
        vm.check(not host.wrong and host.numbers == set(range(FRAMES)), f"{len(host.numbers)} frames, {host.wrong[:5]}")
