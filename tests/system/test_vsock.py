"""Sockets to a host that is Linux: QEMU has them only with the kernel's vhost_vsock, so the host is a Linux guest, and Vireo a guest of
that, in a QEMU within QEMU. What Vireo says that it sent is compared with what the Linux program there got."""

import pathlib
import re
import shutil
import sys
import zlib

import pytest

from pattern import pattern
from vm import IMAGE, MACHINES, QEMU, ROOT, VM

sys.path.append(str(ROOT / "tests/bench"))
import linux  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ["vsock", "vmw_vsock_virtio_transport_common", "vhost", "vhost_iotlb", "vhost_vsock"]
FIRMWARE = ["bios-256k.bin", "qboot.rom", "bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"]
PORT, SEED = 5000, 17
PIECE, PIECES = 5000, 64  # apps/selftest_socket.c
TIMEOUT = 600  # seconds: an emulator emulated, on a busy host


class Nested(VM):
    """A Linux guest that runs `command`; what that prints is on its console, and the status it ends with is the machine's."""

    def __init__(self, directory, command, files):
        super().__init__(cpu="max", memory="1G")
        guest = linux.Linux(IMAGE.parents[1] / "bench/linux").fetch()
        peer = directory / "peer"
        linux.run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", peer, HERE / "vsock_peer.c")
        self.image, self.initrd = guest.kernel, directory / "initrd"
        self.initrd.write_bytes(linux.archive([("init", peer.read_bytes(), 0o755), ("command", "\n".join(command).encode(), 0o644),
                                               *guest.modules(MODULES), *files]))

    def boot_arguments(self):
        return ["-kernel", str(self.image), "-initrd", str(self.initrd), "-append", linux.FAST]

    def summary(self, status):
        return []  # docs/boots.md would have it in the outer machine


def qemu_files():
    """QEMU itself, its accelerator where that is a module, the libraries of both, and its firmware, each where it is here."""
    program = pathlib.Path(shutil.which(QEMU)).resolve()
    prefix = program.parent.parent
    files = {}
    for path in [program, *prefix.glob("lib/**/qemu/accel-tcg-x86_64.so")]:
        files.update((name, (name, data, mode)) for name, data, mode in linux.with_libraries(path, path.relative_to("/")))
    for name in FIRMWARE:
        path = next((path for share in ("share/qemu", "share/seabios") for path in [prefix / share / name] if path.exists()), None)
        if path:
            name = str((prefix / "share/qemu" / name).relative_to("/"))
            files[name] = (name, path.read_bytes(), 0o644)
    return f"/{program.relative_to('/')}", list(files.values())


@pytest.mark.full
@pytest.mark.parametrize("machine, device", [("microvm", "vhost-vsock-device"), ("q35", "vhost-vsock-pci")])
def test_linux(tmp_path, machine, device):
    """Streams and messages to a program under Linux and back, and a refusal where nobody listens."""
    qemu, files = qemu_files()
    command = [qemu, *MACHINES[machine], "-accel", "tcg", "-smp", "1,maxcpus=2", "-m", "128M", "-nodefaults", "-display", "none",
               "-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
               "-global", "virtio-mmio.force-legacy=off", "-device", f"{device},guest-cid=3", "-kernel", "/vireo.elf",
               "-append", f"app=selftest selftest.vsock={PORT} selftest.seed={SEED}"]
    with Nested(tmp_path, command, [*files, ("vireo.elf", IMAGE.read_bytes(), 0o644)]) as vm:
        vm.run(timeout=TIMEOUT)
        vm.working("vsock0")
        for what in ("is refused where nobody listens", "by stream", "by messages"):
            vm.passed(f"vsock0 .*{what}")
        size = PIECES * PIECE
        total = zlib.adler32(pattern(SEED, 0, size))
        told = sorted(line for line in vm.lines if line.startswith("peer: "))
        want = [f"peer: messages: {size} bytes in {PIECES}", rf"peer: stream: {size} bytes in \d+"]
        vm.check(len(told) == 2 and all(re.fullmatch(f"{start}, sum {total:08x}, shut down", line) for start, line in zip(want, told)),
                 f"the host got {told}, not the sum {total:08x}")
