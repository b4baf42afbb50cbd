"""IOMMU: QEMU's trace shows that each device behind it works through what was mapped for it, and that nothing else is reached."""

import re

import pytest

from pattern import pattern
from product import SEED, DISK, Rig

EVENTS = ["virtio_iommu_map", "virtio_iommu_unmap", "virtio_iommu_attach", "virtio_iommu_translate_out", "virtio_iommu_report_fault"]
FIELDS = re.compile(r"(\w+)\s*=\s*(0x[0-9a-f]+|\d+)")


def values(text):
    return {name: int(value, 0) for name, value in FIELDS.findall(text)}


@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.full)], ids=["split", "packed"])
@pytest.mark.parametrize("machine", ["q35", pytest.param("pc", marks=pytest.mark.full)])
def test_isolation(make_vm, disk, tmp_path, machine, packed):
    """Four devices at work, and the IOMMU itself reset on the way."""
    rig = Rig(make_vm, disk, tmp_path, machine, "selftest.reset=1", args=("-device", f"virtio-iommu-pci,packed={'on' if packed else 'off'}"),
              iommu_platform=True, packed=packed, **{"disable-legacy": True})
    rig.vm.trace_events += EVENTS
    devices = rig.run(same_random=False, more=["iommu0"])
    for name, device in devices.items():
        rig.vm.check(int(device["negotiated"], 0) >> 33 & 1, f"{name} does not obey the platform: {device}")
    rig.vm.passed("iommu0 comes up again after each of 1 resets")
    rig.vm.passed("iommu0 isolates 4 devices")
    seen = {event: [values(text) for name, text in rig.vm.trace() if name == event] for event in EVENTS}
    rig.vm.check(len({attach["endpoint"] for attach in seen["virtio_iommu_attach"]}) == 4, "not each of four endpoints attached")
    rig.vm.check(len({attach["domain"] for attach in seen["virtio_iommu_attach"]}) == 4, "endpoints share a domain")
    rig.vm.check(len(seen["virtio_iommu_map"]) > 100 and len(seen["virtio_iommu_unmap"]) > 100, "few mappings")
    rig.vm.check(not seen["virtio_iommu_report_fault"], f"faults: {seen['virtio_iommu_report_fault'][:3]}")


def test_fault(make_vm, disk):
    """What is not mapped is refused by QEMU, reported, and told; the disk works on."""
    path = disk(DISK)
    vm = make_vm("q35", words=f"selftest.write=1 selftest.seed={SEED} selftest.iommu_fault=1", trace=EVENTS)
    vm.args += ("-device", "virtio-iommu-pci")
    vm.blk(path, iommu_platform=True, **{"disable-legacy": True})
    vm.run()
    vm.passed("iommu0 refuses what is not mapped, and tells of it")
    vm.passed("blk0 works on behind iommu0")
    vm.check(path.read_bytes() == pattern(SEED, 0, DISK), "the disk differs from the pattern")
    faults = [values(text) for name, text in vm.trace() if name == "virtio_iommu_report_fault"]
    told = vm.record("fault")
    vm.check(faults and told["mapping"] and int(told["address"], 0) in [fault.get("address", fault.get("addr")) for fault in faults],
             f"QEMU: {faults}, told: {told}")
