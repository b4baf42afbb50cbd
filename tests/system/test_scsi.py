"""SCSI hosts: disks and discs by target and unit, their bytes in the files, units that come, go and grow while the guest runs."""

import json
import zlib

import pytest

from pattern import pattern

MIB = 1 << 20
WAYS = {"pci-split": ("q35", {}), "pci-packed": ("q35", {"packed": True}), "mmio-split": ("microvm", {}),
        "mmio-packed": ("microvm", {"packed": True}), "pci-legacy": ("pc", {"disable-modern": True})}


def host(make_vm, way, app="selftest", words="", **properties):
    machine, more = WAYS[way]
    vm = make_vm(machine, app=app, words=words)
    return vm.device("scsi", id="scsi0", **more, **properties)


def unit(vm, path, target, lun, kind="hd", **properties):
    """A disk or a disc of that address; `path` None: no medium."""
    if path:
        node = vm.name("disk")
        spec = {"driver": "raw", "node-name": node, "read-only": kind == "cd", "file": {"driver": "file", "filename": str(path),
                                                                                        "read-only": kind == "cd"}}
        vm.args += ["-blockdev", json.dumps(spec)]
        properties["drive"] = node
    rest = "".join(f",{key}={value}" for key, value in properties.items())
    vm.args += ["-device", f"scsi-{kind},bus=scsi0.0,scsi-id={target},lun={lun}{rest}"]


def crcs(vm):
    return {record["device"]: int(record["crc32"], 0) for record in vm.records("hash")}


@pytest.mark.parametrize("way", ["pci-packed", "mmio-split"])
def test_units(make_vm, disk, way):
    """Disks on several targets and units, written in full; a disc that is read; each file has its own bytes."""
    vm = host(make_vm, way, words="selftest.write=1 selftest.hash=1 selftest.seed=11")
    paths = {"0.0": disk(3 * MIB), "0.5": disk(2 * MIB), "200.0": disk(MIB + 512)}
    disc = disk(MIB, pattern(5, 0, MIB))
    for name, path in paths.items():
        unit(vm, path, *name.split("."))
    unit(vm, disc, 3, 0, "cd")
    unit(vm, None, 4, 0, "cd")
    vm.run(120)
    vm.working("scsi0")
    for name, path in paths.items():
        size = path.stat().st_size
        vm.check(path.read_bytes() == pattern(11, 0, size), f"the disk {name} differs from the pattern")
    vm.passed(r"scsi0\.3\.0 is read-only and refuses a write")
    found = crcs(vm)
    vm.check(sorted(found) == ["scsi0.0.0", "scsi0.0.5", "scsi0.200.0", "scsi0.3.0"], f"{found}")
    vm.check(found["scsi0.3.0"] == zlib.crc32(pattern(5, 0, MIB)), "the guest read another disc")


@pytest.mark.full
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("properties", [{}, {"virtqueue_size": 8}, {"max_sectors": 128}, {"indirect_desc": False}],
                         ids=lambda properties: "+".join(properties) or "plain")
def test_every_way(make_vm, disk, way, properties):
    vm = host(make_vm, way, words="selftest.write=1 selftest.reset=3 selftest.seed=12", **properties)
    path = disk(2 * MIB)
    unit(vm, path, 1, 2, serial="12-34")
    vm.run(120)
    vm.check(path.read_bytes() == pattern(12, 0, 2 * MIB), "the disk differs from the pattern")
    vm.check({record["device"]: record["id"] for record in vm.records("id")} == {"scsi0.1.2": "12-34"}, f"{vm.records('id')}")


def test_huge(make_vm, disk):
    """Beyond what commands of ten bytes reach; a sparse file costs nothing."""
    path = disk(8 << 40)
    vm = host(make_vm, "pci-split", app="shell")
    unit(vm, path, 0, 0, logical_block_size=512, physical_block_size=4096)
    vm.start()
    vm.expect("vireo> ")
    sector = (7 << 40) // 512
    vm.send(f"blk fill scsi0.0.0 {sector} 64 7\n")
    vm.expect(f"64 sectors of seed 7 written at sector {sector}")
    with open(path, "rb") as file:
        file.seek(sector * 512)
        vm.check(file.read(64 * 512) == pattern(7, sector * 512, 64 * 512), "other bytes")


def test_units_come_and_go(make_vm, disk):
    """device_add, device_del and block_resize while the guest runs."""
    vm = host(make_vm, "pci-split", app="shell")
    first, second = disk(MIB, pattern(3, 0, MIB)), disk(2 * MIB)
    unit(vm, first, 0, 0)
    vm.start()
    vm.expect("vireo> ")
    vm.qmp("blockdev-add", **{"driver": "raw", "node-name": "more", "file": {"driver": "file", "filename": str(second)}})
    vm.qmp("device_add", driver="scsi-hd", bus="scsi0.0", id="unit", drive="more", **{"scsi-id": 9, "lun": 1})
    vm.expect(r"scsi0\.9\.1: disk, 4096 sectors")
    vm.send("blk fill scsi0.9.1 0 4096 8\n")
    vm.expect("4096 sectors of seed 8 written")
    vm.send("blk flush scsi0.9.1\n")
    vm.expect("flushed")
    vm.check(second.read_bytes() == pattern(8, 0, 2 * MIB), "the new disk differs from the pattern")
    vm.qmp("block_resize", **{"node-name": "more", "size": 3 * MIB})
    vm.expect(r"scsi0\.9\.1: disk, 6144 sectors")
    vm.qmp("device_del", id="unit")
    vm.expect(r"scsi0\.9\.1: gone")
    vm.send("blk read scsi0.9.1 0\n")
    vm.expect("no such device|No such device")
    vm.send("blk hash scsi0.0.0\n")
    told = vm.expect(r"crc32 0x([0-9a-f]{8})")
    vm.check(int(told[1], 16) == zlib.crc32(pattern(3, 0, MIB)), "the first disk is another one")


def test_errors(make_vm, disk):
    """Sense data: QEMU fails reads of ten sectors once (MEDIUM ERROR: ENODATA is), the guest tells each."""
    path, vm = disk(MIB), host(make_vm, "mmio-packed", words="selftest.errors=100")
    rules = [{"event": "none", "iotype": "read", "errno": 61, "once": True, "sector": 7 * i + 3} for i in range(10)]
    spec = {"driver": "raw", "node-name": "bad", "file": {"driver": "blkdebug", "inject-error": rules,
                                                          "image": {"driver": "file", "filename": str(path)}}}
    vm.args += ["-blockdev", json.dumps(spec), "-device", "scsi-hd,bus=scsi0.0,drive=bad,rerror=report"]
    vm.run()
    told = vm.record("errors")
    vm.check(told["errors"] == 10 and told["repeated"] == 0 and told["requests"] == 100, f"{told}")
