"""What is found, and how: by ACPI's namespace, a device tree, words on the command line; and where interrupts by line arrive."""

import pytest

from vm import MMIO_BASE, MMIO_BYTES


def equip(vm, disk, **properties):
    """blk, net, rng and console, in this order."""
    vm.blk(disk(1 << 20), **properties)
    vm.net_user(**properties)
    vm.rng(**properties)
    return vm.null_console(**properties)


NAMES = ("blk0", "net0", "rng0", "console0")


@pytest.mark.parametrize("machine, slots", [("microvm-acpi", 24), ("microvm-acpi-1", 8)])
def test_acpi_mmio(make_vm, disk, machine, slots):
    """virtio-mmio devices of ACPI's namespace: each at the registers that QEMU gave it, from its last slot down; each by its line."""
    devices = equip(make_vm(machine), disk).run().working(*NAMES)
    for index, name in enumerate(NAMES):
        address = f"mmio@0x{MMIO_BASE + MMIO_BYTES * (slots - 1 - index):x}"
        assert devices[name]["address"] == address and devices[name]["irq"] == "intx", f"{devices[name]}"


@pytest.mark.parametrize("machine, bios", [("q35", "qboot.rom"), ("pc", "qboot.rom"), ("q35", "bios-256k.bin")])
def test_lines_by_prt(make_vm, disk, machine, bios):
    """qboot writes no line into any function: ACPI's _PRT has them, on pc by link devices that are set here."""
    devices = equip(make_vm(machine, bios=bios, words="virtio.irq=intx"), disk).run().working(*NAMES)
    assert {device["irq"] for device in devices.values()} == {"intx"}, f"{devices}"


def test_lines_behind_bridges(make_vm, disk):
    """Two bridges deep, where no _PRT reaches: the pins are turned on the way up. No firmware numbered these buses."""
    vm = make_vm("q35", bios="qboot.rom", words="virtio.irq=intx")
    vm.args += ["-device", "pcie-pci-bridge,id=b1,addr=3", "-device", "pci-bridge,id=b2,bus=b1,chassis_nr=2,addr=2,shpc=off"]
    vm.blk(disk(1 << 20), bus="b2", addr=1)
    vm.rng(bus="b2", addr=6)
    vm.net_user(bus="b1", addr=5)
    vm.null_console(bus="pcie.0")
    devices = vm.run().working(*NAMES)
    assert {device["irq"] for device in devices.values()} == {"intx"}, f"{devices}"
