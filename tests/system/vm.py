"""One virtual machine that boots the image under QEMU, and what can be seen of it from outside.

The guest's word is never enough: a test reads the serial console, and then compares disk files, frames on a host socket, bytes
on a chardev or QEMU's own trace with what the guest claims. A VM lives in a directory of its own, is killed whatever happens,
and a failure shows the command line and the end of the console, so that it can be repeated by hand.
"""

import ctypes
import fcntl
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
IMAGE = pathlib.Path(os.environ.get("VIREO_IMAGE", ROOT / "build/x86_64/vireo.elf"))

PASSED, FAILED = 33, 35  # isa-debug-exit: 0x10 << 1 | 1 and 0x11 << 1 | 1
OVMF = "/usr/share/ovmf/OVMF.fd"  # Debian's EFI firmware
FIRMWARE_TIMEOUT = 150  # seconds, for EFI firmware and GRUB
BOOT_TIMEOUT = 60  # seconds, for a machine that does little; generous, since a busy host is slow

# Where microvm has its virtio-mmio slots: base address, bytes of each, count, and the line of the first.
MMIO_BASE, MMIO_BYTES = 0xFEB00000, 512
MMIO_SLOTS = {"microvm-words": (8, 5), "microvm-acpi": (24, 24), "microvm-acpi-1": (8, 16)}

MACHINES = {
    "q35": ["-M", "q35"],
    "pc": ["-M", "pc"],
    "microvm": ["-M", "microvm,acpi=off"],
    "microvm-words": ["-M", "microvm,acpi=off,auto-kernel-cmdline=off"],  # QEMU adds no words of its own to the command line
    "microvm-acpi": ["-M", "microvm,acpi=on"],
    "microvm-pcie": ["-M", "microvm,acpi=on,pcie=on"],  # its devices are on PCI
    "microvm-acpi-1": ["-M", "microvm,acpi=on,ioapic2=off"],
}


class VMError(AssertionError):
    """What the machine did is not what the test wants; the text has what is needed to look into it."""


class Qmp:
    """QEMU's monitor: one command, one answer; events are kept aside."""

    def __init__(self, sock):
        self.events, self.unread = [], 0
        self.socket = sock
        self.lines = self.socket.makefile("rw", encoding="utf-8")
        while "QMP" not in self.read("the greeting"):  # an event may come before it
            pass
        self("qmp_capabilities")

    def read(self, command):
        """The next line that is no event."""
        while line := self.lines.readline():
            answer = json.loads(line)
            if "event" not in answer:
                return answer
            self.events.append(answer)
        raise VMError(f"QMP closed during {command}")

    def post(self, command, **arguments):
        """A command whose answer QEMU may not live to give; the next one's caller does not see it."""
        self.unread += 1
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()

    def __call__(self, command, **arguments):
        self.post(command, **arguments)
        while self.unread:
            answer = self.read(command)
            self.unread -= 1
        if "error" in answer:
            raise VMError(f"QMP {command}: {answer['error']}")
        return answer["return"]

    def human(self, line):
        return self("human-monitor-command", **{"command-line": line})

    def close(self):
        self.lines.close()
        self.socket.close()


def connected(path):
    """A stream socket to `path`, or None: it is not made yet, or nobody listens yet."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(BOOT_TIMEOUT)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        return None
    return sock


def listens(path):
    """Whether somebody takes connections to `path`, found out without one: the file is there a moment earlier."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        return any(line.split()[3] == "00010000" and line.endswith(f" {path}\n") for line in sockets)  # __SO_ACCEPTCON


def slot_words(machine):
    """The words that QEMU would pass by itself, with acpi=off and for slots with a device: here for all slots."""
    count, line = MMIO_SLOTS[machine]
    return " ".join(f"virtio_mmio.device={MMIO_BYTES}@0x{MMIO_BASE + MMIO_BYTES * i:x}:{line + i}" for i in range(count))


def option(name, properties):
    """QEMU's "name,key=value,..."."""
    words = [name]
    for key, value in properties.items():
        if isinstance(value, bool):
            value = "on" if value else "off"
        words.append(f"{key}={str(value).replace(',', ',,')}")
    return ",".join(words)


class VM:
    """Describe, start(), then wait() for the end, or talk to the console with send() and expect()."""

    boots = []  # what booted how, and came to its end, since somebody emptied this: for docs/boots.md
    worked = []  # [driver, transport, layout] of the devices that worked, since somebody emptied this: for README's table
    loader = "-kernel"  # what brings the image into the machine
    debug_exit = True  # else the machine ends as others do

    def __init__(self, machine="q35", app="selftest", words="", memory="256M", cpu=None, bios=None, cpus="1,maxcpus=2",
                 image=IMAGE, machine_options="", trace=(), mmio_version=2):
        self.machine, self.memory, self.cpu, self.bios, self.cpus = machine, memory, cpu, bios, cpus
        self.machine_options = machine_options
        self.mmio_version = mmio_version
        self.log_port = "serial"  # or "debugcon", for machines without a serial port
        self.image = image
        self.app = app
        self.slots = slot_words(machine) if machine == "microvm-words" else ""
        self.words = [f"app={app}"] if app else []
        if words:
            self.words.append(words)
        self.trace_events = list(trace)
        # Socket paths are short by law: 107 bytes. pytest's own directories are not.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="vireo-"))
        self.args, self.argv = [], []
        self.process = self.errors = None
        self.console = bytearray()
        self.seen = 0  # what expect() has consumed
        self.arrived = threading.Condition()
        self.reader = None
        self.monitor = None
        self.plugs = []  # QMP commands that complete the machine
        self.helpers = []  # host ends, closed with the machine
        self.fds = []  # open files that QEMU inherits
        self.count = 0

    # ---- devices ----

    @property
    def mmio(self):
        return self.machine.startswith("microvm") and not self.machine.endswith("pcie")

    def device(self, kind, **properties):
        """A virtio device on whatever bus the machine has: kind is "blk", "net", "rng", "serial"..."""
        if kind == "net" and not self.mmio:
            properties = {"romfile": "", **properties}
        self.args += ["-device", option(f"virtio-{kind}-{'device' if self.mmio else 'pci'}", properties)]
        return self

    def name(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def blk(self, path, read_only=False, blkdebug=None, drive=None, **properties):
        node = self.name("disk")
        if blkdebug:
            inner = {"driver": "file", "filename": str(path)}
            spec = {"driver": "raw", "node-name": node,
                    "file": {"driver": "blkdebug", "image": inner, "inject-error": blkdebug}}
        else:
            spec = {"driver": "raw", "node-name": node, "read-only": read_only,
                    "file": {"driver": "file", "filename": str(path), "read-only": read_only}}
        spec.update(drive or {})
        self.args += ["-blockdev", json.dumps(spec)]
        return self.device("blk", drive=node, **properties)

    def null_blk(self, size=16 << 20, **properties):
        """A disk without a file: reads as zeros, forgets what is written."""
        node = self.name("disk")
        self.args += ["-blockdev", json.dumps({"driver": "null-co", "node-name": node, "size": size, "read-zeroes": True})]
        return self.device("blk", drive=node, **properties)

    def net_user(self, **properties):
        node = self.name("net")
        self.args += ["-netdev", f"user,id={node},restrict=on"]
        return self.device("net", netdev=node, **properties)

    def net_socket(self, queued=False, **properties):
        """A network whose other side is a datagram socket of the test: one datagram, one frame. Nothing is dropped on the way:
        who sends into a full socket waits. `queued`: in a queue of QEMU's, so that the device does not. It must not with a packed
        queue and EVENT_IDX: when the frame that waited is through, QEMU's device asks to be notified of what comes next, then goes on
        to take that, and so hears of nothing more."""
        node = self.name("net")
        host, guest = self.directory / f"{node}.host", self.directory / f"{node}.guest"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(host))
        sock.settimeout(0.2)
        self.helpers.append(sock)
        self.args += ["-netdev", option("dgram", {"id": node, "local.type": "unix", "local.path": guest,
                                                  "remote.type": "unix", "remote.path": host})]
        if queued:
            self.args += ["-object", f"filter-buffer,id={node}.queue,netdev={node},queue=rx,interval=1000"]
        self.device("net", netdev=node, **properties)
        return Wire(sock, guest, node)

    def net_tap(self, queues=1, **properties):
        """A network whose other side is a tap device in a network namespace of its own; needs root. Returns its Tap."""
        node = self.name("net")
        tap = Tap(queues)
        self.helpers.append(tap)
        self.fds += tap.queues
        self.args += ["-netdev", f"tap,id={node},vhost=off,{'fds' if queues > 1 else 'fd'}={':'.join(map(str, tap.queues))}"]
        if queues > 1:
            properties = {"mq": True, **({} if self.mmio else {"vectors": 2 * queues + 2}), **properties}
        self.device("net", netdev=node, **properties)
        return tap

    def rng(self, source="/dev/urandom", **properties):
        node = self.name("entropy")
        self.args += ["-object", f"rng-random,id={node},filename={source}"]
        return self.device("rng", rng=node, **properties)

    def console_socket(self, **properties):
        """A virtio console whose other side is a stream socket of the test: give the returned path to connect()."""
        node = self.name("stream")
        path = self.directory / f"{node}.sock"
        self.args += ["-chardev", f"socket,id={node},path={path},server=on,wait=off"]
        self.virtconsole(node, **properties)
        return path

    def console_file(self, sent, **properties):
        """A virtio console that is sent these bytes, and whose output is in the returned file. A socket would not do for much
        data: what the guest writes to a console while it is full, QEMU drops."""
        bus = self.name("serial")
        self.port(bus, **properties)
        return self.port_file(bus, sent, "virtconsole")

    def port_file(self, bus, sent, driver="virtserialport", **properties):
        """The same as one of several ports of `bus`; only a console is open beyond the end of what it is sent. Only QMP gives a file for
        input, so it is plugged at start()."""
        node = self.name("stream")
        incoming, outgoing = self.directory / f"{node}.in", self.directory / f"{node}.out"
        incoming.write_bytes(sent)
        backend = {"type": "file", "data": {"in": str(incoming), "out": str(outgoing)}}
        self.plugs += [("chardev-add", {"id": node, "backend": backend}),
                       ("device_add", {"driver": driver, "bus": f"{bus}.0", "chardev": node, **properties})]
        return outgoing

    def port_socket(self, bus, **properties):
        """A port of `bus`, no console, whose other side is a stream socket: the returned path, for connect(). Nothing is dropped."""
        node = self.name("stream")
        path = self.directory / f"{node}.sock"
        self.args += ["-chardev", f"socket,id={node},path={path},server=on,wait=off",
                      "-device", option("virtserialport", {"bus": f"{bus}.0", "chardev": node, **properties})]
        return path

    def null_console(self, **properties):
        node = self.name("stream")
        self.args += ["-chardev", f"null,id={node}"]
        return self.virtconsole(node, **properties)

    def virtconsole(self, chardev, **properties):
        bus = self.name("serial")
        self.port(bus, **properties)
        self.args += ["-device", f"virtconsole,chardev={chardev},bus={bus}.0"]
        return self

    def port(self, name, **properties):
        """A device that ports are plugged into; one console, unless max_ports says more."""
        properties = {"max_ports": 1, **properties}
        if not self.mmio:
            properties = {"vectors": 4, **properties}  # enough for each queue; QEMU's default is not
        self.device("serial", id=name, **properties)

    # ---- life ----

    def boot_arguments(self):
        """How the image comes into the machine."""
        return ["-kernel", str(self.image), "-append", " ".join(self.words + ([self.slots] if self.slots else []))]

    def command(self):
        machine = list(MACHINES[self.machine])
        if self.machine_options:
            machine[1] += "," + self.machine_options
        command = [QEMU, *machine, "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-m", self.memory,
                   "-smp", self.cpus, "-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1",
                   *(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"] if self.debug_exit else []),
                   "-qmp", f"unix:{self.directory}/qmp,server=on,wait=off", *self.boot_arguments()]
        if self.mmio:
            command += ["-global", f"virtio-mmio.force-legacy={'on' if self.mmio_version == 1 else 'off'}"]
        if self.log_port == "debugcon":
            command[command.index("-serial"):command.index("-serial") + 2] = ["-device", "isa-debugcon,iobase=0xe9,chardev=com1"]
        if self.cpu:
            command += ["-cpu", self.cpu]
        if self.bios:
            command += ["-bios", self.bios]
        for event in self.trace_events:
            command += ["-trace", event]
        if self.trace_events:
            command += ["-D", str(self.directory / "trace")]
        return command + [str(arg) for arg in self.args]

    def start(self, paused=False):
        """`paused`: the guest waits for go(), so that sockets can be connected before it runs."""
        if not pathlib.Path(self.image).exists():
            raise VMError(f"no image at {self.image}: run make")
        self.argv = self.command() + (["-S"] if paused or self.plugs else [])
        self.errors = open(self.directory / "stderr", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        pass_fds=self.fds)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        for command, arguments in self.plugs:
            self.qmp(command, **arguments)
        if self.plugs and not paused:
            self.go()
        return self

    def go(self):
        self.qmp("cont")
        return self

    def until(self, get, good, what, timeout=BOOT_TIMEOUT):
        """Ask for what comes without a word on the console, until it is good; returns it."""
        deadline = time.monotonic() + timeout
        while not good(got := get()):
            if time.monotonic() > deadline:
                raise self.failure(f"{what}: {got!r} after {timeout} s")
            time.sleep(0.02)
        return got

    def dial(self, path):
        """A stream socket to `path`, which QEMU may not have made yet."""
        sock = self.until(lambda: connected(path), lambda sock: sock or self.process.poll() is not None, f"no connection to {path}")
        self.check(sock, f"QEMU ended before there was a connection to {path}")
        return sock

    def connect(self, path):
        """The other side of a console_socket(), once QEMU has it: what the guest writes before that is dropped."""
        sock = self.dial(path)
        self.helpers.append(sock)
        self.until(lambda: [chardev["filename"] for chardev in self.qmp("query-chardev")],
                   lambda names: not any(name.startswith(f"disconnected:unix:{path},") for name in names), f"{path} is not taken")
        return sock

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.arrived:
                self.console += data.replace(b"\r", b"")
                self.arrived.notify_all()
        with self.arrived:
            self.arrived.notify_all()

    def wait(self, timeout=BOOT_TIMEOUT):
        """QEMU's exit status; too late is an error."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure(f"still runs after {timeout} s") from None
        self.reader.join(timeout)
        self.check(not self.reader.is_alive(), "the console did not end with QEMU")
        self.boots += self.summary(status)
        return status

    def summary(self, status):
        """One row of docs/boots.md, if there was a boot."""
        boot = next(iter(self.records("boot")), None)
        if not boot:
            return []
        firmware = str(self.bios or ("qboot" if self.machine == "microvm" else "SeaBIOS"))
        for part, name in (("loader.bin", "none"), ("OVMF", "OVMF"), ("qboot", "qboot"), ("bios", "SeaBIOS")):
            firmware = name if part in firmware else firmware
        options = f",{self.machine_options}" if self.machine_options else ""
        drivers = [[record["driver"], record["transport"], record["state"]] for record in self.devices().values()]
        return [{"machine": MACHINES[self.machine][1] + options, "firmware": firmware, "loader": self.loader, "cpu": self.cpu or "default",
                 "protocol": boot["protocol"], "cpus": boot["cpus"], "memory": boot["memory"], "devices": drivers, "status": status}]

    def run(self, timeout=BOOT_TIMEOUT, status=PASSED):
        """Start, wait for the end, and want it to end so, with an "end" record that says the same."""
        self.start()
        return self.finish(timeout, status)

    def finish(self, timeout=BOOT_TIMEOUT, status=PASSED):
        got = self.wait(timeout)
        if got != status:
            raise self.failure(f"QEMU ended with {got}, not {status}")
        if status == PASSED:
            end = self.record("end")
            self.check(end["status"] == 0, f"the end record says {end}")
        return self

    @property
    def qmp(self):
        if not self.monitor:
            self.monitor = Qmp(self.dial(self.directory / "qmp"))
        return self.monitor

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.reader.join(5)
            self.process.stdin.close()
            self.process.stdout.close()
            self.errors.close()
        if self.monitor:
            self.monitor.close()
        for helper in self.helpers:
            helper.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.worked += [[record["driver"], record["transport"], record["queues"][0]["layout"]]
                        for record in self.devices().values() if record["state"] == "ok" and record["queues"]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the console ----

    @property
    def log(self):
        """All that the console printed, without carriage returns."""
        with self.arrived:
            return self.console.decode("utf-8", "replace")

    @property
    def lines(self):
        return self.log.split("\n")

    def send(self, text):
        self.process.stdin.write(text.encode() if isinstance(text, str) else text)
        self.process.stdin.flush()

    def expect(self, pattern, timeout=BOOT_TIMEOUT):
        """Wait until `pattern` (a regular expression) is printed behind what was expected before; returns the match."""
        want = re.compile(pattern.encode(), re.MULTILINE)
        deadline = time.monotonic() + timeout
        with self.arrived:
            while True:
                if match := want.search(self.console, self.seen):
                    self.seen = match.end()
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or not self.reader.is_alive():
                    break
                self.arrived.wait(min(left, 0.5))
        raise self.failure(f"{pattern!r} was not printed")

    # ---- what it said ----

    def records(self, event=None):
        found = []
        for line in self.lines[:-1]:  # what is complete
            if line.startswith("@vireo "):
                try:
                    record = json.loads(line[len("@vireo "):])
                except ValueError as error:
                    raise self.failure(f"a record that is no JSON: {line!r}: {error}") from None
                if event is None or record.get("event") == event:
                    found.append(record)
        return found

    def record(self, event):
        found = self.records(event)
        if len(found) != 1:
            raise self.failure(f"{len(found)} records {event!r}, not one")
        return found[0]

    def devices(self):
        """The device records by name; the latest of each."""
        return {record["name"]: record for record in self.records("device")}

    def working(self, *names):
        """Exactly these devices are there, and all work."""
        devices = self.devices()
        self.check(sorted(devices) == sorted(names), f"devices {sorted(devices)}, not {sorted(names)}")
        for device in devices.values():
            self.check(device["state"] == "ok", f"device {device}")
        return devices

    def tap(self):
        """[(ok, name, directive)] of the program's TAP, whose plan must match."""
        tests, plan = [], None
        for line in self.lines:
            if match := re.match(r"1\.\.(\d+)\s*$", line):
                plan = int(match[1])
            elif match := re.match(r"(not ok|ok) (\d+)(?: - (.*?))?(?: # (SKIP.*))?\s*$", line):
                tests.append((match[1] == "ok", match[3] or "", match[4] or ""))
                self.check(int(match[2]) == len(tests), f"TAP numbers do not count up: {line!r}")
        self.check(plan == len(tests), f"TAP plan {plan}, {len(tests)} tests")
        return tests

    def passed(self, pattern):
        """At least one test of that name ran and passed (not skipped), and none failed."""
        found = [test for test in self.tap() if re.search(pattern, test[1])]
        self.check(any(ok and not directive for ok, _, directive in found), f"no test {pattern!r} passed: {found}")
        self.check(all(ok for ok, _, _ in found), f"a test {pattern!r} failed: {found}")

    def warnings(self, pattern):
        """Log lines that match."""
        return [line for line in self.lines if line.startswith("[") and re.search(pattern, line)]

    def trace(self):
        """QEMU's trace: [(event, text)]."""
        with open(self.directory / "trace", encoding="utf-8", errors="replace") as file:
            return [tuple(line.rstrip("\n").partition(" ")[::2]) for line in file]

    def check(self, condition, message):
        if not condition:
            raise self.failure(message)

    def failure(self, message):
        errors = ""
        if self.errors and not self.errors.closed:
            self.errors.seek(0)
            errors = self.errors.read().strip()
        tail = "\n".join(self.lines[-60:])
        return VMError(f"{message}\n--- command\n{shlex.join(self.argv)}\n--- QEMU said\n{errors}\n"
                       f"--- end of the console\n{tail}")


class Daemon:
    """A back end in a process of its own that serves one machine by a socket of `name`; it is killed with that."""

    def __init__(self, vm, name):
        self.vm = vm
        self.socket, self.log = vm.directory / f"{name}.sock", vm.directory / f"{name}.log"
        vm.machine_options = "memory-backend=ram"
        vm.args += ["-object", f"memory-backend-memfd,id=ram,size={vm.memory},share=on"]
        vm.helpers.append(self)
        self.start()

    def command(self):
        raise NotImplementedError

    def start(self):
        """Also once more, when it was closed."""
        self.socket.unlink(missing_ok=True)
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([str(word) for word in self.command()], stdout=log, stderr=log)
        self.vm.until(lambda: listens(self.socket), lambda listening: listening or self.process.poll() is not None, "nobody listens")
        assert self.process.poll() is None, self.log.read_text()

    def close(self):
        self.process.kill()
        self.process.wait()


class FromDisk(VM):
    """A machine whose firmware boots from a disk or a CD."""

    loader = "disk or CD"

    def boot_arguments(self):
        return []

    def cd(self, path):
        self.args += ["-drive", f"file={path},format=raw,media=cdrom,readonly=on"]
        return self


class Wire:
    """The host's end of net_socket(): a datagram is a frame."""

    def __init__(self, sock, guest, netdev):
        self.socket, self.guest, self.netdev = sock, str(guest), netdev

    def receive(self):
        """A frame, or None when none came for a while."""
        try:
            return self.socket.recv(65536)
        except socket.timeout:
            return None

    def send(self, frame):
        """As patient as the guest is slow. False: nobody takes it for a minute, or ever again."""
        for _ in range(300):
            try:
                return self.socket.sendto(frame, self.guest) == len(frame)
            except socket.timeout:
                continue
            except OSError:
                break
        return False


class Tap:
    """A tap device with several queues, in a network namespace where nothing else is, and a socket that sees its frames: each behind the
    10 bytes of a virtio-net header (Linux's), as they are, not cut, their checksums not made."""

    TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x400454CA, 0x2, 0x1000, 0x4000, 0x100
    SIOCSIFFLAGS, IFF_UP, CLONE_NEWNET = 0x8914, 0x1, 0x40000000
    SOL_PACKET, PACKET_VNET_HDR, ETH_P_ALL, SO_RCVBUFFORCE = 263, 15, 3, 33

    def __init__(self, queues):
        self.queues, self.error = [], None
        maker = threading.Thread(target=self._make, args=(queues,))  # a namespace is a thread's
        maker.start()
        maker.join()
        if self.error:
            self.close()
            raise self.error

    @staticmethod
    def missing():
        """Why there can be none here; None: there can."""
        return None if os.geteuid() == 0 and os.path.exists("/dev/net/tun") else "a tap device needs root and /dev/net/tun"

    def _make(self, queues):
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(self.CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            flags = self.IFF_TAP | self.IFF_NO_PI | self.IFF_VNET_HDR | (self.IFF_MULTI_QUEUE if queues > 1 else 0)
            for _ in range(queues):
                self.queues.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
                fcntl.ioctl(self.queues[-1], self.TUNSETIFF, struct.pack("16sH22x", b"tap0", flags))
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ETH_P_ALL))
            self.socket.setsockopt(self.SOL_PACKET, self.PACKET_VNET_HDR, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 64 << 20)  # whoever reads may come late
            fcntl.ioctl(self.socket, self.SIOCSIFFLAGS, struct.pack("16sH22x", b"tap0", self.IFF_UP))
            self.socket.bind(("tap0", self.ETH_P_ALL))
            self.socket.settimeout(0.2)
        except OSError as error:
            self.error = error

    def receive(self):
        """(header, frame) that the guest sent, or None when none came for a while."""
        try:
            data, address = self.socket.recvfrom(1 << 17)
        except socket.timeout:
            return None
        return None if address[2] == socket.PACKET_OUTGOING else (data[:10], data[10:])

    def send(self, header, frame):
        self.socket.send(header + frame)

    def close(self):
        for fd in self.queues:
            os.close(fd)
        if hasattr(self, "socket"):
            self.socket.close()
