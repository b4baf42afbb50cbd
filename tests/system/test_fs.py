"""FUSE by virtiofsd: trees that the host or the guest made are the same on both sides; and it is killed under load."""

import pathlib
import shutil
import subprocess

import pytest

from test_shell import Shell
from tree import check_made, check_read, plant
from vm import option

VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")  # QEMU's package has it, up to 7.2

pytestmark = pytest.mark.skipif(not VIRTIOFSD.exists(), reason="no virtiofsd here")


class Server:
    """virtiofsd on a directory, for one machine."""

    def __init__(self, vm, root, **properties):
        self.vm, self.root = vm, root
        self.socket, self.log = vm.directory / "fs.sock", vm.directory / "fs.log"
        vm.helpers.append(self)
        self.start()
        vm.machine_options = "memory-backend=ram"
        vm.args += ["-object", f"memory-backend-memfd,id=ram,size={vm.memory},share=on",
                    "-chardev", f"socket,id=fs,path={self.socket}",
                    "-device", option(f"vhost-user-fs-{'device' if vm.mmio else 'pci'}", {"chardev": "fs", "tag": "the-tag", **properties})]

    def start(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([VIRTIOFSD, f"--socket-path={self.socket}", "-f", "-o", f"source={self.root}",
                                             "-o", "sandbox=chroot", "-o", "cache=none", "-o", "readdirplus"],
                                            stdout=log, stderr=log)
        while not self.socket.exists():
            assert self.process.poll() is None, self.log.read_text()

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("machine, properties", [("q35", {}), ("microvm", {"indirect_desc": False}),
                                                 pytest.param("q35", {"packed": True}, marks=pytest.mark.full),
                                                 pytest.param("microvm", {"packed": True}, marks=pytest.mark.full)], ids=str)
def test_tree(make_vm, tmp_path, machine, properties):
    root = tmp_path / "tree"
    plant(root)
    vm = make_vm(machine, words="selftest.write=1")
    Server(vm, root, **properties)
    vm.run(120)
    vm.passed("fs0 gives all its files")
    vm.passed("fs0 takes files")
    vm.passed("fs0 refuses what cannot be")
    vm.check(vm.record("tree")["tag"] == "the-tag", "another tag")
    check_made(vm, root)
    shutil.rmtree(root / "made")
    check_read(vm, root, "fs0")


def test_killed(make_vm, tmp_path):
    """The server is killed: what waits for it gets an error in time, the shell goes on, and the machine ends as ever. QEMU 7.2 does not
    take up a server that comes back."""
    (tmp_path / "file").write_text("some text\n")
    vm = make_vm(app="shell")
    server = Server(vm, tmp_path)
    shell = Shell(vm)
    vm.check("some text" in shell("file show /the-tag/file"), "the file is not read")
    server.close()
    vm.check("input/output error" in shell("file show /the-tag/file", 120), "no error")
    server.start()
    vm.check("some text" not in shell("file show /fs0/file", 120), "the server is back: this test can do more")
    shell.poweroff()
