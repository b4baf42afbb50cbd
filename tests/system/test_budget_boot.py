"""Boot: guest instructions from the entry into the image to the program's first line, with a disk and a card at DRIVER_OK.

Under -icount a nanosecond is an instruction, so the figure is the same on every machine. Of it 250,000 are the first step of the
clock's calibration, where no hypervisor tells the rate; a mistake that clears, copies or searches much, or waits, shows at once, and
so does ACPI's interpreter, where a machine has nothing to tell that takes one.
"""

import pytest

BUDGET = {"q35": 600_000, "microvm": 530_000, "microvm-acpi": 530_000}


@pytest.mark.parametrize("machine", BUDGET)
def test_boot(make_vm, machine):
    vm = make_vm(machine, app="bench", words="log=off bench.name=boot", cpus="1")
    vm.null_blk().device("net")
    vm.args += ["-icount", "shift=0,sleep=off"]
    vm.run()
    told = vm.record("bench")
    vm.check(told["devices"] == 2 and not vm.records("device"), f"{told}, {vm.records()}")
    spent = told["ns"] * told["hz"] // 1_000_000_000
    print(f"{machine}: {spent} instructions")
    vm.check(100_000 < spent <= BUDGET[machine], f"{spent} instructions to the first line, not {BUDGET[machine]}")
    # What the calibration found: under -icount the counter goes at 1 GHz, and the references go by the same time.
    vm.check(abs(told["hz"] - 1_000_000_000) < 1_000_000, f"{told['hz']} Hz, not 1 GHz")
