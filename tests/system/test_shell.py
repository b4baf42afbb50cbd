"""The shell by hand, over the serial console; and what the host sees of it."""

import re
import zlib

import pytest

from pattern import pattern
from test_net import Echo
from vm import BOOT_TIMEOUT

MIB = 1 << 20
PROMPT = r"^vireo> "


class Shell:
    """One command, its output."""

    def __init__(self, vm):
        self.vm = vm
        vm.start()
        vm.expect(PROMPT)

    def __call__(self, line, timeout=BOOT_TIMEOUT):
        self.vm.send(line + "\r")
        self.vm.expect(r"(?:\[ .*\n)*".join(map(re.escape, line)) + r"\n")  # log lines may come in between
        start = self.vm.seen
        end = self.vm.expect(PROMPT, timeout).start()
        with self.vm.arrived:
            return self.vm.console[start:end].decode()

    def poweroff(self, status=33):
        self.vm.send("poweroff\r")
        self.vm.finish(status=status)


def check_talk(shell, host, name):
    """Text both ways between the guest's `name` and the host's socket."""
    shell(f"console write {name} to the host")
    got = b""
    while len(got) < 13 and (data := host.recv(100)):  # in as many pieces as the guest wrote
        got += data
    shell.vm.check(got == b"to the host\r\n", f"the host got {got}")
    host.sendall(b"to the guest")
    shell.vm.until(lambda: shell(f"console read {name}"), lambda got: "to the guest" in got, "the guest gets something else")


@pytest.fixture
def machine(make_vm, disk):
    """Disk, network, entropy, console; and a shell on it."""
    vm = make_vm(app="shell")
    vm.path = disk(MIB, pattern(1, 0, MIB))
    vm.blk(vm.path, serial="an-id")
    vm.net_user()
    vm.rng()
    vm.null_console()
    return vm


def test_help(machine):
    shell = Shell(machine)
    commands = re.findall(r"^  (\w+)", shell("help"), re.MULTILINE)
    expected = {"help", "devices", "features", "blk", "net", "rng", "log", "poweroff", "crash"}
    machine.check(expected <= set(commands), f"{commands}")
    for command in commands:
        machine.check("usage: " + command in shell(f"help {command}"), f"help {command}")
    shell.poweroff()


def test_devices_and_features(machine):
    shell = Shell(machine)
    listed = shell("devices")
    for name in ("blk0", "net0", "rng0", "console0"):
        machine.check(re.search(rf"^{name} ", listed, re.MULTILINE), f"no {name} in {listed}")
    features = shell("features blk0")
    machine.check("VIRTIO_F_VERSION_1" in features or "VERSION_1" in features, features)
    machine.check(f"0x{int(machine.devices()['blk0']['negotiated'], 0):016x}" in features, features)
    shell.poweroff()


def test_blk(machine):
    """Read, write, fill, hash; the file tells whether it was so."""
    shell = Shell(machine)
    first = shell("blk read blk0 0")
    hexadecimal = "".join(line[10:57].replace(" ", "") for line in first.splitlines())
    machine.check(bytes.fromhex(hexadecimal) == pattern(1, 0, 512), f"read: {first}")
    machine.check(f"0x{zlib.crc32(pattern(1, 0, MIB)):08x}" in shell("blk hash blk0"), "hash of the disk")
    machine.check(f"0x{zlib.crc32(pattern(1, 10 * 512, 7 * 512)):08x}" in shell("blk hash blk0 10 7"), "hash of seven sectors")
    shell('blk write blk0 5 "two words"')
    shell("blk fill blk0 100 50 99")
    shell("blk flush blk0")
    machine.check("an-id" in shell("blk id blk0"), "id")
    expected = bytearray(pattern(1, 0, MIB))
    expected[5 * 512:5 * 512 + 9] = b"two words"
    expected[100 * 512:150 * 512] = pattern(99, 100 * 512, 50 * 512)
    machine.check(machine.path.read_bytes() == expected, "the disk is not what was written")
    shell.poweroff()


def test_blk_errors(make_vm, disk):
    """QEMU fails one read, one write and one flush; each is told, and the next one works. Past the end and read-only likewise."""
    vm = make_vm(app="shell")
    path, fixed = disk(MIB), disk(MIB, pattern(4, 0, MIB))
    rules = [{"event": "none", "iotype": iotype, "errno": 5, "once": True, "sector": sector}
             for iotype, sector in (("read", 10), ("write", 20))]
    rules.append({"event": "none", "iotype": "flush", "errno": 5, "once": True})
    vm.blk(path, blkdebug=rules, werror="report")
    vm.blk(fixed, read_only=True)
    shell = Shell(vm)

    def fails(command, text):
        vm.check(text in shell(command), f"{command} did not fail")

    def works(command):
        output = shell(command)
        vm.check("(-" not in output, f"{command} failed: {output}")

    fails("blk read blk0 10", "input/output error")
    works("blk read blk0 10")
    fails("blk fill blk0 20 1 8", "input/output error")
    works("blk fill blk0 20 1 8")
    fails("blk flush blk0", "input/output error")
    works("blk flush blk0")
    fails("blk read blk0 2048", "past the end")
    fails("blk read blk0 2047 2", "past the end")
    fails("blk fill blk0 2048 1", "past the end")
    fails("blk read blk0 0xffffffffffffffff", "past the end")
    works("blk read blk0 2047")
    fails("blk write blk1 0 text", "read-only")
    fails("blk fill blk1 0 1", "read-only")
    works("blk read blk1 0")
    shell.poweroff()
    expected = bytes(20 * 512) + pattern(8, 20 * 512, 512) + bytes(MIB - 21 * 512)
    vm.check(path.read_bytes() == expected, "the disk is not what was written")
    vm.check(fixed.read_bytes() == pattern(4, 0, MIB), "the read-only disk changed")


def test_net(make_vm):
    vm = make_vm(app="shell")
    vm.net_user()
    wire = vm.net_socket()
    host = Echo(wire, 1)
    shell = Shell(vm)
    vm.check("10.0.2.2 answered" in shell("net ping 10.0.2.2"), "no answer")
    vm.check(shell("net ping 10.0.2.2 5 net0").count("answered") == 5, "not five answers")
    vm.check("up" in shell("net status"), "status")
    shell("net send net1 20 100")
    vm.qmp("set_link", name=wire.netdev, up=False)
    vm.expect("net1: link down")
    vm.check("down" in shell("net status"), "status")
    vm.qmp("set_link", name=wire.netdev, up=True)
    vm.expect("net1: link up")
    shell.poweroff()
    host.finish()
    vm.check(host.all.count(100) == 20, f"frames of these lengths came: {host.all}")


def test_rng(make_vm, tmp_path):
    """The bytes that are shown are those of the source."""
    source = tmp_path / "source"
    source.write_bytes(pattern(99, 0, MIB))
    vm = make_vm(app="shell")
    vm.rng(source)
    shell = Shell(vm)
    shown = "".join(line[10:57].replace(" ", "") for line in shell("rng 64").splitlines())
    vm.check(bytes.fromhex(shown) == pattern(99, 0, 64), f"other bytes: {shown}")
    shell.poweroff()


def test_console(make_vm):
    """Text both ways through the virtio console."""
    vm = make_vm(app="shell")
    path = vm.console_socket()
    shell = Shell(vm)
    host = vm.connect(path)
    check_talk(shell, host, "console0")
    shell.poweroff()


@pytest.mark.parametrize("status, ends", [("", 33), ("0", 33), ("1", 35), ("255", 35)])
def test_poweroff(make_vm, status, ends):
    vm = make_vm(app="shell")
    Shell(vm)
    vm.send(f"poweroff {status}\r")
    vm.finish(status=ends)
    vm.check(vm.record("end")["status"] == int(status or 0), f"{vm.record('end')}")


def test_reset(machine):
    """A device that was reset works as before."""
    shell = Shell(machine)
    for name in ("blk0", "net0", "rng0", "console0"):
        machine.check(f"{name}: ok" in shell(f"reset {name}"), f"reset {name}")
    machine.check(f"0x{zlib.crc32(pattern(1, 0, MIB)):08x}" in shell("blk hash blk0"), "hash of the disk")
    machine.check("answered" in shell("net ping 10.0.2.2"), "no answer")
    machine.check("run: " not in shell("run selftest", 60), "no selftest")
    machine.check(not [test for test in machine.tap() if not test[0]], "a test failed")
    shell.poweroff()


BAD = """
frobnicate
blk
blk read
blk read blk9 0
blk read blk0
blk read blk0 x
blk read blk0 -1
blk read blk0 0 0
blk read blk0 0 1000000
blk read net0 0
blk write blk0
blk write blk0 0
blk fill blk0 0 99999999999999999999999
blk fill blk0 18446744073709551615 18446744073709551615
blk hash blk0 5000 1
blk hash nothing
blk format blk0
features
features nothing
net
net send
net send net9
net send net0 0
net send net0 1 5
net send net0 1 70000
net ping
net ping nowhere
net ping 1.2.3
net ping 256.1.1.1
net ping 10.0.2.2 0
net ping 10.0.2.2 1 net9
rng
rng 0
rng -1
rng 99999999
rng rng9 5
console write
console write console9 text
console read blk0
log loud
run
run nothing
run shell
reset
reset nothing
poweroff 256
poweroff now
crash
crash nicely
echo
mem 1
uptime x
""".splitlines()[1:]
BAD += ['"', 'echo "open', "%s%n%s%n", "\\", "a" * 300, " " * 200, "x " * 100, "\t", "\x1b[A\x1b[99~\x1b[",
        "\x00\x01\x02", "\x80\xff", "caf\u00e9"]


def test_bad_input(machine):
    """A line each, never a reset; the shell is usable behind every one."""
    shell = Shell(machine)
    for number, line in enumerate(BAD):
        machine.send(line + "\r")
        machine.check(f"still-here-{number}" in shell(f"echo still-here-{number}"), f"{line!r} ended it")
    machine.check(machine.path.read_bytes() == pattern(1, 0, MIB), "the disk changed")
    shell.poweroff()
    machine.check(len(machine.records("boot")) == 1, "it booted again")


def test_log_level(machine):
    """log= and `log`: what is less important is not printed."""
    machine.words.append("log=error")
    shell = Shell(machine)
    machine.check(not machine.warnings(""), f"{machine.warnings('')}")
    shell("log info")
    shell("reset net0")
    machine.check(machine.warnings("net0"), "nothing is logged")
    shell.poweroff()
