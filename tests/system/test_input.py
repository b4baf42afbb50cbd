"""Input devices: what QEMU makes with input-send-event is what the guest reports, and the LEDs that the guest lights are what QEMU
shows its VNC clients."""

import pytest

from vnc import LEDS, Vnc

NUM_AND_SCROLL = 1 | 2  # of the LED state of the remote framebuffer protocol; 4 is caps


def wait_for_leds(vm, path, wanted):
    """Until a VNC client is told this LED state: the device may be behind the guest."""
    client = Vnc(vm.connect(path))
    client.want(LEDS)
    while client.update()[2] != bytes([wanted]):
        pass


def key(down, code):
    return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": code}}}


def move(kind, axis, value):
    return {"type": kind, "data": {"axis": axis, "value": value}}


def button(down, name):
    return {"type": "btn", "data": {"down": down, "button": name}}


SYN = (0, 0, 0)
UPDATES = {  # what is sent to each device, and the evdev events that it has to be
    "keyboard": ([[key(True, "a")], [key(False, "a"), key(True, "shift"), key(True, "f12")]],
                 [(1, 30, 1), SYN, (1, 30, 0), (1, 42, 1), (1, 88, 1), SYN]),
    "mouse": ([[move("rel", "x", 7), move("rel", "y", -3)], [move("rel", "x", -100)]],
              [(2, 0, 7), (2, 1, -3), SYN, (2, 0, -100), SYN]),
    "tablet": ([[move("abs", "x", 0), move("abs", "y", 0x7FFF)], [button(True, "left"), move("abs", "x", 1234)]],
               [(3, 0, 0), (3, 1, 0x7FFF), SYN, (1, 272, 1), (3, 0, 1234), SYN]),
}


def check_events(make_vm, machine, packed):
    vm = make_vm(machine, words="selftest.input=2")
    for kind in UPDATES:
        vm.device(kind, packed=packed)
    vm.args += ["-vnc", f"unix:{vm.directory}/vnc"]
    vm.start()
    for _ in UPDATES:
        name = vm.expect(r'"device":"(input\d)","for":"input"')[1].decode()
        told = next(record for record in vm.records("input-device") if record["device"] == name)
        kind = next(kind for kind in UPDATES if kind in told["name"].lower())
        updates, expected = UPDATES[kind]
        if kind == "keyboard":
            wait_for_leds(vm, vm.directory / "vnc", NUM_AND_SCROLL)
        vm.check(all(told["types"] >> bit & 1 for bit in {event[0] for event in expected} - {0}), f"{told}")
        vm.check(told["ids"][:2] == [6, 0x627], f"{told}")
        for update in updates:
            vm.qmp.post("input-send-event", events=update)  # the last ends the guest's work
        # The record of the last: the guest may be behind.
        vm.expect(r'"type":%d,"code":%d,"value":%d' % expected[-2])
    vm.finish()
    for name, told in {record["device"]: record["name"].lower() for record in vm.records("input-device")}.items():
        expected = next(expected for kind, (_, expected) in UPDATES.items() if kind in told)
        got = [(event["type"], event["code"], event["value"]) for event in vm.records("input") if event["device"] == name]
        vm.check(got == expected, f"{name} ({told}): {got}, not {expected}")
    axes = [(axis["code"], axis["min"], axis["max"]) for axis in vm.records("input-axis")]
    vm.check(axes == [(0, 0, 0x7FFF), (1, 0, 0x7FFF)], f"axes {axes}")


@pytest.mark.parametrize("machine, packed", [("q35", False), ("microvm", True)])
def test_events(make_vm, machine, packed):
    check_events(make_vm, machine, packed)


@pytest.mark.full
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("machine", ["pc", "q35", "microvm", "microvm-acpi"])
def test_events_product(make_vm, machine, packed):
    check_events(make_vm, machine, packed)
