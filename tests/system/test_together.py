"""One of each: all the devices that QEMU offers in one machine, and what the guest did with each as its host sees it."""

import json
import os
import shutil

import pytest

from pattern import pattern
from product import CONSOLE, SEED, Rig
from test_crypto import crypto
from test_fs import VIRTIOFSD, Server
from tree import check_made, check_read
from vm import option

MIB = 1 << 20
# What every machine takes, and what needs one with an IOMMU's and a memory device's places.
ANYWHERE = ["9p0", "balloon0", "console1", "crypto0", "fs0", "gpu0", "input0", "input1", "input2", "scsi0"]
PC = ["iommu0", "mem0", "pmem0"]


class Together(Rig):
    """Rig's four devices and the others; those that do DMA by themselves behind the IOMMU, where there is one."""

    def __init__(self, make_vm, disk, tmp_path, machine):
        pc = machine == "q35"
        behind = {"iommu_platform": True, "disable-legacy": True} if pc else {}
        super().__init__(make_vm, disk, tmp_path, machine, words="selftest.hash=1",
                         args=["-device", "virtio-iommu-pci"] if pc else (), **behind)
        vm = self.vm
        self.names = ANYWHERE + (PC if pc else [])
        self.trees = {"9p0": tmp_path / "shared", "fs0": tmp_path / "served"}
        for name, root in self.trees.items():
            (root / "inner").mkdir(parents=True)
            for size in (0, 1, 4097, MIB + 1):
                (root / "inner" / f"{name}.{size}").write_bytes(os.urandom(size))
        Server(vm, self.trees["fs0"])
        vm.args += ["-fsdev", f"local,id=shared,path={self.trees['9p0']},security_model=none,multidevs=remap"]
        vm.device("9p", fsdev="shared", mount_tag="shared", **behind)
        self.disks = {"scsi0.0.0": disk(2 * MIB)}
        vm.device("scsi", id="scsi0", **behind)
        vm.args += ["-blockdev", json.dumps({"driver": "raw", "node-name": "unit",
                                             "file": {"driver": "file", "filename": str(self.disks["scsi0.0.0"])}}),
                    "-device", "scsi-hd,bus=scsi0.0,drive=unit"]
        crypto(vm, **behind)
        vm.port("ports", max_ports=4, vectors=10, **behind)
        self.ports = {number: vm.port_file("ports", pattern(SEED + 2 * number + 1, 0, CONSOLE), "virtconsole", nr=number) for number in (0, 2)}
        if os.path.exists("/dev/vhost-vsock"):
            self.names += ["vsock0"]
            vm.args += ["-device", "vhost-vsock-pci,guest-cid=77"]
        for kind in ("balloon", "gpu", "keyboard", "mouse", "tablet"):
            vm.device(kind, **behind)
        if pc:
            self.disks["pmem0"] = disk(2 * MIB)
            vm.memory += ",slots=2,maxmem=2G"
            vm.device("pmem", memdev=self.memory("file", "persistent", 2 * MIB, share=True, **{"mem-path": self.disks["pmem0"]}))
            vm.device("mem", memdev=self.memory("memfd", "more", 512 * MIB, share=True), **{"requested-size": 64 * MIB})

    def memory(self, kind, name, size, **properties):
        """Shared where the guest's buffers may lie, for virtiofsd maps it."""
        self.vm.args += ["-object", option(f"memory-backend-{kind}", {"id": name, "size": size, **properties})]
        return name


@pytest.mark.skipif(not VIRTIOFSD.exists(), reason="no virtiofsd here")
@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm-pcie", marks=pytest.mark.full)])
def test_one_of_each(make_vm, disk, tmp_path, machine):
    """Those that are not behind the IOMMU have to work beside it; the file server's is one of them, and interrupts by MSI-X."""
    rig = Together(make_vm, disk, tmp_path, machine)
    vm = rig.vm
    rig.run(more=rig.names)
    vm.check(all(ok for ok, _, _ in vm.tap()), "a test failed")
    for name, path in rig.disks.items():
        vm.check(path.read_bytes() == pattern(SEED, 0, path.stat().st_size), f"{name} differs from the pattern")
    for number, outgoing in rig.ports.items():
        vm.check(outgoing.read_bytes() == pattern(SEED + 2 * number, 0, CONSOLE), f"port {number} of console1 got other bytes")
    for name, root in rig.trees.items():
        check_made(vm, root)
        shutil.rmtree(root / "made")
        check_read(vm, root, name)
