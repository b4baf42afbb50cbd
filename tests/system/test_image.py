"""The image itself, and the commands of the Makefile that boot it."""

import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import time

import pytest

from vm import IMAGE, QEMU, ROOT

SIZE_LIMITS = {"vireo.plain.elf": 350 << 10, "vireo.small.elf": 250 << 10}  # bytes, stripped; what each has is said in the Makefile


class Elf:
    """What the tests want of an ELF64 file: segments, sections, symbols."""

    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        assert self.data[:6] == b"\x7fELF\x02\x01", "not a little-endian ELF64 file"
        (self.entry, phoff, shoff) = struct.unpack_from("<QQQ", self.data, 24)
        (phsize, phcount, shsize, shcount, shstrings) = struct.unpack_from("<HHHHH", self.data, 54)
        self.segments = [struct.unpack_from("<IIQQQQQQ", self.data, phoff + i * phsize) for i in range(phcount)]
        headers = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + i * shsize) for i in range(shcount)]
        self.sections = {self.string(headers[shstrings], header[0]): header for header in headers}

    def string(self, table, offset):
        start = table[4] + offset
        return self.data[start:self.data.index(b"\0", start)].decode()

    def symbols(self):
        _, _, _, _, offset, size, link, *_ = self.sections[".symtab"]
        strings = list(self.sections.values())[link]
        entries = struct.iter_unpack("<IBBHQQ", self.data[offset:offset + size])
        return {self.string(strings, name): value for name, _, _, _, value, _ in entries}

    def notes(self):
        for kind, _, offset, _, _, size, _, _ in self.segments:
            end = offset + size
            while kind == 4 and offset < end:
                name_size, size_, note = struct.unpack_from("<III", self.data, offset)
                name = self.data[offset + 12:offset + 12 + name_size].rstrip(b"\0")
                yield name, note
                offset += 12 + (name_size + 3 & ~3) + (size_ + 3 & ~3)


@pytest.fixture(scope="module")
def elf():
    return Elf(IMAGE)


@pytest.mark.parametrize("name", SIZE_LIMITS)
def test_size(tmp_path, name):
    stripped, image = tmp_path / "stripped.elf", os.path.join(os.path.dirname(IMAGE), name)
    subprocess.run([os.environ.get("STRIP", "strip"), "-s", "-o", stripped, image], check=True)
    assert stripped.stat().st_size <= SIZE_LIMITS[name]


def test_stripped_image_boots(make_vm, tmp_path):
    """What people ship has no symbol table: it boots and panics as well."""
    stripped = tmp_path / "stripped.elf"
    subprocess.run([os.environ.get("STRIP", "strip"), "-s", "-o", stripped, IMAGE], check=True)
    vm = make_vm(image=stripped)
    vm.rng()
    vm.run()
    vm.working("rng0")


def test_segments(elf):
    """No segment is writable and executable; the PVH note is there."""
    loads = [segment for segment in elf.segments if segment[0] == 1]
    assert loads and not any(flags & 3 == 3 for _, flags, *_ in loads)
    assert (b"Xen", 18) in list(elf.notes())


def test_segments_leave_no_gap(elf):
    """Loaders put things into gaps between segments."""
    loads = [(address, address + memory) for kind, _, _, address, _, _, memory, _ in elf.segments if kind == 1]
    assert loads[0][0] == 1 << 20
    assert all(before[1] == after[0] for before, after in zip(loads, loads[1:]))


def find_header(data, magic, step, end):
    """Offsets of a Multiboot header with a good checksum."""
    size = 3 if magic == 0x1BADB002 else 4
    for offset in range(0, end, step):
        words = struct.unpack_from(f"<{size}I", data, offset)
        if words[0] == magic and sum(words) & 0xFFFFFFFF == 0:
            yield offset


@pytest.mark.parametrize("strip", [False, True])
def test_multiboot_headers(tmp_path, strip):
    """In the first 8 KiB and 32 KiB of the ELF; the first where QEMU, which would take it for a reason to refuse the file, does not look."""
    path = IMAGE
    if strip:
        path = tmp_path / "stripped.elf"
        subprocess.run([os.environ.get("STRIP", "strip"), "-s", "-o", path, IMAGE], check=True)
    data = path.read_bytes()
    one, = find_header(data, 0x1BADB002, 4, 8192 - 8)
    assert 8192 - 48 <= one
    assert len(list(find_header(data, 0xE85250D6, 8, 32768 - 16))) == 1


def test_bzimage_header(elf):
    """As the Linux/x86 boot protocol 2.15 has it, and what it says is so."""
    data = IMAGE.with_suffix(".bzImage").read_bytes()
    flat = IMAGE.with_suffix(".bin").read_bytes()
    sectors, paragraphs = struct.unpack_from("<B2xI", data, 0x1F1)
    assert data[0x202:0x206] == b"HdrS" and struct.unpack_from("<H", data, 0x206) == (0x20F,) and data[0x201] + 0x202 == 0x26C
    assert data[512 * (1 + sectors):] == flat and paragraphs * 16 == len(flat)
    start, = struct.unpack_from("<I", data, 0x214)
    relocatable, _, flags, cmdline = struct.unpack_from("<BBHI", data, 0x234)
    preferred, size, _, info = struct.unpack_from("<QIII", data, 0x258)
    assert data[0x211] & 1 and start == preferred == 1 << 20 and not relocatable and flags & 1 and cmdline >= 2048
    assert size >= elf.symbols()["image_end"] - start
    assert flat[info:info + 4] == b"LToP"
    pe, = struct.unpack_from("<I", data, 0x3C)
    assert data[:2] == b"MZ" and data[pe:pe + 4] == b"PE\0\0"
    count, optional = struct.unpack_from("<H12xH", data, pe + 6)
    sections = [struct.unpack_from("<8s4I12xI", data, pe + 24 + optional + 40 * i) for i in range(count)]
    for name, memory, address, file_size, offset, flags in sections:
        assert offset + file_size <= len(data) and address == offset and file_size <= memory, name
        assert flags >> 29 & 5 != 5, f"{name} is writable and executable"


def test_drivers(elf):
    """Every VIRTIO_DRIVER() of the sources is in the image: no linker dropped one."""
    sources = [path.read_text() for path in (ROOT / "drivers").glob("*/*.c")]
    written = sum(len(re.findall(r"^VIRTIO_DRIVER\(", text, re.MULTILINE)) for text in sources)
    symbols = elf.symbols()
    assert written >= 4
    assert symbols["__stop_virtio_drivers"] - symbols["__start_virtio_drivers"] == 8 * written


# ---- make run ----

def environment():
    """As a person's shell has it: nothing of a make that runs these tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}


@pytest.fixture
def make_run():
    """The command with more words, in a directory of its own for the disk and the console's socket."""
    with tempfile.TemporaryDirectory(prefix="vireo-") as directory:
        command = ["make", "-C", str(ROOT), "--no-print-directory", "run", f"QEMU={QEMU}", f"RUN_DIR={directory}"]
        yield lambda *words: command + list(words)


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=environment(),
                          check=False)


@pytest.mark.parametrize("machine", ["q35", "microvm", "pc"])
def test_make_run(make_run, machine):
    """What a newcomer types: ends 0, four or more devices found and driven."""
    done = run(make_run(f"MACHINE={machine}"))
    output = (done.stdout + done.stderr)[-6000:]
    assert done.returncode == 0, output
    assert '"event":"end","status":0' in done.stdout, output
    devices = [line for line in done.stdout.splitlines() if line.startswith('@vireo {"event":"device"')]
    assert len(devices) >= 4 and all('"state":"ok"' in line for line in devices), output
    if machine == "microvm":
        assert sum('"transport":"mmio"' in line for line in devices) >= 4, output


def test_make_run_fails_with_the_image(make_run):
    """A failure inside is a failure of the command."""
    assert run(make_run("APP=no-such-program")).returncode != 0


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm")
            os.execvpe(command[0], command, environment())
        self.output = b""
        self.seen = 0
        self.ended = False

    def read(self, deadline):
        """More of the output; False: it has ended."""
        if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing more is printed; the end is {self.output[-3000:]!r}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # what Linux says when the other side is closed
            data = b""
        self.output += data
        return bool(data)

    def expect(self, pattern, timeout=120):
        deadline = time.monotonic() + timeout
        while not (match := re.compile(pattern, re.MULTILINE).search(self.output, self.seen)):
            assert self.read(deadline), f"{pattern!r} was not printed; the end is {self.output[-3000:]!r}"
        self.seen = match.end()
        return match

    def send(self, data):
        os.write(self.fd, data)

    def status(self, timeout=120):
        deadline = time.monotonic() + timeout
        while self.read(deadline):
            pass
        self.ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        if not self.ended:
            os.killpg(self.pid, signal.SIGKILL)  # pty.fork() made it the leader of its group
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_terminal(make_run, machine):
    """On a terminal `make run` ends at a prompt: it edits lines, remembers and completes them, and `poweroff` is the end."""
    terminal = Terminal(make_run(f"MACHINE={machine}"))
    try:
        terminal.expect(rb"^vireo> ")
        terminal.send(b"help\r")
        terminal.expect(rb"^  poweroff +\w")
        terminal.expect(rb"^vireo> ")
        terminal.send(b"ecco one\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x7fh\x05!\r")  # steps back, replaces, goes to the end
        terminal.expect(rb"^one!\r*\n")
        terminal.expect(rb"^vireo> ")
        terminal.send(b"\x1b[A\x17two\r")  # the line before, its last word replaced
        terminal.expect(rb"^two\r*\n")
        terminal.expect(rb"^vireo> ")
        terminal.send(b"not-this\x03")
        terminal.expect(rb"^vireo> ")
        terminal.send(b"devi\t\r")
        terminal.expect(rb"^blk0 ")
        terminal.expect(rb"^vireo> ")
        terminal.send(b"poweroff\r")
        assert terminal.status() == 0, terminal.output[-3000:]
        assert b'"event":"end","status":0' in terminal.output
    finally:
        terminal.close()


def test_readme_names_the_drivers():
    """README's table of devices has what the image registers."""
    checked = subprocess.run([ROOT / "tools/devices", IMAGE.parents[1], "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_interface_is_told():
    """docs/interface.md has each word that the sources ask for and each record that they print, and no others."""
    text = "".join(path.read_text() for folder in ("apps", "arch", "boot", "drivers", "lib", "virtio") for path in (ROOT / folder).rglob("*.c"))
    words = set(re.findall(r'\b(?:cmdline_(?:get|next|number|flag)|bench_(?:parameter|choice)|virtio_choose)\("([a-z_.]+)"', text))
    words |= {f"selftest.{key}" for key in re.findall(r'\bselftest_option\("(\w+)"', text)}
    told = (ROOT / "docs/interface.md").read_text()
    assert len(words) > 40 and set(re.findall(r"^\| `([a-z_.]+)=", told, re.MULTILINE)) == words
    assert set(re.findall(r"^\| `([a-z-]+)` \|", told, re.MULTILINE)) == set(re.findall(r'\{\\"event\\":\\"([a-z-]+)', text))


def test_formats_are_known():
    """Each conversion in a text of the sources is one that lib/format.c has: any other would end the line there."""
    known = re.compile(r"%[-#]?0?(?:\d+|\*)?(?:(?:l|ll|z)?[dux]|[opc]|(?:\.(?:\d+|\*))?s)")
    found = 0
    for folder in ("apps", "arch", "boot", "drivers", "lib", "virtio"):
        for path in (ROOT / folder).rglob("*.[ch]"):
            for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text()):
                # A letter with a digit behind it is an operand of the assembler's.
                for conversion in re.findall(r"%[-+ #0-9.*]*(?:hh|h|ll|l|j|z|t|L)?[a-zA-Z](?!\d)", text.replace("%%", "")):
                    assert known.fullmatch(conversion), f"{path}: {conversion} in {text!r}"
                    found += 1
    assert found > 500


def test_readme_shows_a_run(make_run):
    """The lines that README shows of `make run` are among those that it prints, in this order; `...` stands for anything."""
    shown = re.search(r"`make run </dev/null`.*?\n\n((?:    .*\n)+)", (ROOT / "README.md").read_text())[1]
    wanted = [".*".join(map(re.escape, line.strip().split("..."))) for line in shown.splitlines() if line.strip() != "..."]
    output = run(make_run()).stdout
    assert len(wanted) > 3 and re.search(r"^" + r"$(?s:.*?)^".join(wanted) + "$", output, re.MULTILINE), output[-6000:]
