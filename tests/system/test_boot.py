"""Every way into the image: by each protocol it boots, says which one it was, finds what it was given and passes selftest."""

import pathlib
import struct
import subprocess

import pytest

from direct import BZIMAGE, Direct, KERNEL
from vm import FIRMWARE_TIMEOUT, FromDisk, IMAGE, MMIO_BASE, MMIO_BYTES, OVMF

# The first lines of microvm's virtio-mmio slots without ACPI.
SLOTS = " ".join(f"virtio_mmio.device={MMIO_BYTES}@0x{MMIO_BASE + MMIO_BYTES * i:x}:{5 + i}" for i in range(8))


def booted(vm, protocol, timeout=FIRMWARE_TIMEOUT, memory=None):
    """Run to the end: this protocol, an entropy device, nothing failed, and as much memory as there is."""
    vm.rng()
    vm.run(timeout)
    boot = vm.record("boot")
    vm.check(boot["protocol"] == protocol, f"protocol {boot}, not {protocol}")
    vm.working("rng0")
    vm.passed("rng0 gives")
    size = int(vm.memory[:-1]) << {"M": 20, "G": 30}[vm.memory[-1]] if memory is None else memory
    vm.check(size - (16 << 20) <= boot["memory"] <= size, f"memory of {boot}")
    return vm


# ---- QEMU's -kernel ----

@pytest.mark.parametrize("machine", ["q35", "pc", "microvm", "microvm-acpi"])
@pytest.mark.parametrize("image, protocol", [(IMAGE, "pvh"), (BZIMAGE, "linux16")], ids=["elf", "bzimage"])
def test_kernel(make_vm, machine, image, protocol):
    booted(make_vm(machine, image=image), protocol)


@pytest.mark.full
@pytest.mark.parametrize("memory", ["64M", "6G"])
@pytest.mark.parametrize("machine, bios", [("microvm", "qboot.rom"), ("microvm-acpi", "qboot.rom"), ("microvm", "bios-microvm.bin"),
                                           ("pc", "qboot.rom"), ("q35", "qboot.rom"), ("pc", "bios.bin")])
def test_bzimage_by_firmware(make_vm, machine, bios, memory):
    booted(make_vm(machine, image=BZIMAGE, bios=bios, memory=memory), "linux16")


# ---- a VMM that loads by itself ----

@pytest.fixture
def make_direct():
    machines = []

    def make(words="", **options):
        slots = "" if options.get("machine") else SLOTS
        vm = Direct(words=f"{slots} {words}", **options)
        machines.append(vm)
        return vm

    yield make
    for vm in machines:
        vm.close()


@pytest.mark.parametrize("levels", [4, 5])
def test_linux_elf(make_direct, levels):
    """As Firecracker and StratoVirt start an ELF: long mode, RSI = boot_params; page tables of 4 levels, or of 5."""
    booted(make_direct().linux_elf(levels=levels), "linux-elf64")


# Where a VMM puts the kernel: where it asks for; crosvm, which goes by no header; into its own target, so that the move overlaps.
@pytest.mark.parametrize("address", [KERNEL, 0x200000, KERNEL + 0x4000])
@pytest.mark.parametrize("offset, protocol", [(0, "linux32"), (0x200, "linux64")])
def test_bzimage_entries(make_direct, address, offset, protocol):
    booted(make_direct().linux_bzimage(address, offset), protocol)


def test_flat_binary(make_direct):
    """As StratoVirt starts what it calls PE: the bytes of the file at 16 MiB, entered at the first in long mode."""
    vm = make_direct()
    vm.loader = "as StratoVirt: the flat binary at 16 MiB, in long mode"
    vm.place(0x1000000, IMAGE.with_suffix(".bin").read_bytes())
    booted(vm.linux(0x1000000), "linux64")


def test_multiboot1(make_direct):
    booted(make_direct().multiboot1(), "multiboot1")


def test_multiboot2(make_direct):
    booted(make_direct().multiboot2(), "multiboot2")


def elf32(path):
    """The image as QEMU's Multiboot loader wants it, a 32-bit ELF: the same segments, and a Multiboot header in front."""
    data = IMAGE.read_bytes()
    entry, offset = struct.unpack_from("<QQ", data, 24)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    loads = [segment for segment in segments if segment[0] == 1]
    head = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, entry, 52, 0, 0, 52, 32, len(loads), 0, 0, 0)
    table, body, start = b"", b"", 0x1000
    for _, flags, at, _, address, file_size, memory_size, _ in loads:
        table += struct.pack("<8I", 1, start + len(body), address, address, file_size, memory_size, flags, 0x1000)
        body += data[at:at + file_size].ljust(file_size + 0xFFF & ~0xFFF, b"\0")
    header = struct.pack("<III", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFFFFFF)
    path.write_bytes((head + table + header).ljust(start, b"\0") + body)
    return path


@pytest.mark.parametrize("machine", ["pc", "microvm"])
def test_multiboot1_by_qemu(make_vm, tmp_path, machine):
    """It puts the file's name in front of the command line: no word that anybody has to know."""
    vm = make_vm(machine, image=elf32(tmp_path / "vireo.elf32"), words=SLOTS if machine == "microvm" else "")
    booted(vm, "multiboot1")
    vm.check(not vm.warnings("unknown word"), "a warning of the file's name")


# ---- EFI ----

def test_efi_kernel(make_vm):
    """OVMF starts the bzImage that -kernel gives as a PE, command line included."""
    booted(make_vm(image=BZIMAGE, bios=OVMF, cpu="max"), "efi")


def fat(path, files):
    """A FAT file system with these files: {"EFI/BOOT/NAME": path}."""
    with open(path, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mformat", "-i", path, "-T", str(16384), "::"], check=True)
    made = set()
    for name, source in files.items():
        for folder in reversed(pathlib.PurePosixPath(name).parents[:-1]):
            if folder not in made:
                subprocess.run(["mmd", "-i", path, f"::/{folder}"], check=True)
                made.add(folder)
        subprocess.run(["mcopy", "-i", path, source, f"::/{name}"], check=True)
    return path


def test_efi_disk(tmp_path):
    """OVMF starts the bzImage as the removable medium's boot loader."""
    image = fat(tmp_path / "disk.img", {"EFI/BOOT/BOOTX64.EFI": BZIMAGE})
    with FromDisk(bios=OVMF, cpu="max", memory="6G") as vm:
        vm.blk(image, read_only=True)
        vm.run(FIRMWARE_TIMEOUT)
        vm.check(vm.record("boot")["protocol"] == "efi", "protocol")
        vm.working("blk0")
