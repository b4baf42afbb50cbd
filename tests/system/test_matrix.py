"""Each machine with each device alone, with all of them, and with none: found, driven, tested on real data."""

import pytest

ALL = {"blk": "blk0", "net": "net0", "rng": "rng0", "console": "console0"}
TRANSPORT = {"q35": "pci", "pc": "pci"}


def add(vm, kind, disk):
    if kind == "blk":
        vm.blk(disk(1 << 20))
    elif kind == "net":
        vm.net_user()
    elif kind == "rng":
        vm.rng()
    else:
        vm.null_console()


@pytest.mark.parametrize("kinds", [*[[kind] for kind in ALL], list(ALL), []], ids=lambda kinds: "+".join(kinds) or "none")
@pytest.mark.parametrize("machine", ["q35", "pc", "microvm", "microvm-acpi", "microvm-acpi-1"])
def test_devices(make_vm, disk, machine, kinds):
    vm = make_vm(machine)
    for kind in kinds:
        add(vm, kind, disk)
    vm.run()
    devices = vm.working(*[ALL[kind] for kind in kinds])
    for kind in kinds:
        device = devices[ALL[kind]]
        vm.check(device["transport"] == TRANSPORT.get(machine, "mmio"), f"transport of {device}")
        vm.check(device["revision"] == "1.x", f"revision of {device}")
        vm.check(int(device["negotiated"], 0) & ~int(device["offered"], 0) == 0, f"accepted what was not offered: {device}")
        vm.check(int(device["negotiated"], 0) >> 32 & 1, f"VERSION_1 is not negotiated: {device}")
        vm.check(all(queue["layout"] == "split" and queue["size"] > 0 for queue in device["queues"]), f"queues of {device}")
        if vm.mmio:
            vm.check(device["irq"] not in ("msix", "msix-shared"), f"messages from a bus that has none: {device}")
        else:
            vm.check(device["irq"] == "msix", f"no vector of its own for each queue: {device}")
        vm.passed(rf"\b{ALL[kind]}\b")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_two_of_each(make_vm, disk, machine):
    """No driver has a global that forbids a second instance; names count up in the order of discovery."""
    vm = make_vm(machine)
    for kind in ALL:
        for _ in range(2):
            add(vm, kind, disk)
    vm.run()
    vm.working(*[f"{kind}{i}" for kind in ALL for i in range(2)])


def test_without_parameters(make_vm):
    """An empty command line is the selftest."""
    vm = make_vm(app=None).run()
    assert vm.tap()


@pytest.mark.parametrize("app", ["selftest", "bench"])
def test_boot_record(make_vm, app):
    """The boot record is the first and tells what the machine is."""
    vm = make_vm(app=app, memory="256M")
    vm.start()
    vm.wait()
    boot = vm.records()[0]
    vm.check(boot["event"] == "boot" and boot["arch"] == "x86_64" and boot["protocol"] == "pvh" and boot["version"], f"{boot}")
    vm.check(boot["cpus"] == 1, f"CPUs: {boot}")
    vm.check(250 << 20 <= boot["memory"] <= 256 << 20, f"memory: {boot}")


def test_unknown_program(make_vm):
    """A program that is not there: one line, and the end is a failure."""
    vm = make_vm(app="no-such-program")
    vm.run(status=35)
    vm.check(len(vm.warnings("no-such-program")) == 1, "not named in one line")
