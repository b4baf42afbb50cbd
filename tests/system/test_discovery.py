"""What is found, and how: by ACPI's namespace, a device tree, words on the command line; and where interrupts by line arrive."""

import calendar
import itertools
import json
import re
import struct
import time

import pytest

import dtb
from test_boot import make_direct  # noqa: F401, a fixture
from vm import MMIO_BASE, MMIO_BYTES, option


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


PCIE_LINE = 16  # of microvm's PCIe: four from here on
LEVEL_LOW = 1  # in the cells of an I/O APIC


def pcie_tree():
    """microvm's PCIe in a tree: its configuration space, a window, and where its pins arrive."""
    lines = [[device << 11, 0, 0, pin + 1, 1, PCIE_LINE + (device + pin) % 4, LEVEL_LOW] for device in range(4) for pin in range(4)]
    return dtb.blob({
        "#address-cells": [2], "#size-cells": [2],
        "ioapic@fec00000": {"compatible": "intel,ce4100-ioapic", "#interrupt-cells": [2], "phandle": [1],
                            "interrupt-controller": b"", "reg": [0, 0xFEC00000, 0, 0x1000]},
        "pcie@e0000000": {"compatible": "pci-host-ecam-generic", "device_type": "pci", "#address-cells": [3], "#size-cells": [2],
                          "#interrupt-cells": [1], "bus-range": [0, 255], "reg": [0, 0xE0000000, 0, 0x10000000],
                          "ranges": [0x2000000, 0, 0xC0000000, 0, 0xC0000000, 0, 0x20000000],
                          "interrupt-map-mask": [0x1800, 0, 0, 7], "interrupt-map": [cell for line in lines for cell in line]}})


def test_lines_by_tree(make_direct, disk):
    """A loader's tree has all that there is about PCI: devices are found, placed, and interrupt by their lines, behind a bridge as well."""
    tree = pcie_tree()
    vm = make_direct(machine="microvm-acpi", machine_options="pcie=on", words="virtio.irq=intx")
    vm.place(0x60000, struct.pack("<QII", 0, 2, len(tree)) + tree)
    vm.args += ["-device", "pcie-pci-bridge,id=b1,addr=3"]
    for i, place in enumerate([{"addr": 5}, {"addr": 6}, {"bus": "b1", "addr": 2}]):
        vm.args += ["-object", f"rng-random,id=r{i},filename=/dev/urandom",
                    "-device", option("virtio-rng-pci", {"rng": f"r{i}", **place})]
    vm.linux_elf(params=vm.boot_params(setup_data=0x60000)).run()
    devices = vm.working("rng0", "rng1", "rng2")
    vm.check({device["irq"] for device in devices.values()} == {"intx"} and {device["transport"] for device in devices.values()} == {"pci"},
             f"{devices}")


# ---- microvm, whole ----

FIRMWARE = {"seabios": "bios-microvm.bin", "qboot": "qboot.rom"}
MATRIX = list(itertools.product(["acpi", "no-acpi"], ["pcie", "no-pcie"], FIRMWARE, ["serial", "no-serial"], [1, 2, 4]))
# Each value with each other one.
SELECTION = {("acpi", "pcie", "seabios", "serial", 1), ("acpi", "pcie", "qboot", "no-serial", 2), ("acpi", "no-pcie", "seabios", "no-serial", 4),
             ("acpi", "no-pcie", "qboot", "serial", 4), ("no-acpi", "pcie", "seabios", "no-serial", 1),
             ("no-acpi", "no-pcie", "qboot", "no-serial", 1), ("no-acpi", "no-pcie", "seabios", "serial", 2),
             ("no-acpi", "pcie", "qboot", "serial", 4)}


def microvm(make_vm, acpi, pcie, firmware, serial, cpus, words=""):
    options = f"pcie={'on' if pcie else 'off'},isa-serial={'on' if serial else 'off'}"
    vm = make_vm("microvm-acpi" if acpi else "microvm", bios=FIRMWARE[firmware], cpus=f"{cpus},maxcpus={max(cpus, 2)}",
                 machine_options=options, words=words)
    if not serial:
        vm.log_port = "debugcon"
    return vm


def given(vm):
    """The virtio devices of QEMU's command line, by type: what must be found, and by which transport."""
    found = []
    for option in (vm.argv[i + 1] for i, word in enumerate(vm.argv) if word == "-device"):
        if match := re.match(r"virtio-(blk|net|rng|serial)-(device|pci)\b", option):
            found.append(({"serial": "console"}.get(match[1], match[1]), {"device": "mmio", "pci": "pci"}[match[2]]))
    return sorted(found)


def check_found(vm, records, cpus):
    devices = [record for record in records if record["event"] == "device"]
    got = sorted((re.sub(r"\d+$", "", device["name"]), device["transport"]) for device in devices)
    vm.check(got == given(vm), f"found {got}, given {given(vm)}")
    vm.check(all(device["state"] == "ok" for device in devices), f"{devices}")
    boot = [record for record in records if record["event"] == "boot"]
    vm.check(len(boot) == 1 and boot[0]["cpus"] == cpus, f"{boot}")  # by the MADT, or the firmware's MP table


@pytest.mark.parametrize("acpi, pcie, firmware, serial, cpus", [
    pytest.param(*values, marks=[] if values in SELECTION else [pytest.mark.full],
                 id="-".join(str(value) for value in values)) for values in MATRIX])
def test_microvm(make_vm, disk, acpi, pcie, firmware, serial, cpus):
    """Exactly the devices that the command line gives are found, by ACPI or by words; pcie=on without ACPI is no PCIe in QEMU. Without a serial
    port the log is read from debugcon."""
    acpi, pcie, serial = acpi == "acpi", pcie == "pcie", serial == "serial"
    vm = microvm(make_vm, acpi, pcie, firmware, serial, cpus)
    vm.blk(disk(1 << 20))
    vm.net_user()
    vm.rng()
    if acpi and pcie:
        vm.args += ["-device", "virtio-serial-pci,id=bus0"]
    else:
        vm.args += ["-device", "virtio-serial-device,id=bus0"]
    vm.args += ["-chardev", "null,id=none", "-device", "virtconsole,chardev=none,bus=bus0.0"]
    if acpi and pcie:  # one that is not on the PCI bus, besides
        vm.args += ["-object", "rng-random,id=more,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=more"]
    vm.run()
    check_found(vm, vm.records(), cpus)


@pytest.mark.parametrize("words, pcie, devices", [("", False, "device"), ("acpi=off", False, "device"), ("acpi=off", True, "pci"),
                                                  ("acpi=off pci.ecam=256M@0xe0000000", True, "pci"),
                                                  ("acpi=off pci.ecam=16M@0xe0000000:0-7", True, "pci")])
def test_device_tree(make_vm, disk, words, pcie, devices):
    """No ACPI and no words: QEMU's device tree, or the configuration space that a word tells of, whose windows that tree has."""
    vm = make_vm("microvm-acpi" if words else "microvm", words=words,
                 machine_options=("pcie=on" if pcie else "pcie=off") + ("" if words else ",auto-kernel-cmdline=off"))
    vm.args += ["-object", "rng-random,id=more,filename=/dev/urandom", "-device", f"virtio-rng-{devices},rng=more",
                "-device", f"virtio-serial-{devices},id=bus0", "-chardev", "null,id=none",
                "-device", "virtconsole,chardev=none,bus=bus0.0"]
    vm.run()
    vm.check(sorted(vm.devices()) == ["console0", "rng0"], f"{vm.devices()}")
    check_found(vm, vm.records(), 1)


@pytest.mark.parametrize("word", ["", "1@2", "256M", "256M@", "512K@0xe0000000", "1G@0xe0000000", "16M@0xe0000000:0-16", "16M@0xe0000000:5-4",
                                  "16M@0xe0000000:256", "16M@0xe0000800", "16M@0xd0000000000000000", "16M@0x100000"])
def test_bad_ecam(make_vm, word):
    """One line that quotes the word, and PCI is found as without it."""
    vm = make_vm("q35", words=f"pci.ecam={word}").rng().run()
    vm.working("rng0")
    vm.check(len(vm.warnings(r"pci\S*" + re.escape(f"={word}:")) + vm.warnings(re.escape(f"pci: {word}: "))) == 1, "not one line about it")


def test_log_on_a_console_device(make_vm):
    """Neither a serial port nor a debug port: the log, with the end record, is on the virtio console."""
    vm = make_vm("microvm", machine_options="isa-serial=off").rng()
    path = vm.directory / "log"
    vm.args += ["-chardev", f"file,id=log,path={path}", "-device", "virtio-serial-device,id=bus0",
                "-device", "virtconsole,chardev=log,bus=bus0.0"]
    vm.start()
    status = vm.wait()
    text = path.read_text(encoding="utf-8", errors="replace")
    assert status == 33 and text.startswith("@vireo {\"event\":\"boot\"") and "@vireo {\"event\":\"end\",\"status\":0" in text, text
    assert not vm.log


# ---- the power button, the time ----

@pytest.mark.parametrize("machine", ["q35", "pc", "microvm-acpi"])
def test_power_button(make_vm, machine):
    """A press ends the program: QEMU ends as after success, and the end record is there."""
    vm = make_vm(machine, app="shell", words="log=debug").rng()
    vm.start()
    vm.expect("power button: ")
    vm.qmp.post("system_powerdown")
    vm.finish()


@pytest.mark.parametrize("machine, words, reason", [("q35", "", "guest-shutdown"), ("pc", "", "guest-shutdown"),
                                                    ("microvm-acpi", "", "guest-shutdown"), ("microvm", "", "guest-reset"),
                                                    ("q35", "acpi=off", "guest-reset")])
def test_end(make_vm, machine, words, reason):
    """Nobody listens at the debug port: S5 by the FADT's registers with the DSDT's values, or the sleep control register of machines without
    those; where there are no tables, a reset."""
    vm = make_vm(machine, words=words).rng()
    vm.debug_exit = False
    vm.start(paused=True)
    monitor = vm.qmp
    vm.go()
    events = [json.loads(line) for line in monitor.lines]
    vm.check(vm.wait() == 0 and vm.record("end")["status"] == 0, "the end")
    told = [event["data"]["reason"] for event in monitor.events + events if event.get("event") == "SHUTDOWN"]
    vm.check(told == [reason], f"{told}")


@pytest.mark.parametrize("machine, options", [("q35", ""), ("microvm", "")])
def test_time_of_day(make_vm, machine, options):
    vm = make_vm(machine, app="shell", machine_options=options)
    vm.args += ["-rtc", "base=2029-02-28T23:59:58"]
    started = time.monotonic()
    vm.start()
    vm.expect("vireo> ")
    vm.send("time\n")
    told = int(vm.expect(r"^(\d{6,})\n")[1])
    assert 0 <= told - calendar.timegm((2029, 2, 28, 23, 59, 58)) <= time.monotonic() - started + 1


def test_no_clock(make_vm):
    """Nothing tells the time: it counts from boot."""
    vm = make_vm("microvm", app="shell", machine_options="rtc=off")
    vm.start()
    vm.expect("vireo> ")
    vm.send("time\n")
    assert int(vm.expect(r"^(\d+)\n")[1]) < 1000


def test_bars_above_1t(make_vm, disk):
    """Firmware puts the windows of two ports one behind the other, 2 TiB each: at least one device has its registers above 1 TiB."""
    vm = make_vm("q35", cpu="max,phys-bits=44", app="shell")
    vm.args += ["-global", "q35-pcihost.pci-hole64-size=8192G"]
    for i in range(2):
        vm.args += ["-device", f"pcie-root-port,id=port{i},chassis={i},slot={i},pref64-reserve=2T"]
    vm.blk(disk(1 << 20), bus="port0")
    vm.rng(bus="port1")
    vm.start()
    vm.expect("vireo> ")
    bars = [int(base, 16) for base in re.findall(r"64 bit prefetchable memory at (0x[0-9a-f]+)", vm.qmp.human("info pci"))]
    vm.check(any(base > 1 << 40 for base in bars), f"BARs {[hex(base) for base in bars]}")
    vm.send("run selftest\n")
    vm.expect(r"^ok \d+ - rng0 gives")
    vm.working("blk0", "rng0")


def test_large_bar_behind_bridges(make_vm):
    """No firmware placed anything, and there are 4 GiB to be placed two bridges deep, where below 4 GiB there is no room: the prefetchable
    windows of the bridges take it. The small registers of the device beside it are in the usual ones."""
    vm = make_vm("q35", bios="qboot.rom", app="shell")
    vm.args += ["-device", "pcie-root-port,id=port1,chassis=1,slot=1", "-device", "pcie-pci-bridge,id=b1,bus=port1",
                "-object", "memory-backend-ram,id=large,size=4G", "-device", "ivshmem-plain,memdev=large,bus=b1,addr=1"]
    vm.rng(bus="b1", addr=2)
    vm.start()
    vm.expect("vireo> ")
    windows = [(int(low, 16), int(high, 16)) for low, high in
               re.findall(r"prefetchable memory range \[(0x[0-9a-f]+), (0x[0-9a-f]+)\]", vm.qmp.human("info pci"))]
    vm.check(len(windows) == 2 and all(low >= 1 << 32 and low % (4 << 30) == 0 and high == low + (4 << 30) - 1 for low, high in windows),
             f"windows {[(hex(low), hex(high)) for low, high in windows]}")
    vm.send("run selftest\n")
    vm.expect(r"^ok \d+ - rng0 gives")
    vm.working("rng0")
