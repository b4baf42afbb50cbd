"""Firmware, memory, CPUs, machines without legacy parts, PCI trees."""

import pytest


def equip(vm, disk, **properties):
    """blk, net, rng and console."""
    vm.blk(disk(1 << 20), **properties)
    vm.net_user(**properties)
    vm.rng(**properties)
    return vm.null_console(**properties)


def equipped(vm):
    vm.run()
    vm.working("blk0", "net0", "rng0", "console0")


@pytest.mark.parametrize("machine, bios", [("q35", "bios-256k.bin"), ("pc", "bios-256k.bin"), ("pc", "bios.bin"),
                                           ("microvm", "bios-microvm.bin"), ("microvm-acpi", "bios-microvm.bin")])
def test_seabios(make_vm, disk, machine, bios):
    equipped(equip(make_vm(machine, bios=bios), disk))


@pytest.mark.parametrize("machine", ["microvm", "microvm-acpi"])
def test_qboot(make_vm, disk, machine):
    equipped(equip(make_vm(machine, bios="qboot.rom"), disk))


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_qboot_pci(make_vm, disk, machine):
    """qboot assigns no BARs: a device is driven or refused with a reason, and the rest works."""
    vm = equip(make_vm(machine, bios="qboot.rom"), disk).run()
    devices = vm.devices()
    vm.check(len(devices) == 4, f"devices {sorted(devices)}")
    for device in devices.values():
        vm.check(device["state"] == "ok" or device["state"] == "refused" and device["reason"], f"device {device}")


@pytest.mark.parametrize("memory", ["64M", "1G", "6G"])
@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
def test_memory(make_vm, disk, machine, memory):
    """6 GiB lie on both sides of the hole below 4 GiB; QEMU maps them lazily, so that the host need not have them."""
    vm = equip(make_vm(machine, memory=memory), disk)
    equipped(vm)
    size = int(memory[:-1]) << {"M": 20, "G": 30}[memory[-1]]
    boot = vm.record("boot")
    vm.check(size - (4 << 20) <= boot["memory"] <= size, f"memory of {boot}")


@pytest.mark.parametrize("cpu", ["qemu64", "max", "qemu64,-x2apic", "max,-x2apic", "max,-tsc-deadline", "max,-invtsc,-kvmclock",
                                 "qemu64,-nx", "Nehalem", "EPYC"])
def test_cpu(make_vm, disk, cpu):
    equipped(equip(make_vm("q35", cpu=cpu), disk))


@pytest.mark.parametrize("cpu", ["qemu64", "max"])
@pytest.mark.parametrize("options", ["pit=off", "pic=off", "rtc=off", "pit=off,rtc=off", "pit=off,pic=off,rtc=off",
                                     "pit=off,pic=off,rtc=off,ioapic2=off"])
def test_microvm_without_legacy_parts(make_vm, disk, options, cpu):
    equipped(equip(make_vm("microvm", machine_options=options, cpu=cpu), disk))


def test_many_cpus(make_vm, disk):
    vm = equip(make_vm("q35", cpus="2"), disk)
    equipped(vm)
    vm.check(vm.record("boot")["cpus"] >= 1, "CPUs")


# ---- PCI trees ----

def bridge(vm, kind, name, **properties):
    vm.args += ["-device", ",".join([kind, f"id={name}", *[f"{key}={value}" for key, value in properties.items()]])]
    return name


def test_root_ports(make_vm, disk):
    """One device behind each port: modern only, as behind every port."""
    vm = make_vm("q35")
    buses = [bridge(vm, "pcie-root-port", f"port{i}", chassis=i, slot=i) for i in range(4)]
    vm.blk(disk(1 << 20), bus=buses[0])
    vm.net_user(bus=buses[1])
    vm.rng(bus=buses[2])
    vm.null_console(bus=buses[3])
    equipped(vm)
    addresses = [device["address"] for device in vm.devices().values()]
    vm.check(not any(address.startswith("0000:00:") for address in addresses), f"addresses {addresses}")


def test_pcie_pci_bridge(make_vm, disk):
    vm = make_vm("q35")
    bridge(vm, "pcie-pci-bridge", "legacy")
    equipped(equip(vm, disk, bus="legacy"))


def test_bridge_behind_bridge(make_vm, disk):
    """Root port, PCIe-to-PCI bridge, PCI bridge, PCI bridge; a device at every depth."""
    vm = make_vm("q35")
    bridge(vm, "pcie-root-port", "root", chassis=1, slot=1)
    bridge(vm, "pcie-pci-bridge", "b1", bus="root")
    bridge(vm, "pci-bridge", "b2", bus="b1", chassis_nr=2, addr=1, shpc="off")
    bridge(vm, "pci-bridge", "b3", bus="b2", chassis_nr=3, addr=4, shpc="off")
    vm.blk(disk(1 << 20), bus="b3", addr=9)
    vm.net_user(bus="b2", addr=7)
    vm.rng(bus="b1", addr="0x1f")
    vm.null_console()
    equipped(vm)


def test_switch(make_vm, disk):
    """A PCIe switch: an upstream port and its downstream ports."""
    vm = make_vm("q35")
    bridge(vm, "pcie-root-port", "root", chassis=1, slot=1)
    bridge(vm, "x3130-upstream", "up", bus="root")
    for i in range(2):
        bridge(vm, "xio3130-downstream", f"down{i}", bus="up", chassis=10 + i, slot=i)
    vm.blk(disk(1 << 20), bus="down0")
    vm.rng(bus="down1")
    vm.net_user()
    vm.null_console()
    equipped(vm)


def test_pc_bridge_behind_bridge(make_vm, disk):
    vm = make_vm("pc")
    bridge(vm, "pci-bridge", "b1", chassis_nr=1, shpc="off")
    bridge(vm, "pci-bridge", "b2", bus="b1", chassis_nr=2, addr=3, shpc="off")
    vm.blk(disk(1 << 20), bus="b2", addr=1)
    vm.net_user(bus="b2", addr="0x1f")
    vm.rng(bus="b1", addr=8)
    vm.null_console()
    equipped(vm)


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_multifunction(make_vm, disk, machine):
    """Functions 0, 3 and 7 of one device: a hole between functions ends no scan."""
    vm = make_vm(machine)
    vm.blk(disk(1 << 20), addr="0x8.0", multifunction=True)
    vm.net_user(addr="0x8.3", multifunction=True)
    vm.rng(addr="0x8.7", multifunction=True)
    vm.null_console(addr="0x1e")
    equipped(vm)
    devices = vm.devices()
    places = {"blk0": "08.0", "net0": "08.3", "rng0": "08.7", "console0": "1e.0"}
    for name, place in places.items():
        vm.check(devices[name]["address"] == f"0000:00:{place}", f"{name} at {devices[name]['address']}")


@pytest.mark.parametrize("options", [{"disable-legacy": True}, {"disable-legacy": False}, {"modern-pio-notify": True}])
def test_pci_variants(make_vm, disk, options):
    """Transitional and modern-only devices; a notification structure in an I/O BAR beside the memory one."""
    equipped(equip(make_vm("q35"), disk, **options))


@pytest.mark.parametrize("vectors", [1, 2, 3])
def test_few_vectors(make_vm, disk, vectors):
    """Fewer vectors than queues: shared ones, and all works."""
    vm = equip(make_vm("q35"), disk, vectors=vectors)
    equipped(vm)
    for device in vm.devices().values():
        vm.check(device["vectors"] <= vectors, f"more vectors than the device has: {device}")


def test_big_bars_above_4g(make_vm, disk):
    """64-bit BARs above 4 GiB: a prefetchable window of a root port that firmware puts up there."""
    vm = make_vm("q35", memory="6G", cpu="max")
    bridge(vm, "pcie-root-port", "root", chassis=1, slot=1, **{"pref64-reserve": "32G"})
    vm.blk(disk(1 << 20), bus="root")
    vm.net_user()
    vm.rng()
    vm.null_console()
    equipped(vm)
