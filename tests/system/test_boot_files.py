"""What loaders bring beside the image: files (initrd, modules), long command lines, and what is broken of it."""

import io
import struct
import tarfile
import zlib

import pytest

from direct import BZIMAGE, Direct, INITRD, KERNEL, RAM, RESERVED
from test_boot import SLOTS, fat
from vm import FAILED, FIRMWARE_TIMEOUT, FromDisk, IMAGE, OVMF

FILES = {
    "etc/motd": b"welcome aboard\nsecond line\n",
    "etc.d/a": b"x" * 5000,
    "empty": b"",
    "usr/share/doc/vireo/readme.txt": bytes(range(256)) * 100,
    "z": b"last",
}
LONG = f"console={'x' * 90} " * 41 + "selftest.rng_bytes=4321"  # more than 4,000 bytes; nobody has to know words of Linux's
LINKS = {"bin": "usr/share", "loop": "loop"}


def cpio_entry(name, mode, data=b"", links=1):
    fields = (1, mode, 0, 0, links, 1234567, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    entry = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    entry += b"\0" * (-len(entry) % 4) + data
    return entry + b"\0" * (-len(entry) % 4)


def cpio(files=FILES, links=LINKS):
    """As Linux's tools write an initramfs: folders first, padded to a block."""
    data = cpio_entry(".", 0o40755, links=2) + cpio_entry("etc", 0o40700, links=2)
    data += b"".join(cpio_entry(name, 0o100644, content) for name, content in files.items())
    data += b"".join(cpio_entry(name, 0o120777, target.encode()) for name, target in links.items())
    data += cpio_entry("TRAILER!!!", 0)
    return data.ljust(len(data) + 511 & ~511, b"\0")


def tar(files=FILES, form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def check_files(vm, files=FILES):
    """The record of selftest's walk has the sum of these bytes, in the order of the folders."""
    names = sorted(files, key=lambda name: name.split("/"))
    folders = {name.rsplit("/", i + 1)[0] for name in names for i in range(name.count("/"))}
    record = vm.record("files")
    vm.check(record["files"] == len(files) and record["folders"] == len(folders), f"files {record}")
    total = b"".join(files[name] for name in names)
    vm.check(record["bytes"] == len(total) and int(record["crc32"], 16) == zlib.crc32(total), f"bytes {record}")
    vm.passed("the loader's files")


@pytest.fixture
def initrd(tmp_path):
    path = tmp_path / "initrd.cpio"
    path.write_bytes(cpio())
    return path


@pytest.fixture
def make_direct():
    machines = []

    def make(words="", **options):
        vm = Direct(words=words, **options)
        machines.append(vm)
        return vm

    yield make
    for vm in machines:
        vm.close()


@pytest.mark.parametrize("machine, image", [("q35", IMAGE), ("microvm", BZIMAGE)], ids=["elf", "bzimage"])
def test_initrd_by_qemu(make_vm, initrd, machine, image):
    vm = make_vm(machine, image=image)
    vm.args += ["-initrd", str(initrd)]
    check_files(vm.run())


def place_modules(vm, *contents):
    """[(start, end)] of modules in memory, on pages."""
    ranges, at = [], INITRD
    for content in contents:
        vm.place(at, content)
        ranges.append((at, at + len(content)))
        at += len(content) + 0xFFF & ~0xFFF
    return ranges


def test_initrd_of_linux_elf(make_direct):
    vm = make_direct()
    (start, end), = place_modules(vm, cpio())
    check_files(vm.linux_elf(params=vm.boot_params(initrd=(start, end - start))).run())


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_modules_of_multiboot(make_direct, form):
    """A tar with names of every length, and a file that is no archive, named by its command line."""
    files = {"d" * 90 + "/" + "n" * 120: b"long", **FILES}
    vm = make_direct()
    modules = place_modules(vm, tar(files, form), b"no archive")
    multiboot = vm.multiboot1(modules=[(*modules[0], "/boot/files.tar"), (*modules[1], "(cd)/boot/notes.txt for=you")], flags=0x45)
    check_files(multiboot.run(), {**files, "notes.txt": b"no archive"})


def test_modules_of_multiboot2(make_direct):
    """Two archives are one tree, where the later one wins."""
    vm = make_direct()
    modules = place_modules(vm, cpio(), tar({"etc/motd": b"other"}))
    tags = [(3, struct.pack("<II", *module) + b"\0") for module in modules]
    vm.multiboot2([(1, vm.cmdline), *tags, vm.mmap_tag(vm.map)])
    check_files(vm.run(), {**FILES, "etc/motd": b"other"})


def test_initrd_by_efi(make_vm, initrd):
    """OVMF offers QEMU's -initrd by its LoadFile2 protocol. The command line is a long one here, too."""
    vm = make_vm(image=BZIMAGE, bios=OVMF, cpu="max", words=f"{LONG} selftest.rng_bytes=5678")
    vm.args += ["-initrd", str(initrd)]
    vm.rng().run(FIRMWARE_TIMEOUT)
    check_files(vm)
    vm.passed("rng0 gives 5678 bytes")


@pytest.mark.full
@pytest.mark.parametrize("name, good", [("boot\\files.cpio", True), ("no\\such.cpio", False)])
def test_initrd_by_name(tmp_path, initrd, name, good):
    """EFI's shell starts the image with a command line that names a file beside it. One that is not there: a line, and boot goes on."""
    script = tmp_path / "startup.nsh"
    script.write_text(f"fs0:\\vireo.efi app=selftest initrd={name}\r\n")
    image = fat(tmp_path / "disk.img", {"vireo.efi": BZIMAGE, "boot/files.cpio": initrd, "startup.nsh": script})
    with FromDisk(bios=OVMF, cpu="max") as vm:
        vm.blk(image, read_only=True).run(FIRMWARE_TIMEOUT)
        vm.check(not vm.warnings("unknown word"), "words that nobody knows")
        if good:
            check_files(vm)
        else:
            vm.check("vireo: the initrd cannot be read" in vm.log and not vm.records("files"), "an initrd")


def test_shell(make_vm, initrd):
    """`ls` and `cat`, through links, and of what is not there."""
    vm = make_vm(app="shell")
    vm.args += ["-initrd", str(initrd)]
    vm.start()
    for line, answers in [
        ("ls", [r"^l\d+ +0 bin$", r"^d0700 +0 etc$", r"^-0644 +4 z$"]),
        ("ls /bin/doc/vireo", [r"^-0644 +25600 readme.txt$"]),
        ("ls z", [r"^-0644 +4 z$"]),
        ("cat /etc/motd", [r"^welcome aboard$", r"^second line$"]),
        ("cat /etc/nothing", [r"^/etc/nothing: cat: no such file"]),
        ("cat etc", [r"^etc: cat: a folder"]),
        ("cat loop", [r"^loop: cat: links without an end"]),
        ("ls z/z", [r"^z/z: ls: no folder"]),
    ]:
        vm.expect("vireo> ")
        vm.send(line + "\r")
        for answer in answers:
            vm.expect(answer)
    vm.send("poweroff\r")
    vm.finish()


def test_archive_cut_short(make_vm, tmp_path):
    """What is whole is there, and one line tells of the rest."""
    path = tmp_path / "initrd"
    path.write_bytes(cpio({"etc/a": b"1" * 1000, "etc/b": b"2" * 1000})[:2000])
    vm = make_vm()
    vm.args += ["-initrd", str(path)]
    vm.run()
    check_files(vm, {"etc/a": b"1" * 1000})
    vm.check(len(vm.warnings("initrd: the archive ends early")) == 1, "lines")


# ---- command lines ----


@pytest.mark.parametrize("image", [IMAGE, BZIMAGE], ids=["elf", "bzimage"])
def test_long_command_line(make_vm, image):
    vm = make_vm(image=image, words=LONG)
    vm.rng().run()
    vm.passed("rng0 gives 4321 bytes")
    vm.check(not vm.warnings("cmdline"), "warnings")


@pytest.mark.parametrize("load", ["linux_elf", "multiboot1", "multiboot2"])
def test_command_line_too_long(make_direct, load):
    """More than 8 KiB: one warning, cut between two words, and boot goes on with what came before."""
    vm = make_direct(f"{SLOTS} selftest.rng_bytes=99 " + f"console={'x' * 90} " * 140 + "selftest.rng_bytes=100")
    getattr(vm, load)()
    vm.rng().run()
    vm.passed("rng0 gives 99 bytes")
    line, = vm.warnings("cmdline")
    vm.check('ignored from "console=xxx' in line, line)


# ---- what is odd ----

MIB = 1 << 20


@pytest.mark.parametrize("load", ["linux_elf", "multiboot1", "multiboot2"])
def test_odd_memory_map(make_direct, load):
    """Out of order, with overlaps, nothing, wraps, and RAM that no CPU reaches: what is left is used."""
    memory = [(128 * MIB, 128 * MIB, RAM), (1 << 52, 1 << 30, RAM), (KERNEL, 100 * MIB, RAM), (64 * MIB, 64 * MIB, RAM), (0, 0, RAM),
              (200 * MIB, MIB + 5, RESERVED), (0, 0x9FC00, RAM), (2**64 - 4096, 8192, RAM), (KERNEL, 16 * MIB, RAM), (0x1234, 0, 77)]
    vm = make_direct(SLOTS)
    getattr(vm, load)(**({"params": vm.boot_params(memory=memory)} if load == "linux_elf" else {"memory": memory}))
    vm.rng().run()
    vm.working("rng0")
    boot = vm.record("boot")
    vm.check(boot["memory"] == 0x9F000 + 255 * MIB - MIB - 4096, f"memory {boot}")
    vm.check(len(vm.warnings("memory map: 1 of 10 entries are bad")) == 1, "the wrapping one")
    vm.check(len(vm.warnings("memory map: 0x40000000 bytes of RAM lie beyond")) == 1, "the high one")
    vm.check(len(vm.warnings("memory map")) == 2, "lines")


def test_too_many_e820_entries(make_direct):
    vm = make_direct(SLOTS)
    vm.linux_elf(params=vm.boot_params(count=255))
    vm.rng().run()
    vm.check(len(vm.warnings("255 e820 entries, it has room for 128")) == 1, "lines")


def test_multiboot1_without_a_map(make_direct):
    vm = make_direct(SLOTS)
    vm.multiboot1(flags=5)
    vm.rng().run()
    vm.check(len(vm.warnings("memory map: none told, only sizes")) == 1, "lines")


def test_modules_that_overlap(make_direct):
    """Each other, the image, the end of all numbers: a line each, and the good one is there."""
    vm = make_direct()
    (start, end), = place_modules(vm, cpio())
    vm.multiboot1(modules=[(start, end, "good"), (start + 512, end + 512, "overlaps"), (KERNEL + 4096, KERNEL + 8192, "image"),
                           (end, start, "backwards"), (start, start, "empty")])
    check_files(vm.run())
    vm.check(len(vm.warnings("boot: module of")) == 4, "lines")


@pytest.mark.parametrize("load, message", [
    (lambda vm: vm.linux_elf(params=vm.boot_params(memory=[])), "linux: boot_params tells of no memory"),
    (lambda vm: vm.linux_elf(params=b"\0" * 4096), "no boot_params at 0x7000"),
    (lambda vm: vm.multiboot1(flags=4), "multiboot1: the loader tells of no memory"),
    (lambda vm: vm.multiboot2([(1, vm.cmdline)]), "multiboot2: the loader tells of no memory"),
    (lambda vm: vm.linux_elf(params=vm.boot_params(memory=[(0, 0x9FC00, RAM)])), "no RAM behind the image for page tables"),
], ids=["linux", "no-params", "multiboot1", "multiboot2", "low-memory-only"])
def test_no_memory(make_direct, load, message):
    """Where there is nothing to go on with: one clear message, and the end."""
    vm = make_direct()
    load(vm)
    vm.run(status=FAILED)
    vm.check(message in vm.log, "another message")
