"""CPUs: how many run, what they do at once, what they print, and how they end together."""

import collections
import re
import struct

import pytest

from test_boot import make_direct  # noqa: F401, a fixture
from test_irq import fields

LINES = 20  # that each CPU writes in selftest


def full(*values):
    return pytest.param(*values, marks=pytest.mark.full)


@pytest.mark.parametrize("machine, cpus, running", [
    ("q35", "4,maxcpus=8", 4), ("q35", "16", 16), ("microvm", "2", 2), ("microvm-acpi", "4", 4),
    full("q35", "1,maxcpus=2", 1), full("q35", "2", 2), full("pc", "4", 4), full("q35", "70", 64),
    full("microvm", "4", 4), full("microvm", "16", 16), full("microvm-acpi", "2", 2), full("microvm-acpi", "16", 16)])
def test_all_run(make_vm, machine, cpus, running):
    """All answer, time and mark each other, and share memory and the console, whose lines stay whole."""
    vm = make_vm(machine, cpus=cpus, words="log=debug").run()
    vm.check(vm.record("boot")["cpus"] == running, f"cpus in {vm.record('boot')}")
    names = [name for ok, name, _ in vm.tap() if ok]
    vm.check(f"{running} CPUs answer calls" in names, f"tests {names}")
    written = re.findall(rf"^\[ *\d+\.\d{{6}}\] cpu (\d+) of {running} writes line (\d+) of {LINES}\.$", vm.log, re.MULTILINE)
    vm.check(len(written) == vm.log.count("writes line") == running * LINES, f"{len(written)} whole lines")
    for cpu in range(running):
        lines = [int(line) for which, line in written if int(which) == cpu]
        vm.check(lines == list(range(LINES)), f"lines of CPU {cpu}: {lines}")
    if running == 64:
        vm.check("cpus: 6 of 70 are left out" in vm.log, "who is left out")


@pytest.mark.parametrize("words, cause", [("ud all", "invalid opcode"), ("pf 2", "page fault: write to 0x0"),
                                          full("stack 3", "stack overflow")])
def test_panic(make_vm, words, cause):
    """Wherever it happens, and on all CPUs at once: one panic is told, and nothing else comes behind it."""
    vm = make_vm("q35", app="shell", cpus="4")
    vm.start()
    vm.expect("^vireo> ")
    vm.send(f"crash {words}\r")
    vm.finish(status=35)
    vm.check(vm.log.count("panic") == 1 and f"\npanic: {cause}" in vm.log, "one panic")
    vm.check(vm.log.count("backtrace:") == 1, "one backtrace")
    report = vm.log[vm.log.index("backtrace:"):].splitlines()[1:]
    vm.check(report and all(re.fullmatch(r"  [0-9a-f]{16} [\w.]+\+0x[0-9a-f]+", line) for line in report), f"backtrace {report}")
    if words == "pf 2":
        vm.check("smp_main+" in report[-2], f"backtrace {report}")


FLOATING = 0x9FC00  # where qboot leaves its own
PVH_NOTE = b"\x04\0\0\0\x08\0\0\0\x12\0\0\0Xen\0"


def mp_table(ids, count=None, length=None, tail=b"", checksum=0):
    """A floating pointer at FLOATING and its table behind it, as the MultiProcessor Specification has them."""
    entries = b"".join(struct.pack("<BBBBIIQ", 0, apic, 20, 1 | (apic == 0) << 1, 0, 0, 0) for apic in ids) + tail
    table = struct.pack("<4sHBB8s12sIHHIHBB", b"PCMP", length or 44 + len(entries), 4, 0, b"TEST", b"TABLE", 0, 0,
                        len(ids) if count is None else count, 0xFEE00000, 0, 0, 0) + entries
    pointer = struct.pack("<4sIBBB5s", b"_MP_", FLOATING + 16, 1, 4, 0, bytes(5))
    return (pointer[:10] + bytes([-sum(pointer) & 255]) + pointer[11:] +
            table[:7] + bytes([(checksum - sum(table)) & 255]) + table[8:])


def patch_at_entry(vm, address, data):
    """Start the machine; change its memory when the firmware is done, at the image's first instruction, by way of QEMU's gdb server."""
    image = vm.image.read_bytes()
    entry, = struct.unpack_from("<Q", image, image.index(PVH_NOTE) + len(PVH_NOTE))
    vm.args += ["-gdb", f"unix:{vm.directory}/gdb,server=on,wait=off"]
    vm.start(paused=True)
    with vm.connect(vm.directory / "gdb") as gdb:
        for packet in (f"Z1,{entry:x},1", "c", f"M{address:x},{len(data):x}:{data.hex()}", f"z1,{entry:x},1", "D"):
            gdb.sendall(f"${packet}#{sum(packet.encode()) & 255:02x}".encode())
            answer = b""
            while not re.search(rb"\$[^#]*#..", answer) and (data := gdb.recv(4096)):
                answer += data
            gdb.sendall(b"+")
            vm.check(re.search(rb"\$(OK|T05.*)#", answer), f"{packet!r} was answered {answer!r}")


@pytest.mark.parametrize("table, running, line", [
    (mp_table([0, 1, 2]), 2, "cpu with APIC id 2 does not start"),
    (mp_table([0, 1], tail=bytes([0, 3])), 2, "mp table: entry of type 0 at 84 is cut or unknown, the rest is left out"),
    full(mp_table([1, 1, 0], count=0), 2, "cpus: 2 run"),
    full(mp_table([0, 1], tail=bytes([200]) * 8), 2, "mp table: entry of type 200 at 84 is cut"),
    full(mp_table([0, 1], checksum=1), 1, "mp table: at 0x9fc10 there is none that holds"),
    full(mp_table([0, 1], length=65535), 1, "mp table: at 0x9fc10 there is none that holds"),
    full(mp_table([0, 1], length=10), 1, "mp table: at 0x9fc10 there is none that holds"),
], ids=["absent", "cut", "twice", "unknown", "sum", "long", "short"])
def test_mp_table(make_vm, table, running, line):
    """A table of ours in the place of the firmware's: what it lists that is not there, and what is wrong with it, costs a line."""
    vm = make_vm("microvm", bios="qboot.rom", cpus="2")
    patch_at_entry(vm, FLOATING, table)
    vm.finish()
    vm.check(vm.record("boot")["cpus"] == running, f"cpus in {vm.record('boot')}")
    vm.check(vm.log.count(line) == 1, f"{line!r}")


def madt(ids):
    """An RSDP at 50000h, an XSDT and a MADT that lists these CPUs, by the kind of entry that each id takes."""
    def table(signature, body):
        data = bytearray(signature + struct.pack("<IBB6s8sIII", 36 + len(body), 3, 0, b"TEST", b"TABLE", 1, 0, 0) + body)
        data[9] = -sum(data) & 255
        return bytes(data)

    entries = b"".join(struct.pack("<BBBBI", 0, 8, 0, apic, 1) if apic < 255 else struct.pack("<BBHIII", 9, 16, 0, apic, 1, apic)
                       for apic in ids)
    entries += struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0)
    rsdp = bytearray(struct.pack("<8sB6sBIIQBxxx", b"RSD PTR ", 0, b"TEST", 2, 0, 36, 0x50040, 0))
    rsdp[8] = -sum(rsdp[:20]) & 255
    rsdp[32] = -sum(rsdp) & 255
    return (bytes(rsdp).ljust(64, b"\0") + table(b"XSDT", struct.pack("<Q", 0x50080)).ljust(64, b"\0") +
            table(b"APIC", struct.pack("<II", 0xFEE00000, 0) + entries))


def test_many_in_madt(make_direct):
    """More CPUs than there are numbers for in these APICs, and more than are taken: a line says so, and those that are there run."""
    vm = make_direct(cpus="2")
    vm.place(0x50000, madt([0, 1, *range(300, 600)]))
    vm.linux_elf(params=vm.boot_params(rsdp=0x50000)).rng().run()
    vm.check(vm.record("boot")["cpus"] == 2, f"cpus in {vm.record('boot')}")
    vm.check(vm.log.count("cpus: 238 of 302 are left out") == 1, "who is left out")
    vm.check(len(vm.warnings("APIC id")) == 1, f"{vm.warnings('APIC id')}")
    vm.working("rng0")


@pytest.mark.parametrize("options", [{}, full({"packed": True})], ids=str)
def test_queues_belong_to_cpus(make_vm, disk, options):
    """Four queues, four CPUs: all of them load the disk at once, and each queue's messages go to one CPU, another for each."""
    vm = make_vm("q35", cpus="4", words="selftest.write=1", trace=["virtio_notify", "apic_deliver_irq"])
    vm.blk(disk(16 << 20), **{"num-queues": 4, "ioeventfd": False, **options}).run()
    vm.check(len(vm.devices()["blk0"]["queues"]) == 4, f"queues of {vm.devices()['blk0']}")
    names = [name for ok, name, _ in vm.tap() if ok]
    vm.check("blk0 writes for 4 CPUs at once, and others read it" in names, f"tests {names}")
    sent, queue = collections.defaultdict(collections.Counter), None
    for event, text in vm.trace():
        values = fields(text)
        if event == "virtio_notify":
            queue = values["vq"]
        elif queue:
            # Under QEMU's big lock a notification sends its message at once: nothing traced comes in between.
            sent[queue][values["dest"]] += 1
            queue = None
    vm.check(all(len(cpus) == 1 for cpus in sent.values()), f"messages of a queue went to several CPUs: {dict(sent)}")
    vm.check(sorted(cpu for cpus in sent.values() for cpu in cpus) == ["0", "1", "2", "3"], f"messages {dict(sent)}")
    vm.check(all(count >= 16 for cpus in sent.values() for count in cpus.values()), f"messages {dict(sent)}")
