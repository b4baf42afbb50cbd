"""FUSE by virtiofsd: trees that the host or the guest made are the same on both sides; and it is killed under load."""

import pathlib

import pytest

from test_shell import Shell
from tree import check_tree
from vm import Daemon, option

VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")  # QEMU's package has it, up to 7.2

pytestmark = pytest.mark.skipif(not VIRTIOFSD.exists(), reason="no virtiofsd here")


class Server(Daemon):
    """virtiofsd on a directory, for one machine."""

    def __init__(self, vm, root, **properties):
        self.root = root
        super().__init__(vm, "fs")
        vm.args += ["-chardev", f"socket,id=fs,path={self.socket}",
                    "-device", option(f"vhost-user-fs-{'device' if vm.mmio else 'pci'}", {"chardev": "fs", "tag": "the-tag", **properties})]

    def command(self):
        return [VIRTIOFSD, f"--socket-path={self.socket}", "-f", "-o", f"source={self.root}", "-o", "sandbox=chroot", "-o", "cache=none",
                "-o", "readdirplus"]


@pytest.mark.parametrize("machine, properties", [("q35", {}), ("microvm", {"indirect_desc": False}),
                                                 pytest.param("q35", {"packed": True}, marks=pytest.mark.full),
                                                 pytest.param("microvm", {"packed": True}, marks=pytest.mark.full)], ids=str)
def test_tree(make_vm, tmp_path, machine, properties):
    vm = make_vm(machine, words="selftest.write=1")
    check_tree(vm, tmp_path / "tree", "fs0", lambda root: Server(vm, root, **properties))


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
