"""The Linux guest: Debian's cloud kernel, unpacked but not installed, and an initial file system with the drivers and load.c.

The kernel is the uncompressed vmlinux, which QEMU starts by the same protocol as Vireo and which boots faster than the bzImage.
"""

import fcntl
import gzip
import lzma
import pathlib
import shutil
import stat
import struct
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "linux-image-cloud-amd64"
MODULES = ["virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_mmio", "virtio_blk",
           "failover", "net_failover", "virtio_net", "pktgen"]

# As fast as it gets: no mitigations, no address randomization, no calibration, no checks, nothing printed.
FAST = ("mitigations=off nokaslr tsc=reliable clocksource=tsc nowatchdog init_on_alloc=0 audit=0 selinux=0 apparmor=0 "
        "cryptomgr.notests random.trust_cpu=on pci=noaer panic=-1 quiet console=ttyS0 rdinit=/init")


class Linux:
    """Files in `directory`: vmlinux, initrd, initrd.fio (with fio and its libraries; None where there is no fio)."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.root = self.directory / "root"
        self.kernel = self.directory / "vmlinux"
        self.initrd = self.directory / "initrd"
        self.fio = self.directory / "initrd.fio"

    def fetch(self):
        """The kernel and its modules, no initial file system; who comes while another fetches them waits."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.kernel.exists():
                self.unpack()
                self.extract()
        self.version = (self.directory / "version").read_text().strip()
        return self

    def make(self):
        self.fetch()
        load = self.directory / "load"
        run("gcc", "-O2", "-Wall", "-static", "-pthread", "-o", load, HERE / "load.c")
        files = [("init", load.read_bytes(), 0o755), *self.modules(MODULES)]
        self.initrd.write_bytes(archive(files))
        libraries = with_libraries(shutil.which("fio"), "bin/fio")
        if libraries:
            self.fio.write_bytes(archive(files + libraries))
        else:
            self.fio = None
        return self

    def modules(self, names):
        return [(f"modules/{path.name}", path.read_bytes(), 0o644) for path in sorted(self.root.rglob("*.ko")) if path.stem in names]

    def unpack(self):
        """The package that the meta package stands for, from Debian's archive, into a directory of ours."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        name = kernel_package()
        run("apt-get", "-q", "download", name, cwd=self.directory)
        package = max(self.directory.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
        run("dpkg", "-x", package, self.root)
        (self.directory / "version").write_text(package.name.split("_")[0] + " " + package.name.split("_")[1] + "\n")
        package.unlink()

    def extract(self):
        """The bzImage's payload is the ELF file, compressed; "Details of Harddrive Layout" of the Linux boot protocol says where."""
        image = next(self.root.glob("boot/vmlinuz-*")).read_bytes()
        start = (image[0x1F1] + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
        payload = image[start:start + struct.unpack_from("<I", image, 0x24C)[0]]
        if payload.startswith(b"\x1f\x8b"):
            kernel = gzip.decompress(payload)
        elif payload.startswith(b"\xfd7zXZ"):
            kernel = lzma.decompress(payload)
        else:  # LZ4's legacy format; behind it stands the length
            kernel = subprocess.run(["lz4", "-d", "-c"], input=payload[:-4], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        if not kernel.startswith(b"\x7fELF"):
            raise RuntimeError("the kernel's compression is not known")
        self.kernel.write_bytes(kernel)


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout.decode(errors='replace').strip()[-500:]}")
    return done.stdout.decode(errors="replace")


def kernel_package():
    for attempt in range(2):
        for line in run("apt-cache", "depends", PACKAGE).splitlines():
            if line.strip().startswith("Depends: linux-image-"):
                return line.split()[-1]
        if attempt == 0:
            run("apt-get", "-q", "update")
    raise RuntimeError(f"no {PACKAGE} in the package lists")


def with_libraries(program, name):
    """[(name, bytes, mode)] of a program, under a name, and what ldd names; none where it is absent."""
    if not program:
        return []
    files = {program: str(name)}
    for line in run("ldd", program).splitlines():
        for word in line.split():
            if word.startswith("/"):
                files[word] = word.lstrip("/")
    return [(name, pathlib.Path(path).read_bytes(), 0o755) for path, name in files.items()]


def archive(files):
    """An initial file system in cpio's "newc" format: directories, the console's node, and the files."""
    out, seen = bytearray(), set()

    def add(name, mode, data=b"", device=(0, 0)):
        path = name.encode() + b"\0"
        fields = [len(seen), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + path)
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data)
        out.extend(b"\0" * (-len(out) % 4))
        seen.add(name)

    def directory(name):
        if name and name != "." and name not in seen:
            directory(str(pathlib.PurePosixPath(name).parent))
            add(name, stat.S_IFDIR | 0o755)

    for name in ("dev", "proc", "sys", "modules"):
        directory(name)
    add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name, data, mode in files:
        directory(str(pathlib.PurePosixPath(name).parent))
        add(name, stat.S_IFREG | mode, data)
    add("TRAILER!!!", 0)
    return bytes(out)
