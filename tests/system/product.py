"""All four devices at once on real data, and every combination of how they may be driven."""

import itertools
import os
import zlib

from pattern import pattern
from test_net import Echo

SEED = 5
DISK, FRAMES, CONSOLE, RANDOM = 256 << 10, 200, 8000, 16 << 10
DEVICES = ["blk0", "net0", "rng0", "console0"]

# Feature bits 24 and up are everybody's ("Reserved Feature Bits").
NOTIFY_ON_EMPTY, ANY_LAYOUT, INDIRECT_DESC, EVENT_IDX, VERSION_1 = 24, 27, 28, 29, 32
ACCESS_PLATFORM, RING_PACKED, IN_ORDER, RING_RESET = 33, 34, 35, 40


class Rig:
    """A VM with the four devices, and a host that works with each: what it sees is compared with what the guest claims."""

    def __init__(self, make_vm, disk, tmp_path, machine, words="", mmio_version=2, args=(), net=None, blk=None, **properties):
        self.vm = vm = make_vm(machine, mmio_version=mmio_version, words=(
            f"selftest.write=1 selftest.seed={SEED} selftest.net=echo selftest.frames={FRAMES} selftest.console={CONSOLE} "
            f"selftest.rng_bytes={RANDOM} {words}").strip())
        vm.args += args
        self.source = tmp_path / "source"
        self.source.write_bytes(os.urandom(8 * RANDOM))
        self.disk = disk(DISK)
        vm.blk(self.disk, **properties, **(blk or {}))
        wire = vm.net_socket(queued=properties.get("packed", False), **properties, **(net or {}))
        vm.rng(self.source, **properties)
        self.outgoing = vm.console_file(pattern(SEED + 1, 0, CONSOLE), **properties)
        self.host = Echo(wire, SEED)

    def run(self, same_random=True, more=()):
        """Boot, let it do its work, and see that all of it was done. `same_random`: the guest's bytes are the source's first ones,
        which they are unless a reset lost some on the way. `more`: what other devices are there."""
        vm = self.vm
        vm.run(90)
        self.host.finish()
        vm.check(self.disk.read_bytes() == pattern(SEED, 0, DISK), "the disk differs from the pattern")
        vm.check(not self.host.wrong, f"the host got wrong frames: {self.host.wrong[:5]}")
        vm.check(self.host.numbers == set(range(FRAMES)), f"the host got {len(self.host.numbers)} of {FRAMES} frames")
        vm.check(vm.record("echo")["returned"] == FRAMES, f"{vm.record('echo')}")
        vm.check(self.outgoing.read_bytes() == pattern(SEED, 0, CONSOLE), "the host's end of the console got other bytes")
        vm.passed(f"console0 reads {CONSOLE} bytes of the pattern")
        vm.passed("rng0 gives bytes that are not alike")
        if same_random:
            crc = zlib.crc32(self.source.read_bytes()[:RANDOM])
            vm.check(int(vm.record("rng")["crc32"], 0) == crc, "random bytes of some other source")
        return {name: device for name, device in vm.working(*DEVICES, *more).items() if name in DEVICES}


def reserved(features):
    """The names would be nicer; the numbers are what the specification has, too."""
    return {bit for bit in range(24, 64) if int(features, 0) >> bit & 1}


# ---- the product ----

AXES = {
    "bus": ["pci", "pci-transitional", "pci-legacy", "mmio-1", "mmio-2"],
    "machine": ["q35", "pc", "microvm", "microvm-acpi"],
    "layout": ["split", "packed"],
    "event_idx": [True, False],
    "indirect": [True, False],
    "irq": ["msix", "intx", "poll"],
    "by": ["device", "driver"],  # who leaves out what is left out: QEMU's options, or words on the kernel's command line
}


class Combination:
    def __init__(self, values):
        self.values = values
        self.__dict__.update(zip(AXES, values))
        self.mmio = self.bus.startswith("mmio")
        self.modern = self.bus in ("pci", "mmio-2")

    def __str__(self):
        return "-".join([self.bus, self.machine, self.layout, "event" if self.event_idx else "noevent",
                         "indirect" if self.indirect else "noindirect", self.irq, self.by])

    def exists(self):
        if self.mmio != self.machine.startswith("microvm"):
            return False
        if self.layout == "packed" and not self.modern or self.mmio and self.irq == "msix":
            return False
        left_out = not self.event_idx or not self.indirect or self.irq == "intx" and not self.mmio or \
            self.modern and self.layout == "split"
        return left_out or self.by == "device"

    def properties(self):
        """The options of all devices."""
        by_device = self.by == "device"
        chosen = {
            "disable-legacy": True if self.bus == "pci" else None,
            "disable-modern": True if self.bus == "pci-legacy" else None,
            "packed": self.modern and not (by_device and self.layout == "split"),
            "event_idx": self.event_idx or not by_device,
            "indirect_desc": self.indirect or not by_device,
            "vectors": 0 if by_device and self.irq == "intx" and not self.mmio else None,
        }
        return {key: value for key, value in chosen.items() if value is not None}

    def words(self):
        without = [str(bit) for bit, on in ((INDIRECT_DESC, self.indirect), (EVENT_IDX, self.event_idx)) if not on]
        words = [f"virtio.irq={self.irq}"] if self.by == "driver" or self.irq == "poll" else []
        if self.bus == "pci-transitional":
            words.append("virtio.transport=pci-legacy")
        if self.by == "driver":
            words += [f"virtio.queue={self.layout}"] if self.modern else []
            words += [f"virtio.without={','.join(without)}"] if without else []
        return " ".join(words)

    def negotiated(self, offered):
        """The reserved bits that should be."""
        bits = {INDIRECT_DESC: self.indirect, EVENT_IDX: self.event_idx, VERSION_1: self.modern, RING_RESET: self.modern,
                RING_PACKED: self.layout == "packed", ANY_LAYOUT: not self.modern and ANY_LAYOUT in offered}
        return {bit for bit, on in bits.items() if on}

    def offered(self):
        """The reserved bits that QEMU's options decide."""
        properties = self.properties()
        bits = {INDIRECT_DESC: properties["indirect_desc"], EVENT_IDX: properties["event_idx"],
                RING_PACKED: properties["packed"], VERSION_1: self.modern}
        return {bit for bit, on in bits.items() if on}


def combinations():
    return [found for found in map(Combination, itertools.product(*AXES.values())) if found.exists()]


def selection(everything, together=3):
    """So few of them that any values of so many axes that occur together do so in one: greedily, the one that adds most first."""
    groups = list(itertools.combinations(range(len(AXES)), together))
    has = {one: {(group, tuple(one.values[axis] for axis in group)) for group in groups} for one in everything}
    left, chosen = set().union(*has.values()), set()
    while left:
        best = max(everything, key=lambda one: len(has[one] & left))
        chosen.add(best)
        left -= has[best]
    return chosen
