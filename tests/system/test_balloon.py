"""The balloon: QMP asks, and QEMU's own figures and its resident size tell what the guest gave."""

import re

import pytest

MIB = 1 << 20
WAYS = {"pci-split": ("q35", {}), "pci-packed": ("q35", {"packed": True}), "mmio-split": ("microvm", {}),
        "mmio-packed": ("microvm", {"packed": True}), "pci-legacy": ("pc", {"disable-modern": True})}


def balloon(make_vm, way="pci-split", words="", memory="256M", **properties):
    machine, more = WAYS[way]
    vm = make_vm(machine, app="shell", words=words, memory=memory)
    vm.device("balloon", id="balloon0", **more, **properties)
    vm.start()
    vm.expect("vireo> ")
    return vm


def command(vm, line):
    vm.send(line + "\n")
    match = vm.expect(r"memory: (\d+) KiB of (\d+) KiB free, (\d+) KiB taken")
    return [int(group) * 1024 for group in match.groups()]


def actual(vm, wanted):
    """Wait until QEMU knows a size near `wanted`."""
    vm.until(lambda: vm.qmp("query-balloon")["actual"], lambda size: abs(size - wanted) < MIB // 4, f"query-balloon does not say {wanted}")


def resident(vm):
    with open(f"/proc/{vm.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def sinks(vm, limit):
    vm.until(lambda: resident(vm), lambda size: size < limit, f"not fewer than {limit} bytes are resident")


def test_size(make_vm):
    """Down, up, down; memory that was used leaves QEMU with it, comes back empty, and holds what is written."""
    vm = balloon(make_vm)
    command(vm, "memory take 100M")
    full = resident(vm)
    command(vm, "memory free")
    vm.qmp("balloon", value=96 * MIB)
    actual(vm, 96 * MIB)
    sinks(vm, full - 64 * MIB)
    vm.check(command(vm, "memory")[0] < 96 * MIB, "the guest still has the memory")
    vm.qmp("balloon", value=256 * MIB)
    actual(vm, 256 * MIB)
    vm.check(command(vm, "memory take 100M")[2] == 100 * MIB, "the memory is not back")
    command(vm, "memory free")
    vm.qmp("balloon", value=200 * MIB)
    actual(vm, 200 * MIB)
    vm.check("is not what was written" not in vm.log, "memory was changed")


@pytest.mark.full
@pytest.mark.parametrize("way", WAYS)
def test_size_every_way(make_vm, way):
    vm = balloon(make_vm, way)
    for size in (100, 180, 64, 256):
        vm.qmp("balloon", value=size * MIB)
        actual(vm, size * MIB)
    vm.check(command(vm, "memory take 100M")[2] == 100 * MIB, "the memory is not back")


def test_statistics(make_vm):
    """What QEMU polls is what the guest says on its console."""
    vm = balloon(make_vm, "mmio-packed")
    path = next(f"/machine/peripheral/{child['name']}" for child in vm.qmp("qom-list", path="/machine/peripheral")
                if child["name"] == "balloon0")
    vm.qmp("qom-set", path=path, property="guest-stats-polling-interval", value=1)
    for taken in (0, 50 * MIB):
        free, total, _ = command(vm, f"memory take {taken}" if taken else "memory")
        stats = vm.until(lambda: vm.qmp("qom-get", path=path, property="guest-stats")["stats"],
                         lambda stats: stats["stat-free-memory"] == free, f"the guest has {free} bytes free")
        vm.check((stats["stat-free-memory"], stats["stat-total-memory"], stats["stat-available-memory"]) == (free, total, free),
                 f"{stats}, the guest has {free} of {total} free")


def test_reporting(make_vm):
    """Without a word from the host: what the guest frees leaves QEMU."""
    vm = balloon(make_vm, **{"free-page-reporting": True})
    empty = resident(vm)
    command(vm, "memory take 128M")
    vm.check(resident(vm) > empty + 64 * MIB, "the memory was not used")
    command(vm, "memory free")
    sinks(vm, empty + 16 * MIB)
    vm.check(command(vm, "memory take 128M")[2] == 128 * MIB, "the memory is not there any more")
    command(vm, "memory free")
    vm.check("is not what was written" not in vm.log, "memory was changed")


def test_deflate_on_oom(make_vm):
    """The allocator takes back what it needs, and only where it may."""
    for allowed in (True, False):
        vm = balloon(make_vm, **{"deflate-on-oom": allowed})
        vm.qmp("balloon", value=64 * MIB)
        actual(vm, 64 * MIB)
        taken = command(vm, "memory take 128M")[2]
        size = vm.qmp("query-balloon")["actual"]
        if allowed:
            vm.check(taken == 128 * MIB and size > 128 * MIB, f"{taken} bytes taken, the guest has {size}")
        else:
            vm.check(taken < 64 * MIB and size == 64 * MIB, f"{taken} bytes taken, the guest has {size}")
            vm.check("take: " in vm.log, "no line says so")


@pytest.mark.parametrize("hints", [True, False])
def test_hinting(make_vm, hints):
    """A migration leaves out what the guest hinted: memory that was used and freed does not go over the wire."""
    vm = make_vm(app="shell")
    vm.args += ["-object", "iothread,id=hints"]
    vm.device("balloon", id="balloon0", **{"free-page-hint": hints}, **({"iothread": "hints"} if hints else {}))
    vm.start()
    vm.expect("vireo> ")
    command(vm, "memory take 128M")
    command(vm, "memory free")
    vm.qmp("migrate-set-parameters", **{"max-bandwidth": MIB})  # slow, until the guest has hinted
    vm.qmp("migrate", uri="exec:cat > /dev/null")
    if hints:
        vm.until(lambda: vm.qmp("query-migrate"), lambda state: state.get("ram", {}).get("remaining", 1 << 30) < 32 * MIB, "few hints")
    vm.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    state = vm.until(lambda: vm.qmp("query-migrate"), lambda state: state["status"] in ("completed", "failed"), "no end")
    vm.check(state["status"] == "completed", f"{state}")
    sent = state["ram"]["normal-bytes"]
    vm.check(sent < 64 * MIB if hints else sent > 128 * MIB, f"{sent} bytes were sent")


def test_poison(make_vm):
    """page.poison= is what makes the guest accept the feature, and the device hears of the value."""
    for words, bit in (("page.poison=0xaa", 1), ("", 0)):
        vm = balloon(make_vm, words=words, **{"free-page-reporting": True})
        negotiated = int(vm.devices()["balloon0"]["negotiated"], 0)
        vm.check(negotiated >> 4 & 1 == bit, f"{negotiated:#x}")
        vm.qmp("balloon", value=128 * MIB)
        actual(vm, 128 * MIB)
        command(vm, "memory take 20M")
        command(vm, "memory free")
        vm.qmp("balloon", value=256 * MIB)
        actual(vm, 256 * MIB)
        vm.check("while it was free" not in vm.log or not bit, "poison was lost")
