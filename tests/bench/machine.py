"""QEMU's command lines, the same for every guest but for the kernel's own words, and one run of one of them."""

import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time

QEMU = os.environ.get("QEMU") or "qemu-system-x86_64"
ACCEL = os.environ.get("ACCEL") or "tcg"

# Without ACPI QEMU tells the image where a microvm's devices are, by words on its command line; Linux needs ACPI there, and a clock.
MACHINES = {
    "q35": ["-M", "q35"],
    "q35-qboot": ["-M", "q35", "-bios", "qboot.rom"],
    "microvm": ["-M", "microvm,acpi=off"],
    "microvm-qboot": ["-M", "microvm,acpi=off", "-bios", "qboot.rom"],
    "microvm-acpi": ["-M", "microvm,acpi=on,rtc=on"],
}


class Failed(Exception):
    """A run that gave no result; the text says why."""


class Guest:
    """A kernel and what its records begin with; `words` is always on its command line."""

    def __init__(self, name, kernel, words="", prefix="@vireo ", initrd=None, memory="256M"):
        self.name, self.kernel, self.words, self.prefix, self.initrd, self.memory = name, str(kernel), words, prefix, initrd, memory


def machine(name, cpus=1):
    # QEMU before 8.1 drops the guest's barriers where only one CPU is possible, hence maxcpus.
    return [QEMU, *MACHINES[name], "-accel", ACCEL, "-cpu", "host" if ACCEL == "kvm" else "max",
            "-smp", f"{cpus},maxcpus={max(cpus, 2)}",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


def disk(bus="pci", options="", gigabytes=1):
    """A disk whose other side costs next to nothing: reads give whatever is in the buffer."""
    return ["-blockdev", f"driver=null-co,node-name=disk0,size={gigabytes << 30},read-zeroes=off",
            "-device", f"virtio-blk-{bus},drive=disk0{options}"]


def network(bus="pci", netdev="", options=""):
    """Without a netdev QEMU drops what is sent, at full speed."""
    peer = ["-netdev", netdev] if netdev else []
    return [*peer, "-device", f"virtio-net-{bus}{',netdev=net0' if netdev else ''}{',romfile=' if bus == 'pci' else ''}{options}"]


class Run:
    """What came of a run: `seconds` from exec to the line that was waited for, `records`, QEMU's `errors`, the machine's `load`."""

    def __init__(self, guest, command):
        self.guest, self.command = guest, command
        self.load = os.getloadavg()[0]
        self.records, self.text, self.seconds = [], "", None

    def record(self, **wanted):
        for record in self.records:
            if all(record.get(key) == value for key, value in wanted.items()):
                return record
        raise Failed(f"{self.guest.name}: no record {wanted}; it said: {self.text.strip()[-300:]!r} {self.errors.strip()[-300:]!r}\n"
                     f"    {shlex.join(self.command)}")

    def bench(self):
        record = self.record(event="bench")
        if record.get("errors"):
            raise Failed(f"{self.guest.name}: {record['errors']} errors: {record}")
        return record

    def rate(self):
        """Operations per second."""
        record = self.bench()
        return record["ops"] / record["ns"] * 1e9


def run(guest, command, words, marker="", timeout=60, started=None, plugin=None, log=None):
    """Boot `guest`; time the first line that contains `marker`. `started(process)` runs beside it, until the end. What a plugin or QEMU's
    own log of that kind says is in `counted`."""
    command = [*command, "-m", guest.memory, "-kernel", guest.kernel, "-append", f"{guest.words} {words}".strip()]
    if guest.initrd:
        command += ["-initrd", str(guest.initrd)]
    with tempfile.TemporaryFile() as errors, tempfile.NamedTemporaryFile() as counts:
        if plugin:
            command += ["-plugin", str(plugin)]
        if plugin or log:
            command += ["-d", log or "plugin", "-D", counts.name]
        result = Run(guest, command)
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        helper = threading.Thread(target=started, args=(process,), daemon=True) if started else None
        if helper:
            helper.start()
        output = bytearray()
        while data := os.read(process.stdout.fileno(), 65536):
            output += data
            if result.seconds is None and marker and marker.encode() in output:
                result.seconds = time.monotonic() - start
        process.stdout.close()
        process.wait()
        timed_out = not killer.is_alive()
        killer.cancel()
        if helper:
            helper.join(5)
        errors.seek(0)
        result.errors = errors.read().decode(errors="replace")
        result.counted = counts.read().decode(errors="replace")
    result.text = output.decode(errors="replace").replace("\r", "")
    if timed_out:
        raise Failed(f"{guest.name}: no end within {timeout} s; it said: {result.text.strip()[-300:]!r}\n    {shlex.join(command)}")
    for line in result.text.split("\n"):
        if line.startswith(guest.prefix):
            try:
                result.records.append(json.loads(line[len(guest.prefix):]))
            except ValueError:
                raise Failed(f"{guest.name}: a record that is no JSON: {line!r}") from None
    if marker and result.seconds is None:
        raise Failed(f"{guest.name}: {marker!r} was not printed; it said: {result.text.strip()[-300:]!r}\n    {shlex.join(command)}")
    return result


def instructions(result):
    """Guest instructions per operation, by the plugin."""
    match = re.search(r"instructions (\d+)", result.counted)
    if not match or not int(match[1]):
        raise Failed(f"{result.guest.name}: the instruction counter saw no markers")
    return int(match[1]) / result.bench()["ops"]
