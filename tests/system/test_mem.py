"""Memory that is plugged and unplugged: QMP asks, query-memory-devices tells what the guest did, and the guest uses it."""

import pytest

MIB = 1 << 20
WAYS = {"pci-split": ("q35", {}), "pci-packed": ("q35", {"packed": True})}


def command(vm, line):
    vm.send(line + "\n")
    match = vm.expect(r"memory: (\d+) KiB of (\d+) KiB free, (\d+) KiB taken")
    return [int(group) * 1024 for group in match.groups()]


def plugged(vm):
    return vm.qmp("query-memory-devices")[0]["data"]["size"]


def size(vm, wanted):
    vm.until(lambda: plugged(vm), lambda have: have == wanted, f"not {wanted} bytes are plugged")


def holds(vm, wanted):
    """What QEMU calls plugged the allocator has soon after."""
    vm.until(lambda: command(vm, "memory")[1], lambda have: have == wanted, f"the allocator does not count {wanted} bytes")


def want(vm, wanted):
    vm.qmp("qom-set", path="/machine/peripheral/mem0", property="requested-size", value=wanted)


@pytest.mark.parametrize("way, inaccessible", [("pci-split", "on"), ("pci-packed", "off"),
                                               pytest.param("pci-split", "off", marks=pytest.mark.full),
                                               pytest.param("pci-packed", "on", marks=pytest.mark.full)])
def test_plug_and_unplug(make_vm, way, inaccessible):
    machine, more = WAYS[way]
    vm = make_vm(machine, app="shell", memory="128M,slots=2,maxmem=4G")
    vm.args += ["-object", "memory-backend-ram,id=more,size=1G"]
    vm.device("mem", id="mem0", memdev="more", **{"requested-size": 64 * MIB, "unplugged-inaccessible": inaccessible}, **more)
    vm.start()
    vm.expect("vireo> ")
    features = int(vm.devices()["mem0"]["negotiated"], 0)
    vm.check(features >> 1 & 1 == (inaccessible == "on"), f"{features:#x}")
    size(vm, 64 * MIB)
    want(vm, 0)
    size(vm, 0)  # the allocator has given back all of it by then
    base = command(vm, "memory")[1]
    want(vm, 512 * MIB)
    size(vm, 512 * MIB)
    holds(vm, base + 512 * MIB)
    vm.check(command(vm, "memory take 500M")[2] == 500 * MIB, "it cannot be used")
    want(vm, 0)  # in use: it stays but for the blocks that are not, of which there is at least one
    vm.until(lambda: plugged(vm), lambda have: have < 512 * MIB, "nothing is unplugged")
    vm.check(plugged(vm) >= 350 * MIB, f"{plugged(vm)} bytes are left of memory in use")
    command(vm, "memory free")
    vm.check("is not what was written" not in vm.log, "memory was changed")
    size(vm, 0)
    vm.check(command(vm, "memory")[1] == base, "the allocator counts on it yet")
    want(vm, 256 * MIB)
    size(vm, 256 * MIB)
    holds(vm, base + 256 * MIB)
    vm.check(command(vm, "memory take 300M")[2] == 300 * MIB, "it cannot be used again")
