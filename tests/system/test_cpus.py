"""CPUs: how many run, what they do at once, what they print, and how they end together."""

import re

import pytest

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
