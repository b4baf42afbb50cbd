"""Interrupts and notifications as QEMU's trace shows them: what the guest was really sent."""

import collections
import re

import pytest

from vm import FAILED, PASSED

EVENTS = ["virtio_notify", "virtio_queue_notify", "apic_deliver_irq", "x86_gsi_interrupt"]
FIELDS = re.compile(r"(\w+)[: #]+(0x[0-9a-f]+|\d+)")


def fields(text):
    return dict(FIELDS.findall(text))


def equip(vm, disk, direct=False, **properties):
    """`direct`: QEMU's disks send their interrupts themselves, not by way of an eventfd that may merge two of them."""
    vm.blk(disk(4 << 20), **properties, **({"ioeventfd": False} if direct else {}))
    vm.net_user(**properties)
    vm.rng(**properties)
    return vm.null_console(**properties)


class Trace:
    """The trace, with each interrupt message put to the used buffer notification that sent it."""

    def __init__(self, vm):
        self.notifications = []  # (virtqueue, vectors of the messages it sent)
        self.kicks = 0
        self.messages = []  # all that local APICs were sent: (vector, trigger mode)
        self.lines = collections.Counter()  # lines raised
        for event, text in vm.trace():
            values = fields(text)
            if event == "virtio_notify":
                self.notifications.append((values["vq"], []))
                sending = True
            elif event == "apic_deliver_irq":
                # Under QEMU's big lock a notification sends its message at once: nothing traced comes in between.
                if self.notifications and sending:
                    self.notifications[-1][1].append(int(values["vector"]))
                self.messages.append((int(values["vector"]), int(values["trigger_mode"])))
                sending = False
            elif event == "x86_gsi_interrupt":
                sending = False
                if values["level"] == "1":
                    self.lines[int(values["interrupt"])] += 1
            elif event == "virtio_queue_notify":
                sending = False
                self.kicks += 1


@pytest.mark.parametrize("machine, pci_lines", [("q35", range(16, 24)), ("pc", (5, 9, 10, 11))])
@pytest.mark.parametrize("options", [{}, {"event_idx": False}, {"indirect_desc": False}], ids=str)
def test_one_message_each(make_vm, disk, machine, pci_lines, options):
    """A used buffer notification is one MSI-X message, to a vector that is that queue's alone; no line is ever raised."""
    vm = equip(make_vm(machine, trace=EVENTS), disk, direct=True, **options).run()
    vm.working("blk0", "net0", "rng0", "console0")
    trace = Trace(vm)
    vm.check(trace.notifications and trace.kicks, "no notifications in the trace")
    wrong = [vectors for _, vectors in trace.notifications if len(vectors) != 1]
    vm.check(not wrong, f"notifications that sent not one message: {len(wrong)} of {len(trace.notifications)}, {wrong[:5]}")
    vector_of = collections.defaultdict(set)
    for queue, vectors in trace.notifications:
        vector_of[queue].update(vectors)
    vm.check(all(len(vectors) == 1 for vectors in vector_of.values()), f"a queue with several vectors: {dict(vector_of)}")
    used = [vector for vectors in vector_of.values() for vector in vectors]
    vm.check(len(used) >= 3, f"notifications came from some queues only: {dict(vector_of)}")
    vm.check(len(used) == len(set(used)), f"queues share vectors: {dict(vector_of)}")
    sent = sum(vector in used for vector, _ in trace.messages)
    vm.check(sent == len(trace.notifications), f"{sent} messages to these vectors, {len(trace.notifications)} notifications")
    raised = {line: count for line, count in trace.lines.items() if line in pci_lines}
    vm.check(not raised, f"PCI lines were raised: {raised}")
    vm.check(not any(level for _, level in trace.messages), "level-triggered interrupts without a level-triggered device")


@pytest.mark.parametrize("bit", [28, 29])
@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm", marks=pytest.mark.full)])
def test_without(make_vm, disk, machine, bit):
    """virtio.without= takes a feature out of the negotiation, and all works without it."""
    vm = equip(make_vm(machine, words=f"virtio.without={bit}"), disk).run()
    for device in vm.working("blk0", "net0", "rng0", "console0").values():
        vm.check(int(device["offered"], 0) >> bit & 1, f"QEMU does not offer bit {bit}: {device}")
        vm.check(not int(device["negotiated"], 0) >> bit & 1, f"bit {bit} is negotiated: {device}")


@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm", marks=pytest.mark.full)])
@pytest.mark.parametrize("name, bit", [("event_idx", 29), ("indirect_desc", 28)])
def test_not_offered(make_vm, disk, machine, name, bit):
    """The same from the device's side; and what is offered is used otherwise."""
    for offered in (False, True):
        vm = equip(make_vm(machine), disk, **{name: offered}).run()
        for device in vm.working("blk0", "net0", "rng0", "console0").values():
            vm.check(bool(int(device["offered"], 0) >> bit & 1) == offered, f"QEMU's offer of bit {bit}: {device}")
            vm.check(bool(int(device["negotiated"], 0) >> bit & 1) == offered, f"bit {bit}: {device}")


def test_without_both(make_vm, disk):
    vm = equip(make_vm(words="virtio.without=28,29"), disk).run()
    for device in vm.working("blk0", "net0", "rng0", "console0").values():
        vm.check(not int(device["negotiated"], 0) >> 28 & 3, f"bits 28, 29: {device}")


@pytest.mark.parametrize("mode, told", [("msix", {"msix"}), ("intx", {"intx"}), ("poll", {"poll"})])
@pytest.mark.parametrize("machine", ["q35", pytest.param("pc", marks=pytest.mark.full), pytest.param("microvm", marks=pytest.mark.full)])
def test_modes(make_vm, disk, machine, mode, told):
    """virtio.irq= restricts how interrupts arrive; all works in each way that the machine has."""
    if machine == "microvm" and mode == "msix":
        told = {"poll"}  # virtio-mmio has no messages
    vm = equip(make_vm(machine, words=f"virtio.irq={mode}"), disk).run()
    devices = vm.working("blk0", "net0", "rng0", "console0")
    vm.check({device["irq"] for device in devices.values()} == told, f"{devices}")


@pytest.mark.parametrize("machine", ["q35", pytest.param("pc", marks=pytest.mark.full)])
def test_lines_only(make_vm, disk, machine):
    """Devices without MSI-X: their line, which several share."""
    vm = equip(make_vm(machine), disk, vectors=0).run()
    devices = vm.working("blk0", "net0", "rng0", "console0")
    vm.check({device["irq"] for device in devices.values()} == {"intx"}, f"{devices}")


@pytest.mark.parametrize("queue, offered, layout", [("packed", True, "packed"), ("split", True, "split"), ("any", True, "packed"),
                                                    ("packed", False, None)])
@pytest.mark.parametrize("machine", ["q35", pytest.param("microvm", marks=pytest.mark.full)])
def test_layouts(make_vm, disk, machine, queue, offered, layout):
    """virtio.queue= chooses among the layouts that are offered; a device without the one that is wanted is refused."""
    vm = equip(make_vm(machine, words=f"virtio.queue={queue}"), disk, packed=offered)
    vm.run(status=PASSED if layout else FAILED)
    vm.check(len(vm.devices()) == 4, f"{vm.devices()}")
    for device in vm.devices().values():
        if layout:
            vm.check(device["state"] == "ok" and {q["layout"] for q in device["queues"]} == {layout}, f"{device}")
        else:
            vm.check(device["state"] == "refused" and device["reason"], f"{device}")


@pytest.mark.parametrize("machine, other", [("q35", "mmio"), ("microvm", "pci")])
def test_transports(make_vm, disk, machine, other):
    """virtio.transport= passes over devices of the others."""
    vm = equip(make_vm(machine, words=f"virtio.transport={other}"), disk).run()
    vm.working()
