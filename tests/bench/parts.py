"""What is measured. Each part is a function of the bench that fills `bench.results` with plain data; report.py makes the page of it.

A round runs every contender once, so that whatever else the machine does hits all of them alike; medians are over the rounds.
"""

import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import machine
from linux import run as shell
from machine import Failed

DEPTHS = [1, 2, 4, 8, 16, 32, 64, 128]
BURSTS = [1, 2, 4, 8, 16, 32, 64]
# Operations for each depth or burst: a few tenths of a second.
BLK_OPS = [5000, 8000, 12000, 20000, 30000, 40000, 40000, 40000]
TX_OPS = [30000, 50000, 80000, 120000, 160000, 200000, 200000]
RX_OPS = 200000
MODES = ["bench.mode=irq", "bench.mode=poll virtio.irq=poll"]  # the device is told not to interrupt who polls


def listed(values):
    return ",".join(map(str, values))


def summary(rates):
    return {"median": statistics.median(rates), "least": min(rates), "most": max(rates), "runs": len(rates)}


class Series:
    """Rates by (guest, way, parameter), over rounds."""

    def __init__(self):
        self.rates = {}

    def add(self, guest, way, parameter, rate):
        self.rates.setdefault((guest, way, parameter), []).append(rate)

    def table(self):
        return [{"guest": guest, "way": way, "parameter": parameter, **summary(rates)}
                for (guest, way, parameter), rates in self.rates.items()]


def take(bench, series, guest, command, words, parameter, **options):
    """One run, whose records all count; a failure is told and the rest goes on. `options` are machine.run()'s."""
    try:
        result = machine.run(guest, command, words, **options)
        if not result.records:
            bench.say(f"  {guest.name} said nothing, again: {words}")
            result = machine.run(guest, command, words, **options)
        result.bench()
        for record in result.records:
            if record.get("event") == "bench":
                series.add(guest.name, record["mode"], record[parameter], record["ops"] / record["ns"] * 1e9)
        bench.note(result)
    except Failed as error:
        bench.failed(str(error))
    except KeyError as error:
        bench.failed(f"{guest.name}: no {error} in the record of {words!r}")


# ---- blk ----

def blk(bench):
    """4 KiB reads over depth, by interrupt and polled."""
    q35, series = machine.machine("q35"), Series()
    one, two = machine.disk(), machine.disk(options=",num-queues=2")
    for _ in bench.rounds("blk"):
        work = f"load=blk-read load.qd={listed(DEPTHS)} load.ops={listed(BLK_OPS)}"
        take(bench, series, bench.linux, q35 + one, work, "qd", timeout=240)
        # Linux polls on a queue of its own.
        take(bench, series, bench.linux, q35 + two, f"{work} load.way=iopoll virtio_blk.poll_queues=1", "qd", timeout=240)
        for mode in MODES:
            for depth, ops in zip(DEPTHS, BLK_OPS):
                take(bench, series, bench.vireo, q35 + one, f"bench.name=blk-read bench.qd={depth} bench.ops={4 * ops} {mode}", "qd")
    bench.results["blk"] = series.table()


def fio(bench):
    """The same by fio, to see that the load generator is not the slow one."""
    if not bench.fio:
        bench.say("  fio is not here: skipped")
        return
    import json
    result = machine.run(bench.fio, machine.machine("q35") + machine.disk(), "load=blk-read load.way=fio load.qd=32",
                         timeout=180)
    text = result.text[result.text.find("{\n"):]
    try:
        bench.results["fio"] = json.JSONDecoder().raw_decode(text)[0]["jobs"][0]["read"]["iops"]
    except (ValueError, KeyError, IndexError):
        raise Failed(f"fio's result is not understood: {result.text.strip()[-300:]!r}") from None


# ---- net ----

def tx(bench):
    """Frames of 60 bytes over burst; QEMU drops them, as the card has no peer."""
    command, series = machine.machine("q35") + machine.network(), Series()
    for _ in bench.rounds("tx"):
        take(bench, series, bench.linux, command, f"load=net-tx load.burst={listed(BURSTS)} load.ops={listed(TX_OPS)}", "burst",
             timeout=240)
        for mode in MODES:
            for burst, ops in zip(BURSTS, TX_OPS):
                take(bench, series, bench.vireo, command, f"bench.name=net-tx bench.burst={burst} bench.ops={4 * ops} {mode}", "burst")
    bench.results["tx"] = series.table()


class Sender:
    """Frames into QEMU's datagram network, as fast as it takes them, until it ends. Nothing is lost on the way: who sends into a full
    socket waits, and QEMU does not read while the guest's ring is full."""

    def __init__(self, directory):
        self.host, self.guest = f"{directory}/host", f"{directory}/guest"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.host)
        self.netdev = f"dgram,id=net0,local.type=unix,local.path={self.guest},remote.type=unix,remote.path={self.host}"
        self.program = None

    def run(self, process):
        while process.poll() is None and not os.path.exists(self.guest):
            time.sleep(0.01)
        subprocess.run([str(self.program), self.guest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)


def receive(bench, guest, words, options="", beside=None, **more):
    """A run while frames come in; `beside(process)` runs as well."""
    with tempfile.TemporaryDirectory(prefix="vireo-") as directory:
        sender = Sender(directory)
        sender.program = bench.sender

        def started(process):
            if beside:
                threading.Thread(target=beside, args=(process,), daemon=True).start()
            sender.run(process)
        try:
            return machine.run(guest, machine.machine("q35") + machine.network(netdev=sender.netdev, options=options), words,
                               started=started, timeout=120, **more)
        finally:
            sender.socket.close()


def rx(bench):
    """Frames of 60 bytes, counted behind the driver and dropped."""
    series = Series()
    for _ in bench.rounds("rx"):
        ways = [(bench.linux, f"load=net-rx load.ops={RX_OPS}")]
        ways += [(bench.vireo, f"bench.name=net-rx bench.ops={RX_OPS} {mode}") for mode in MODES]
        for guest, words in ways:
            try:
                result = receive(bench, guest, words)
                series.add(guest.name, result.bench()["mode"], 0, result.rate())
                lost = result.bench().get("lost")
                if lost is not None:
                    totals = bench.results.setdefault("rx_lost", {})
                    totals[guest.name] = totals.get(guest.name, 0) + lost
                bench.note(result)
            except Failed as error:
                bench.failed(str(error))
    bench.results["rx"] = series.table()


# ---- guest instructions, notifications, interrupts ----

COUNTED = [
    # row, Linux's words, Vireo's words, whether Linux needs a second queue
    ("blk read, depth 32", "load=blk-read load.qd=32 load.ops=20000", "bench.name=blk-read bench.qd=32 bench.ops=50000", False),
    ("blk read, depth 32, polled", "load=blk-read load.qd=32 load.ops=20000 load.way=iopoll virtio_blk.poll_queues=1",
     "bench.name=blk-read bench.qd=32 bench.ops=50000 bench.mode=poll virtio.irq=poll", True),
    ("blk read, depth 1", "load=blk-read load.qd=1 load.ops=5000 load.way=pread", "bench.name=blk-read bench.qd=1 bench.ops=5000", False),
    ("net tx, burst 32", "load=net-tx load.burst=32 load.ops=100000", "bench.name=net-tx bench.burst=32 bench.ops=100000", False),
    ("net rx", "load=net-rx load.ops=50000", "bench.name=net-rx bench.ops=50000", False),
]


def counted(bench, guest, row, words, queues, **options):
    """With ioeventfd=off the device acts at once, in the guest's own time: what is counted is work, not waiting."""
    if row.startswith("net rx"):
        return receive(bench, guest, words, ",ioeventfd=off", **options)
    device = (machine.disk(options=",ioeventfd=off" + (",num-queues=2" if queues else "")) if row.startswith("blk")
              else machine.network(options=",ioeventfd=off"))
    return machine.run(guest, machine.machine("q35") + device, words, timeout=120, **options)


def instructions(bench):
    """Guest instructions per operation, by count.c."""
    rows = []
    for row, linux_words, vireo_words, queues in COUNTED:
        figures = {}
        for guest, words in ((bench.linux, linux_words), (bench.vireo, vireo_words)):
            try:
                figures[guest.name] = machine.instructions(counted(bench, guest, row, words, queues and guest is bench.linux,
                                                                   plugin=bench.plugin))
            except Failed as error:
                bench.failed(str(error))
        rows.append({"row": row, **figures})
        bench.say(f"  {row}: " + ", ".join(f"{name} {value:,.0f}" for name, value in figures.items()))
    bench.results["instructions"] = rows


def traced(bench, guest, row, words):
    """(notifications, interrupts) of a run, as QEMU's trace counts them."""
    with tempfile.NamedTemporaryFile() as log:
        options = ["-trace", "virtio_queue_notify", "-trace", "virtio_notify", "-D", log.name]
        device = machine.disk(options=",ioeventfd=off") if row.startswith("blk") else machine.network(options=",ioeventfd=off")
        result = machine.run(guest, machine.machine("q35") + device + options, words, timeout=120)
        text = log.read().decode(errors="replace")
    return text.count("virtio_queue_notify "), text.count("virtio_notify "), result.bench()["ops"]


def counts(bench):
    """Notifications and interrupts per request: the difference of two runs of different length, so that the boot's do not count."""
    rows = []
    for row, linux_words, vireo_words, queues in COUNTED:
        if queues or row == "net rx":
            continue
        figures = {}
        for guest, words in ((bench.linux, linux_words), (bench.vireo, vireo_words)):
            prefix = "load" if guest is bench.linux else "bench"
            try:
                # The warm-up has its most, 2,000 operations, in both.
                short = traced(bench, guest, row, f"{strip(words, f'{prefix}.ops')} {prefix}.ops=22000")
                long = traced(bench, guest, row, f"{strip(words, f'{prefix}.ops')} {prefix}.ops=42000")
                # pktgen's warm-up grows with the run.
                ops = (long[2] - short[2]) * (1.1 if guest is bench.linux and row.startswith("net") else 1)
                figures[guest.name] = [(long[0] - short[0]) / ops, (long[1] - short[1]) / ops]
            except Failed as error:
                bench.failed(str(error))
        rows.append({"row": row, **figures})
        bench.say(f"  {row}: " + ", ".join(f"{name} {value[0]:.4f} and {value[1]:.4f}" for name, value in figures.items()))
    bench.results["counts"] = rows


def strip(words, key):
    return " ".join(word for word in words.split() if not word.startswith(key + "="))


# ---- boot ----

BOOTS = [("q35", "pci"), ("q35-qboot", "pci"), ("microvm", "device"), ("microvm-qboot", "device"), ("microvm-acpi", "device")]


def boot(bench):
    """From the exec of QEMU to the program's first line, with a disk and a card at DRIVER_OK; a kernel of one character beside it."""
    times = {}

    def once(name, guest, command, words, marker):
        try:
            times.setdefault((name, guest.name), []).append(machine.run(guest, command, words, marker=marker).seconds * 1000)
        except Failed as error:
            bench.failed(str(error))

    for number in bench.rounds("boot", bench.boot_runs):
        for name, bus in BOOTS:
            command = boot_command(name, bus)
            once(name, bench.onechar, command, "", "1")
            once(name, bench.vireo, command, "bench.name=ready", '"name":"ready","devices":2,"errors":0}')
            # A general kernel takes a second or two: fewer of those. On a microvm it needs ACPI.
            if number < bench.runs and name in ("q35", "microvm-acpi"):
                once(name, bench.linux, command, "load=boot", '"name":"boot"')
    bench.results["boot"] = [{"machine": name, "guest": guest, **summary(values)} for (name, guest), values in times.items()]
    bench.results["translated"] = {name: translated(bench, boot_command(name, bus)) for name, bus in BOOTS if machine.ACCEL == "tcg"}


def boot_command(name, bus):
    legacy = ["-global", "virtio-mmio.force-legacy=false"] if bus == "device" else []
    return machine.machine(name) + machine.disk(bus) + machine.network(bus) + legacy


def translated(bench, command):
    """The blocks and the guest instructions that QEMU translates, more than for one character."""
    logs = [machine.run(guest, command, words, log="in_asm").counted for guest, words in ((bench.onechar, ""), (bench.vireo, "bench.name=ready"))]
    return [len(re.findall(what, logs[1], re.MULTILINE)) - len(re.findall(what, logs[0], re.MULTILINE)) for what in ("^IN:", "^0x")]


# ---- CPUs ----

def scaling(bench):
    """4 KiB reads at depth 32 from 1 to 4 CPUs, each with a queue of its own."""
    series = Series()
    cores = list(range(1, 5))
    command = machine.machine("q35", 4) + machine.disk(options=",num-queues=4")
    for _ in bench.rounds("scaling", min(bench.runs, 3)):
        for cpus in cores:
            ops = 30000 * cpus
            take(bench, series, bench.linux, command, f"load=blk-read load.ops={ops} load.cpus={cpus}", "cpus", timeout=240)
            take(bench, series, bench.vireo, command, f"bench.name=blk-read bench.ops={4 * ops} bench.cpus={cpus}", "cpus")
    bench.results["scaling"] = series.table()


# ---- where QEMU's time goes ----

PROFILED = [
    ("blk read, depth 32", "blk", "bench.name=blk-read bench.qd=32"),
    ("blk read, depth 1, polled", "blk", "bench.name=blk-read bench.qd=1 bench.mode=poll virtio.irq=poll"),
    ("blk read, depth 1", "blk", "bench.name=blk-read bench.qd=1"),
    ("net tx, burst 32", "net", "bench.name=net-tx bench.burst=32"),
    ("net rx", "rx", "bench.name=net-rx"),
]
ENDLESS = " bench.ops=4000000000"


def profile(bench):
    """perf on QEMU while Vireo runs: how much of its time is the guest's code, how much the device's and the host's."""
    if not shutil.which("perf"):
        bench.say("  perf is not here (Debian's linux-perf): skipped")
        return
    rows = []
    for row, kind, words in PROFILED:
        with tempfile.NamedTemporaryFile() as data:
            def record(process, data=data):
                time.sleep(1)  # past the boot and the warm-up
                subprocess.run(["perf", "record", "-q", "-F", "999", "-o", data.name, "-p", str(process.pid), "--", "sleep", "2"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                process.kill()
            try:
                if kind == "rx":
                    receive(bench, bench.vireo, words + ENDLESS, beside=record)
                else:
                    device = machine.disk() if kind == "blk" else machine.network()
                    machine.run(bench.vireo, machine.machine("q35") + device, words + ENDLESS, started=record, timeout=120)
                rows.append({"row": row, **shares(data.name)})
            except (Failed, RuntimeError) as error:
                bench.failed(f"profile of {row}: {error}")
    for guest, words in ((bench.onechar, ""), (bench.vireo, "bench.name=ready")):
        rows.append(profile_boot(guest, words))
    bench.results["profile"] = rows


def profile_boot(guest, words):
    """Ten boots, QEMU's own start with them: what Vireo's row has beyond that of one character is its boot."""
    command = [*boot_command("microvm", "device"), "-m", guest.memory, "-kernel", guest.kernel, "-append", f"{guest.words} {words}".strip()]
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(["perf", "record", "-q", "-F", "4999", "-o", data.name, "--", "sh", "-c",
                        f"for i in 1 2 3 4 5 6 7 8 9 10; do {shlex.join(command)} </dev/null; done"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        return {"row": f"boot of a microvm, {guest.name}", **shares(data.name)}


def shares(data):
    """Of all samples: translated guest code, QEMU, the host's kernel, the C library; and QEMU's largest functions."""
    parts, functions, total = {}, [], 0.0
    text = shell("perf", "report", "-i", data, "--stdio", "--no-children", "-F", "overhead,dso,symbol", "--field-separator=;")
    for line in text.splitlines():
        field = [part.strip() for part in line.split(";")]
        if len(field) < 3 or not field[0].endswith("%"):
            continue
        share, dso, symbol = float(field[0].rstrip("%")), field[1], field[2].split("] ")[-1].strip()
        part = ("guest code" if dso.startswith(("[JIT]", "[unknown]", "//anon", "anon")) else "host kernel" if dso.startswith("[")
                else "QEMU" if "qemu" in dso else "libraries")
        parts[part] = parts.get(part, 0) + share
        total += share
        if part != "guest code" and not symbol.startswith("0x"):
            functions.append((share, symbol))
    if not total:
        raise Failed("perf took no samples")
    functions.sort(reverse=True)
    return {"parts": parts, "functions": functions[:8]}


PARTS = {"boot": boot, "blk": blk, "tx": tx, "rx": rx, "instructions": instructions, "counts": counts, "scaling": scaling,
         "fio": fio, "profile": profile}
