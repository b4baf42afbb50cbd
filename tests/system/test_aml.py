"""Broken AML costs one line, and boot goes on: methods that loop or nest, tables that are noise under a right sum.

QEMU puts tables beside the machine's own (-acpitable). virtio.irq=intx makes somebody ask for _PRT, so that the interpreter starts.
"""

import random
import struct
import subprocess

import pytest

from test_boot import make_direct  # noqa: F401, a fixture


def table(name, code):
    """An SSDT of these bytes."""
    head = b"SSDT" + (36 + len(code)).to_bytes(4, "little") + b"\2\0TEST  " + name.ljust(8).encode() + bytes(4) + b"TEST" + bytes(4)
    data = bytearray(head + code)
    data[9] = -sum(data) & 255
    return bytes(data)


def compile_table(directory, code, name="ssdt"):
    """An SSDT of that code below \\_SB, by iasl."""
    source, output = directory / f"{name}.asl", directory / f"{name}.aml"
    source.write_text(f'DefinitionBlock ("{name}.aml", "SSDT", 2, "TEST", "BROKEN", 1) {{ Scope (\\_SB) {{ {code} }} }}\n', encoding="ascii")
    done = subprocess.run(["iasl", "-f", "-p", str(output.with_suffix("")), str(source)], capture_output=True, text=True)
    assert output.exists(), done.stdout + done.stderr
    return output.read_bytes()


def boot_with(make_vm, directory, tables):
    """Boot with these tables besides the machine's, to a good end; the lines about ACPI."""
    vm = make_vm("q35", words="virtio.irq=intx").rng()
    for index, data in enumerate(tables):
        path = directory / f"table{index}"
        path.write_bytes(data)
        vm.args += ["-acpitable", f"file={path}"]  # a header is in it: QEMU keeps all of it but the sum, which it makes right
    vm.run()
    vm.working("rng0")
    return vm, [line for line in vm.warnings("acpi|mmio|irq") if "virtio-rng" not in line]


# ---- one line each ----

BROKEN = {
    "loop": ("Device (BAD0) { Name (_HID, \"LNRO0005\") Method (_CRS) { While (One) { } Return (Buffer () { 0x79, 0 }) } }", "LOOP_TIMEOUT"),
    "loop-in-ini": ("Device (BAD0) { Name (_HID, \"TEST0001\") Name (_STA, 15) Method (_INI) { While (One) { } } }", "LOOP_TIMEOUT"),
    "missing": ("Device (BAD0) { Name (_HID, \"LNRO0005\") Method (_CRS) { Return (\\NONE) } External (\\NONE) }", "NOT_FOUND"),
    "no-resources": ("Device (BAD0) { Name (_HID, \"LNRO0005\") Name (_CRS, Buffer () { 0x79, 0 }) }", "without registers"),
    "over-ram": ("Device (BAD0) { Name (_HID, \"LNRO0005\") Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0x200000, 0x200) "
                 "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { 5 } }) }", "over RAM"),
    "region-in-ram": ("OperationRegion (RAM0, SystemMemory, 0x100000, 0x1000) Field (RAM0, DWordAcc, NoLock, Preserve) { WORD, 32 } "
                      "Device (BAD0) { Name (_HID, \"LNRO0005\") Method (_CRS) { Store (0, WORD) Return (Buffer () { 0x79, 0 }) } }", "_CRS: "),
    "no-line": ("Device (BAD0) { Name (_HID, \"LNRO0005\") Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xfeb01000, 0x200) "
                "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { 200 } }) }", "no interrupt line 200"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_aml(make_vm, tmp_path, name):
    """One line about it; the device that the machine's own tables tell of works."""
    code, fragment = BROKEN[name]
    vm, lines = boot_with(make_vm, tmp_path, [compile_table(tmp_path, code)])
    vm.check(len(lines) == 1 and fragment in lines[0], f"not one line with {fragment}: {lines}")


# Code that runs when its table is loaded, and what the one line says. Several in one boot: none is the others' fault.
AT_LOAD = {
    "GROW": ("Method (GROW) { Local0 = \"0123456789\" While (One) { Concatenate (Local0, Local0, Local1) Local0 = Local1 } } GROW ()",
             "NO_MEMORY"),
    "NOTI": ("Device (DEV0) { Name (_HID, \"TEST0001\") } Method (NOTI) { While (One) { Notify (DEV0, 0x80) } } NOTI ()", "LOOP_TIMEOUT"),
    "SLEE": ("Method (SLEE) { While (One) { Sleep (60000) Stall (255) } } SLEE ()", "LOOP_TIMEOUT"),
    "SELF": ("Method (SELF, 1) { Return (SELF (Arg0 + 1)) } SELF (0)", "METHOD_LIMIT"),
    "HUGE": ("Method (HUGE) { Return (Buffer (0xF0000000) {}) } HUGE ()", "NO_MEMORY"),
}


@pytest.mark.parametrize("names", [["GROW", "SELF", "HUGE"], pytest.param(["NOTI", "SLEE"], marks=pytest.mark.full)], ids="-".join)
def test_broken_at_load(make_vm, tmp_path, names):
    vm, lines = boot_with(make_vm, tmp_path, [compile_table(tmp_path, AT_LOAD[name][0], name.lower()) for name in names])
    vm.check(len(lines) == len(names) and all(f"{name}: AE_" in line and AT_LOAD[name][1] in line for name, line in zip(names, lines)),
             f"not a line for each: {lines}")


# ---- the interpreter does not survive these ----

def calls_itself_twice():
    """No loop, no deep nesting, and yet 2^64 calls."""
    return "Method (EXPO, 1) { If (Arg0) { EXPO (Arg0 - 1) EXPO (Arg0 - 1) } Return (0) } EXPO (64)"


def banks(count):
    """Fields each of whose banks is chosen by the field before: to read the last one nests as deep."""
    code = "OperationRegion (R000, SystemIO, 0x80, 8) Field (R000, ByteAcc, NoLock, Preserve) { B000, 8 }\n"
    for i in range(1, count):
        code += (f"OperationRegion (R{i:03X}, SystemIO, 0x80, 8) "
                 f"BankField (R{i:03X}, B{i - 1:03X}, 0, ByteAcc, NoLock, Preserve) {{ B{i:03X}, 8 }}\n")
    return code + f"Method (BANK) {{ Return (B{count - 1:03X} + 1) }} BANK ()"


@pytest.mark.parametrize("code, why", [pytest.param(calls_itself_twice(), "it does not end", marks=pytest.mark.full),
                                       (banks(540), "double fault in acpi_")], ids=["recursion", "stack"])
def test_interpreter_ended(make_vm, tmp_path, code, why):
    vm, lines = boot_with(make_vm, tmp_path, [compile_table(tmp_path, code)])
    vm.check(len(lines) == 1 and f"breaks its interpreter ({why}" in lines[0], f"not one line with {why}: {lines}")


OPCODES = bytes([0, 1, 6, 8, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x2e, 0x2f, 0x5c, 0x5e, 0x60, 0x61, 0x68, 0x70,
                 0x72, 0x80, 0x81, 0x86, 0x87, 0x88, 0x8a, 0x8b, 0x9c, 0x9d, 0xa0, 0xa1, 0xa2, 0xa4, 0xa5, 0xff])
EXTENDED = bytes([1, 2, 0x12, 0x13, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28, 0x29, 0x30, 0x31, 0x32, *range(0x80, 0x88)])
NAMES = [b"_SB_", b"_CRS", b"_HID", b"_STA", b"PCI0", b"_PRT", b"_INI", b"ABCD"]


def noise(seed, size=600):
    """Bytes; every third time any at all, else opcodes and names for the most part."""
    r = random.Random(seed)
    if seed % 3 == 0:
        return r.randbytes(size)
    out = b""
    while len(out) < size:
        kind = r.random()
        out += (bytes([r.choice(OPCODES)]) if kind < 0.45 else bytes([0x5b, r.choice(EXTENDED)]) if kind < 0.6 else
                r.choice(NAMES) if kind < 0.75 else r.randbytes(1))
    return out


@pytest.mark.parametrize("seeds", [pytest.param(range(start, start + 8), marks=[] if start < 32 else [pytest.mark.full], id=f"{start}")
                                   for start in range(0, 320, 8)])
def test_noise(make_vm, tmp_path, seeds):
    """One line for each table at most. ACPICA reads null pointers over a tenth of them."""
    vm, lines = boot_with(make_vm, tmp_path, [table(f"NOISE{seed}", noise(seed)) for seed in seeds])
    vm.check(0 < len(lines) <= len(seeds) and len([line for line in lines if "breaks its interpreter" in line]) <= 1, f"{lines}")


@pytest.mark.parametrize("seed", [4, 0, 1, 2])
def test_noise_for_a_machine(make_direct, seed):
    """The machine's own table is noise, with a word in it that starts the interpreter: devices that the command line tells of work."""
    def framed(signature, body):
        data = bytearray(signature + struct.pack("<IBB6s8sIII", 36 + len(body), 3, 0, b"TEST", b"TABLE", 1, 0, 0) + body)
        data[9] = -sum(data) & 255
        return bytes(data)

    at = 0x50000
    rsdp = bytearray(struct.pack("<8sB6sBIIQBxxx", b"RSD PTR ", 0, b"TEST", 2, 0, 36, at + 0x100, 0))
    rsdp[8] = -sum(rsdp[:20]) & 255
    rsdp[32] = -sum(rsdp) & 255
    fadt = bytearray(244 - 36)
    struct.pack_into("<I", fadt, 112 - 36, 1 << 20)  # reduced hardware
    struct.pack_into("<Q", fadt, 140 - 36, at + 0x400)
    vm = make_direct()
    for offset, data in ((0, bytes(rsdp)), (0x100, framed(b"XSDT", struct.pack("<Q", at + 0x200))), (0x200, framed(b"FACP", bytes(fadt))),
                         (0x400, framed(b"DSDT", noise(seed) + b"LNRO0005"))):
        vm.place(at + offset, data)
    vm.linux_elf(params=vm.boot_params(rsdp=at)).rng().run()
    vm.working("rng0")
    vm.check(len(vm.warnings("acpi: AML")) == 1, f"{vm.warnings('acpi')}")


# ---- tables whose frame is not right ----

@pytest.mark.parametrize("break_it, fragment", [("sum", "checksum"), ("cut", "")])
def test_broken_tables(make_vm, tmp_path, break_it, fragment):
    """A table with a bad sum, one whose code ends too early."""
    data = bytearray(compile_table(tmp_path, 'Device (BAD0) { Name (_HID, "LNRO0005") Name (_CRS, Buffer () { 0x79, 0 }) }'))
    if break_it == "sum":
        data[-1] ^= 1
    else:
        data = data[:-9]
        data[4:8] = len(data).to_bytes(4, "little")
    vm, lines = boot_with(make_vm, tmp_path, [bytes(data)])
    vm.check(len(lines) <= 1, f"{lines}")
