"""The end by a fault: cause, registers, a backtrace with names, status 35, and nothing behind it."""

import re

import pytest

CAUSES = {
    "pf": "page fault: write to 0x0",
    "read": "page fault: read from 0x0",
    "ud": "invalid opcode",
    "stack": "stack overflow",
}


def crash(make_vm, kind, machine="q35", **options):
    vm = make_vm(machine, app="shell", **options)
    vm.start()
    vm.expect("^vireo> ")
    vm.send(f"crash {kind}\r")
    vm.finish(status=35)
    report = vm.log[vm.log.index("panic: "):]
    vm.check(report.startswith(f"panic: {CAUSES[kind]}"), f"the cause: {report[:80]!r}")
    for register in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r15", "rip", "cr2", "cr3"):
        vm.check(re.search(rf"\b{register}\s+[0-9a-f]{{16}}\b", report), f"no {register}")
    vm.check("panic inside" not in report, "a second panic")
    return vm, report


@pytest.mark.parametrize("machine", ["q35", "microvm"])
@pytest.mark.parametrize("kind", CAUSES)
def test_crash(make_vm, kind, machine):
    """The backtrace leads from the fault through the shell to the boot, by names."""
    vm, report = crash(make_vm, kind, machine)
    names = re.findall(r"^  [0-9a-f]{16} ([\w.]+)\+0x[0-9a-f]+$", report[report.index("backtrace:"):], re.MULTILINE)
    if kind == "stack":
        vm.check(names and all("fill_stack" in name for name in names), f"backtrace {names}")
    else:
        vm.check(any(name.startswith("crash") for name in names[:2]), f"backtrace {names}")
        vm.check("kernel_main" in names, f"backtrace {names}")
    vm.check(not vm.records("end"), "an end record of something that did not end")


@pytest.mark.parametrize("cpu", ["qemu64", "max"])
def test_cpus(make_vm, cpu):
    crash(make_vm, "stack", cpu=cpu)


def test_rip(make_vm):
    """rip, the first place of the backtrace, and cr2 agree with the fault."""
    vm, report = crash(make_vm, "pf")
    rip = re.search(r"rip\s+([0-9a-f]{16})", report)[1]
    vm.check(f"backtrace:\n  {rip} " in report, "the backtrace starts elsewhere")
    vm.check(re.search(r"cr2\s+0{16}\b", report), "cr2 is not the address")
