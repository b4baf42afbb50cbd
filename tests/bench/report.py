"""docs/benchmarks.md and its plots, from the results of the parts."""

import re
import shlex
import subprocess
import tempfile

# (title, part, parameter, Vireo's way, Linux's ways or None for all, the ratio that is wanted)
RATIOS = [
    ("blk, 4 KiB reads, depth 32, by interrupt", "blk", 32, "irq", None, 3),
    ("blk, 4 KiB reads, depth 32, polled", "blk", 32, "poll", None, None),
    ("blk, 4 KiB reads, depth 1, by interrupt", "blk", 1, "irq", ("uring", "pread"), 1.5),
    ("blk, 4 KiB reads, depth 1, polled", "blk", 1, "poll", None, 3),
    ("net tx, 60 bytes, burst 32", "tx", 32, None, None, 2),
    ("net rx, 60 bytes", "rx", 0, None, None, 2),
]


def rows_of(results, part, guest, parameter=None, ways=None):
    return [row for row in results.get(part, []) if row["guest"] == guest and (parameter is None or row["parameter"] == parameter) and
            (ways is None or row["way"] in ways)]


def best(rows):
    return max(rows, key=lambda row: row["median"], default=None)


def rate(value):
    return f"{value:,.0f}"


def ratio_table(results):
    lines = ["| operations per second | Vireo | Linux, its best way | ratio | wanted |", "| --- | ---: | ---: | ---: | ---: |"]
    for title, part, parameter, way, linux_ways, wanted in RATIOS:
        ours = best(rows_of(results, part, "Vireo", parameter, (way,) if way else None))
        theirs = best(rows_of(results, part, "Linux", parameter, linux_ways))
        if not ours or not theirs:
            continue
        spread = f"{rate(ours['median'])} ({rate(ours['least'])} to {rate(ours['most'])}), {ours['way']}"
        other = f"{rate(theirs['median'])} ({rate(theirs['least'])} to {rate(theirs['most'])}), {theirs['way']}"
        lines.append(f"| {title} | {spread} | {other} | {ours['median'] / theirs['median']:.2f} | {wanted or ''} |")
    return lines if len(lines) > 2 else []


def boot_table(results):
    lines = ["| exec of QEMU to the first line, ms | one character | Vireo | more | translated blocks | instructions | Linux |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    found = {(row["machine"], row["guest"]): row["median"] for row in results.get("boot", [])}
    for name in dict.fromkeys(row["machine"] for row in results.get("boot", [])):
        one, ours, theirs = (found.get((name, guest)) for guest in ("one character", "Vireo", "Linux"))
        if one and ours:
            more = [f"{count:,}" for count in results.get("translated", {}).get(name, [])] or ["", ""]
            lines.append(f"| {name} | {one:.1f} | {ours:.1f} | {ours - one:.1f} | {' | '.join(more)} | {f'{theirs:,.0f}' if theirs else ''} |")
    return lines if len(lines) > 2 else []


def instruction_table(results):
    counts = {row["row"]: row for row in results.get("counts", [])}
    lines = ["| per operation | guest instructions: Vireo | Linux | notifications: Vireo | Linux | interrupts: Vireo | Linux |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in results.get("instructions", []):
        seen = counts.get(row["row"], {})
        cells = [f"{row[guest]:,.0f}" if guest in row else "" for guest in ("Vireo", "Linux")]
        for index in (0, 1):
            cells += [f"{seen[guest][index]:.3f}" if guest in seen else "" for guest in ("Vireo", "Linux")]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    return lines if len(lines) > 2 else []


def profile_table(results):
    lines = ["| Vireo runs | guest code | QEMU | host kernel | libraries | for nothing | QEMU's and the host's largest |",
             "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    for row in results.get("profile", []):
        parts = [f"{row['parts'].get(part, 0):.0f} %" for part in ("guest code", "QEMU", "host kernel", "libraries")]
        functions = ", ".join(f"`{name}` {share:.1f}" for share, name in row["functions"])
        # A boot's code costs its translation, which is QEMU's.
        free = "" if row["row"].startswith("boot") else f"{1 / max(1 - row['parts'].get('guest code', 0) / 100, 0.01):.2f}"
        lines.append(f"| {row['row']} | " + " | ".join(parts) + f" | {free} | {functions} |")
    return lines if len(lines) > 2 else []


# ---- plots ----

def plot(path, title, xlabel, ylabel, curves, options=""):
    """`curves`: [(name, [(x, y)])]."""
    curves = [(name, sorted(points)) for name, points in curves if points]
    if not curves:
        return False
    with tempfile.NamedTemporaryFile("w", suffix=".gp") as script:
        print(f"set terminal svg size 720,420 font 'sans,12' background 'white'\nset output '{path}'\nset title '{title}'\n"
              f"set xlabel '{xlabel}'\nset ylabel '{ylabel}'\nset grid\nset key left top\nset yrange [0:*]\n{options}", file=script)
        print("plot " + ", ".join(f"'-' using 1:2 with linespoints title '{name}'" for name, _ in curves), file=script)
        for _, points in curves:
            print("\n".join(f"{x} {y}" for x, y in points) + "\ne", file=script)
        script.flush()
        return gnuplot(script.name)


def bars(path, title, ylabel, names, groups, options=""):
    """`groups`: [(label, [value of each name])]."""
    groups = [group for group in groups if any(group[1])]
    if not groups:
        return False
    with tempfile.NamedTemporaryFile("w", suffix=".gp") as script:
        print(f"set terminal svg size 720,420 font 'sans,12' background 'white'\nset output '{path}'\nset title '{title}'\n"
              f"set ylabel '{ylabel}'\nset grid y\nset style data histograms\nset style fill solid 0.8\nset boxwidth 0.9\n"
              f"set xtics rotate by -20\nset key left top\n{options}", file=script)
        print("$data << EOD", file=script)
        for label, values in groups:
            print(f"\"{label}\" " + " ".join(str(value) if value else "NaN" for value in values), file=script)
        print("EOD\nplot " + ", ".join(f"$data using {i + 2}:xtic(1) title '{name}'" for i, name in enumerate(names)), file=script)
        script.flush()
        return gnuplot(script.name)


def gnuplot(script):
    try:
        return subprocess.run(["gnuplot", script], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def curves_of(results, part):
    names = {("Vireo", "irq"): "Vireo", ("Vireo", "poll"): "Vireo, polled", ("Linux", "uring"): "Linux, io_uring",
             ("Linux", "iopoll"): "Linux, io_uring polled", ("Linux", "pread"): None, ("Linux", "pktgen"): "Linux, pktgen"}
    curves = {}
    for row in results.get(part, []):
        name = names.get((row["guest"], row["way"]), f"{row['guest']}, {row['way']}")
        if name:
            curves.setdefault(name, []).append((row["parameter"], row["median"] / 1000))
    return list(curves.items())


def plots(results, directory):
    """{name: title} of those that could be drawn."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    power = "set logscale x 2"
    for name, part, title, xlabel, ylabel, options in (
            ("blk", "blk", "4 KiB reads over depth", "requests in flight", "thousand requests/s", power),
            ("tx", "tx", "frames of 60 bytes sent, over burst", "frames in a burst", "thousand frames/s", power),
            ("scaling", "scaling", "4 KiB reads at depth 32, over CPUs", "CPUs, each with a queue", "thousand requests/s", "set xtics 1")):
        if plot(directory / f"{name}.svg", title, xlabel, ylabel, curves_of(results, part), options):
            drawn[name] = title
    groups = [(row["row"], [row.get("Vireo"), row.get("Linux")]) for row in results.get("instructions", [])]
    if bars(directory / "instructions.svg", "guest instructions per operation", "instructions", ["Vireo", "Linux"], groups, "set logscale y\nset yrange [10:*]"):
        drawn["instructions"] = "guest instructions per operation"
    found = {(row["machine"], row["guest"]): row["median"] for row in results.get("boot", [])}
    guests = ["one character", "Vireo", "Linux"]
    groups = [(name, [found.get((name, guest)) for guest in guests]) for name in dict.fromkeys(key[0] for key in found)]
    if bars(directory / "boot.svg", "exec of QEMU to the first line", "ms", guests, groups, "set logscale y\nset yrange [10:*]"):
        drawn["boot"] = "exec of QEMU to the first line"
    return drawn


# ---- the page ----

def command_text(command):
    """A command line as a stranger would type it: names of files, not places."""
    return shlex.join(word if " " in word else re.sub(r"(^|=)/[^,]*/", r"\1", word) for word in command)


def write(results, docs):
    about = results["about"]
    images = plots(results, docs / "benchmarks")
    text = ["# Benchmarks", "",
            "Written by `make bench` ([building.md](building.md)); do not edit. Vireo and Linux run on the same virtual machines, in turns, a round "
            "of all after the other; figures are medians, with the least and the most.", "",
            f"- Machine: {about['cpu']}, {about['cpus']} CPUs, Linux {about['kernel']}.",
            f"- {about['qemu']}, `-accel {about['accel']}`.",
            f"- Vireo {about['commit']}, `app=bench log=off`. Linux: Debian's {about['linux']}, uncompressed, with `{about['words']}`; block "
            "scheduler none, iostats 0, nomerges 2; a static program of ours as its only process.",
            "- Linux goes its cheapest ways: raw io_uring with registered file and buffers and batched refills, by interrupt (uring) or polled "
            "(iopoll), at depth 1 also pread(); pktgen for frames sent, and frames received are dropped behind the driver.", ""]
    text += section("Side by side", ratio_table(results))
    if "fio" in results:
        text += [f"fio in the Linux guest, io_uring, fixed buffers, depth 32, as a cross-check of our load generator: {rate(results['fio'])} reads/s.", ""]
    lost = {guest: count for guest, count in results.get("rx_lost", {}).items() if count is not None}
    if lost:
        text += ["Frames lost on the way to the program, over all rounds: " + ", ".join(f"{guest} {count}" for guest, count in lost.items()) + ".", ""]
    text += section("Boot", boot_table(results), "The disk and the card are at DRIVER_OK by then. \"One character\" is a kernel that writes one to the "
                    "serial port and ends: what is QEMU's and the firmware's. What Vireo takes more is, under emulation, nearly all QEMU translating code that "
                    "runs once: so many blocks and guest instructions more than for one character. Each block costs QEMU 7.2 some 16,000 host "
                    "instructions, and each guest instruction in it 4,300, however fast it runs then.")
    text += section("Work for each operation", instruction_table(results), "Instructions as a QEMU plugin counts them, interrupts included and sleep "
                    "not; notifications and interrupts as QEMU's trace does; `ioeventfd=off`, so that the device acts at once.")
    text += section("Where the time goes", profile_table(results), "`perf record` on all threads of QEMU while Vireo runs. What is not guest code is "
                    "not the driver's to save: it bounds the ratios above. \"For nothing\" is how many times as fast it were if the guest's "
                    "code took none of that time. A boot under emulation is QEMU translating code that runs once (`tcg_`): "
                    "what counts there is how much different code runs, not how long.")
    for name, title in images.items():
        text += [f"![{title}](benchmarks/{name}.svg)", ""]
    text += ["## Runs", "", "| part | when | rounds | load average, least and most | minutes |", "| --- | --- | ---: | ---: | ---: |"]
    for part, run in about["parts"].items():
        text.append(f"| {part} | {run['date']} | {run['runs']} | {run['load'][0]:.2f} to {run['load'][1]:.2f} | {run['seconds'] / 60:.1f} |")
    text += ["", "The command lines, of one run each:", "", "```"]
    for part, guests in results.get("commands", {}).items():
        text += [f"# {part}, {guest}\n{command_text(command)}" for guest, command in guests.items()]
    text += ["```", ""]
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "benchmarks.md").write_text("\n".join(text))


def section(title, table, note=""):
    return [f"## {title}", "", *([note, ""] if note else []), *table, ""] if table else []
