"""A VMM of the tests: it places the image and what its loader would say, as Firecracker, StratoVirt, crosvm or a Multiboot loader do.

QEMU puts bytes into memory (-device loader), and a ROM in the firmware's place (loader.S) makes the CPU's state and jumps. Addresses
are those of Firecracker's and StratoVirt's documents: zero page 7000h, stack 8FF0h, page tables from 9000h, command line 20000h.
"""

import struct

from vm import IMAGE, VM

ROM = IMAGE.parent / "tests" / "loader.bin"
BZIMAGE = IMAGE.with_suffix(".bzImage")

ZERO_PAGE, STACK, TABLES, CMDLINE, KERNEL = 0x7000, 0x8FF0, 0x9000, 0x20000, 0x100000
PARAMETERS, INFO, INITRD = 0x6000, 0x40000, 0x4000000
RAM, RESERVED, ACPI = 1, 2, 3
CR4_PAE, CR4_LA57 = 0x20, 0x1000


class Direct(VM):
    """Describe as a VM, place what is to be in memory, say how to jump; then start() and the rest as of a VM."""

    def __init__(self, machine="microvm", **options):
        super().__init__(machine, bios=str(ROM), cpu=options.pop("cpu", "max"), **options)

    def boot_arguments(self):
        return []

    @property
    def cmdline(self):
        return " ".join(self.words).encode() + b"\0"

    @property
    def memory_bytes(self):
        return int(self.memory[:-1]) << {"M": 20, "G": 30}[self.memory[-1]]

    @property
    def map(self):
        """What a VMM tells of its memory: RAM, and none where PCs have their hole below 1 MiB."""
        return [(0, 0x9FC00, RAM), (KERNEL, self.memory_bytes - KERNEL, RAM)]

    def place(self, address, data):
        path = self.directory / f"{address:x}.bin"
        path.write_bytes(data)
        self.args += ["-device", f"loader,file={path},addr=0x{address:x},force-raw=on"]

    def place_elf(self):
        self.args += ["-device", f"loader,file={self.image}"]
        entry, = struct.unpack_from("<Q", self.image.read_bytes(), 24)
        return entry

    def place_tables(self, levels=4):
        """The first GiB one to one, in pages of 2 MiB; returns what CR3 and CR4 are to be."""
        flags = 3
        tables = b""
        for level in range(levels - 2):
            tables += struct.pack("<Q", TABLES + 0x1000 * (level + 1) | flags).ljust(0x1000, b"\0")
        tables += struct.pack("<512Q", *[i << 21 | 0x80 | flags for i in range(512)])
        self.place(TABLES, tables)
        return TABLES, CR4_PAE | (CR4_LA57 if levels == 5 else 0)

    def jump(self, entry, long_mode=False, eax=0, ebx=0, esi=0, levels=4):
        cr3, cr4 = self.place_tables(levels) if long_mode else (0, 0)
        self.place(PARAMETERS, struct.pack("<8I", long_mode, entry, eax, ebx, esi, STACK, cr3, cr4))
        return self

    # ---- Linux/x86 ----

    def boot_params(self, header=b"", memory=None, count=None, cmdline=CMDLINE, initrd=(0, 0), rsdp=0, setup_data=0):
        """The zero page; `header`: the setup header that a bzImage's loader copies from the file."""
        memory = self.map if memory is None else memory
        page = bytearray(0x1000)
        page[0x1F1:0x1F1 + len(header)] = header
        struct.pack_into("<Q", page, 0x70, rsdp)
        struct.pack_into("<B", page, 0x1E8, len(memory) if count is None else count)
        struct.pack_into("<H", page, 0x1FE, 0xAA55)
        page[0x202:0x206] = b"HdrS"
        page[0x210] = 0xFF
        struct.pack_into("<II", page, 0x218, initrd[0] & 0xFFFFFFFF, initrd[1] & 0xFFFFFFFF)
        struct.pack_into("<II", page, 0xC0, initrd[0] >> 32, initrd[1] >> 32)
        struct.pack_into("<I", page, 0x228, cmdline & 0xFFFFFFFF)
        struct.pack_into("<I", page, 0xC8, cmdline >> 32)
        struct.pack_into("<Q", page, 0x250, setup_data)
        for i, entry in enumerate(memory[:128]):
            struct.pack_into("<QQI", page, 0x2D0 + 20 * i, *entry)
        return bytes(page)

    def linux(self, entry, params=None, long_mode=True, levels=4):
        self.place(ZERO_PAGE, params or self.boot_params())
        self.place(CMDLINE, self.cmdline)
        return self.jump(entry, long_mode, esi=ZERO_PAGE, levels=levels)

    def linux_elf(self, **options):
        self.loader = "as Firecracker: the ELF in long mode, boot_params in RSI"
        return self.linux(self.place_elf(), **options)

    def linux_bzimage(self, address=KERNEL, offset=0x200, params=None, **options):
        """`address`: where this VMM puts the kernel; `offset`: 0 for the 32-bit entry, 200h for the 64-bit one."""
        vmm = "crosvm" if address == 0x200000 else "StratoVirt" if address == KERNEL and offset else "other VMMs"
        self.loader = f"as {vmm}: the bzImage at {address:X}h, its {64 if offset else 32}-bit entry"
        file = BZIMAGE.read_bytes()
        setup = 512 * (1 + file[0x1F1])
        self.place(address, file[setup:])
        header = file[0x1F1:0x202 + file[0x201]]
        return self.linux(address + offset, params or self.boot_params(header=header), long_mode=bool(offset), **options)

    # ---- Multiboot ----

    def multiboot1(self, flags=0x45, memory=None, entries=None, modules=()):
        """`entries`: the map's bytes instead of those of `memory`; modules: (start, end, string)."""
        self.loader = "as Multiboot loaders: the ELF"
        entries = entries if entries is not None else b"".join(
            struct.pack("<IQQI", 20, *entry) for entry in (self.map if memory is None else memory))
        table = INFO + 0x100
        strings = table + 16 * len(modules)
        mods, text = b"", b""
        for start, end, string in modules:
            mods += struct.pack("<IIII", start, end, strings + len(text), 0)
            text += string.encode() + b"\0"
        where = strings + len(text) + 64 & ~7
        info = struct.pack("<12I", flags | (8 if modules else 0), 639, (self.memory_bytes >> 10) - 1024, 0, CMDLINE, len(modules),
                           table, 0, 0, 0, 0, len(entries)) + struct.pack("<I", where)
        self.place(INFO, info.ljust(0x100, b"\0") + (mods + text).ljust(where - table, b"\0") + entries)
        self.place(CMDLINE, self.cmdline)
        return self.jump(self.place_elf(), eax=0x2BADB002, ebx=INFO)

    def multiboot2(self, tags=None, memory=None):
        """`tags`: [(type, bytes)] instead of command line and map."""
        self.loader = "as Multiboot loaders: the ELF"
        if tags is None:
            tags = [(1, self.cmdline), self.mmap_tag(self.map if memory is None else memory)]
        body = b""
        for kind, data in [*tags, (0, b"")]:
            body += (struct.pack("<II", kind, 8 + len(data)) + data).ljust(8 + len(data) + 7 & ~7, b"\0")
        self.place(INFO, struct.pack("<II", 8 + len(body), 0) + body)
        return self.jump(self.place_elf(), eax=0x36D76289, ebx=INFO)

    @staticmethod
    def mmap_tag(memory):
        return 6, struct.pack("<II", 24, 0) + b"".join(struct.pack("<QQII", *entry, 0) for entry in memory)
