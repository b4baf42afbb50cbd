#!/usr/bin/python3
"""make bench: Vireo and Linux on the same virtual machines, in turns, and docs/benchmarks.md with what came of it.

From the environment: RUNS (rounds, 7), BOOT_RUNS (20), BENCH (parts, all: see parts.py), IMAGE, BENCH_DIR (where things are built and
results kept), DOCS (where the page goes), QEMU, ACCEL (tcg).

A part that fails is told, the others go on, and the exit status is 1. Results are kept, so that the page can be made of parts that
were measured one by one.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import linux
import machine
import parts
import report

HERE = pathlib.Path(__file__).resolve().parent


class Bench:
    def __init__(self):
        self.runs = int(os.environ.get("RUNS") or 7)
        self.boot_runs = int(os.environ.get("BOOT_RUNS") or min(20, 3 * self.runs))
        self.directory = pathlib.Path(os.environ.get("BENCH_DIR") or "build/bench").resolve()
        self.docs = pathlib.Path(os.environ.get("DOCS") or "docs").resolve()
        self.image = pathlib.Path(os.environ.get("IMAGE") or "build/x86_64/vireo.stripped.elf").resolve()
        self.results, self.failures, self.loads, self.commands = {}, [], [], {}

    # ---- what parts use ----

    def say(self, text):
        print(text, flush=True)

    def failed(self, text):
        self.failures.append(text)
        self.say(f"  FAILED {text}")

    def rounds(self, part, count=None):
        """The numbers of the rounds, each announced."""
        count = count or self.runs
        for number in range(count):
            self.say(f"  {part}: round {number + 1} of {count}, load average {os.getloadavg()[0]:.2f}")
            self.loads.append(os.getloadavg()[0])
            yield number

    def note(self, result):
        """Keep one command line for each guest and part."""
        self.commands.setdefault(self.part, {}).setdefault(result.guest.name, result.command)

    # ---- what is needed ----

    def prepare(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.onechar = machine.Guest("one character", self.directory / "onechar.elf")
        linux.run("gcc", "-m32", "-c", "-o", self.directory / "onechar.o", HERE / "onechar.S")
        linux.run("ld", "-m", "elf_i386", "-N", "-Ttext=0x100000", "-e", "start", "-o", self.onechar.kernel, self.directory / "onechar.o")
        self.sender = self.directory / "send"
        linux.run("gcc", "-O2", "-Wall", "-D_GNU_SOURCE", "-o", self.sender, HERE / "send.c")
        self.plugin = self.directory / "count.so"
        linux.run("gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", self.plugin, HERE / "count.c")
        self.vireo = machine.Guest("Vireo", self.image, "app=bench log=off")
        clock = machine.run(self.vireo, machine.machine("q35"), "bench.name=boot").bench()["hz"] // 1000
        guest = linux.Linux(self.directory / "linux").make()
        # Told its clock's rate, Linux need not calibrate; on a microvm under emulation it could not.
        words = f"{linux.FAST} tsc_early_khz={clock}"
        self.linux = machine.Guest("Linux", guest.kernel, words, "@linux ", guest.initrd)
        self.fio = machine.Guest("fio", guest.kernel, words, "@linux ", guest.fio, memory="1G") if guest.fio else None
        self.results["about"] = {
            "linux": guest.version, "qemu": linux.run(machine.QEMU, "--version").splitlines()[0], "cpu": cpu_model(),
            "cpus": os.cpu_count(), "kernel": platform.release(), "accel": machine.ACCEL, "commit": commit(),
            "words": words, "image": self.image.stat().st_size}

    def run(self, wanted):
        start = time.monotonic()
        self.say(f"bench: {' '.join(wanted)}; {self.runs} rounds ({self.boot_runs} for boot). All takes some {expected(self)} minutes on a "
                 "quiet machine with two CPUs.")
        self.prepare()
        about = self.results.pop("about")
        for part in wanted:
            self.part, self.loads, begin = part, [os.getloadavg()[0]], time.monotonic()
            self.say(f"{part}:")
            try:
                parts.PARTS[part](self)
            except Exception as error:  # whatever it is: the other parts go on
                self.failed(f"{part}: {type(error).__name__}: {error}")
            self.loads.append(os.getloadavg()[0])
            self.keep(about, part, {"seconds": time.monotonic() - begin, "runs": self.boot_runs if part == "boot" else self.runs,
                                    "load": [min(self.loads), max(self.loads)], "date": time.strftime("%Y-%m-%d %H:%M")})
        self.say(f"bench: {self.docs / 'benchmarks.md'} is written, after {(time.monotonic() - start) / 60:.1f} minutes")
        for failure in self.failures:
            self.say(f"  FAILED {failure.splitlines()[0]}")
        return 1 if self.failures else 0

    def keep(self, about, part, run):
        """Put what there is now over the former results, and write the page: a bench that is stopped has its parts."""
        kept = self.directory / "results.json"
        merged = json.loads(kept.read_text()) if kept.exists() else {}
        runs = {**merged.get("about", {}).get("parts", {}), part: run}
        merged.update(self.results)
        merged["about"] = {**about, "parts": runs}
        merged["commands"] = {**merged.get("commands", {}), **self.commands}
        kept.write_text(json.dumps(merged, indent=1))
        report.write(merged, self.docs)


def expected(bench):
    return round(4 + bench.runs * 1.2 + bench.boot_runs * 0.1)


def cpu_model():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=HERE)
    return done.stdout.decode().strip()


def main():
    wanted = (os.environ.get("BENCH") or " ".join(parts.PARTS)).split()
    unknown = [part for part in wanted if part not in parts.PARTS]
    if unknown:
        sys.exit(f"bench: no part {' '.join(unknown)}; there are: {' '.join(parts.PARTS)}")
    sys.exit(Bench().run(wanted))


if __name__ == "__main__":
    main()
