"""Boot: guest instructions from the entry into the image to the program's first line, with a disk and a card at DRIVER_OK.

Under -icount a nanosecond is an instruction, so the figure is the same on every machine. Of it 125,000 are what the clock's calibration
waits for: `boot` asks for the time, and no hypervisor tells the rate. A mistake that clears, copies or searches much, or waits, shows at
once, and so does ACPI's interpreter, where a machine has nothing to tell that takes one. How many of them are different ones, of `ready`,
which asks for nothing, to the end of the program, is what an emulator's translation takes time for, and what a real CPU fetches into its
caches.
"""

import re

import pytest

BUDGET = {"q35": (410_000, 8_150), "microvm": (370_000, 6_650), "microvm-acpi": (325_000, 7_250)}
IMAGE = range(0x100000, 0x200000)


@pytest.mark.parametrize("machine", BUDGET)
def test_boot(make_vm, machine):
    def run(name):
        vm = make_vm(machine, app="bench", words=f"log=off bench.name={name}", cpus="1")
        vm.null_blk().device("net")
        vm.args += ["-icount", "shift=0,sleep=off", "-d", "in_asm", "-D", vm.directory / "in_asm"]
        vm.run()
        told = vm.record("bench")
        vm.check(told["devices"] == 2 and not vm.records("device"), f"{told}, {vm.records()}")
        return vm, told

    vm, told = run("ready")
    translated = re.findall(r"^0x([0-9a-f]+):", (vm.directory / "in_asm").read_text(), re.MULTILINE)
    different = len({at for at in translated if int(at, 16) in IMAGE})
    vm, told = run("boot")
    executed = told["ns"] * told["hz"] // 1_000_000_000
    print(f"{machine}: {executed} instructions, {different} different ones")
    executed_most, different_most = BUDGET[machine]
    vm.check(100_000 < executed <= executed_most, f"{executed} instructions to the first line, not {executed_most}")
    vm.check(5_000 < different <= different_most, f"{different} different instructions, not {different_most}")
    # What the calibration found: under -icount the counter goes at 1 GHz, and the references go by the same time.
    vm.check(abs(told["hz"] - 1_000_000_000) < 1_000_000, f"{told['hz']} Hz, not 1 GHz")
