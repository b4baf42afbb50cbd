"""Disks by qemu-storage-daemon, a second implementation of the device beside QEMU's own: the same bytes, and what it acknowledged before it is
killed under load stays."""

import shutil
import signal

import pytest

from pattern import pattern
from vm import Daemon, option

MIB = 1 << 20
SIZE, SEED = 32 * MIB, 31
DAEMON = shutil.which("qemu-storage-daemon")

pytestmark = pytest.mark.skipif(not DAEMON, reason="no qemu-storage-daemon here")


class Storage(Daemon):
    """qemu-storage-daemon with a disk, for one machine."""

    def __init__(self, vm, path, queues=1, **properties):
        self.path, self.queues = path, queues
        super().__init__(vm, "disk")
        vm.args += ["-chardev", f"socket,id=storage,path={self.socket},reconnect=1",
                    "-device", option("vhost-user-blk-pci", {"chardev": "storage", "num-queues": queues, **properties})]

    def command(self):
        return [DAEMON, "--blockdev", f"driver=file,node-name=file,filename={self.path}",
                "--export", f"type=vhost-user-blk,id=export,node-name=file,writable=on,num-queues={self.queues},"
                f"addr.type=unix,addr.path={self.socket}"]


@pytest.mark.parametrize("machine, queues", [("q35", 1), pytest.param("microvm-pcie", 2, marks=pytest.mark.full)])
def test_bytes(make_vm, disk, machine, queues):
    path = disk(8 * MIB)
    vm = make_vm(machine, words=f"selftest.write=1 selftest.seed={SEED} selftest.reset=2", cpus="2")
    Storage(vm, path, queues)
    vm.run()
    vm.working("blk0")
    vm.check(path.read_bytes() == pattern(SEED, 0, 8 * MIB), "the disk differs from the pattern")


@pytest.mark.parametrize("queues", [2, pytest.param(1, marks=pytest.mark.full)])
def test_killed(make_vm, disk, queues):
    """Killed and started again while it writes: what QEMU's reconnect= gives again is done again, nothing that was acknowledged is lost, and the
    guest notices at most that it takes longer. The daemon does not keep what is in flight in shared memory: it goes on at the used index, as
    though it had ended all requests in turn. So each queue has room for one at a time."""
    path, data = disk(SIZE), pattern(SEED, 0, SIZE)

    def written(offset):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(512) == data[offset:offset + 512]

    vm = make_vm("q35", words=f"selftest.write=1 selftest.seed={SEED}", cpus="2")
    storage, kills = Storage(vm, path, queues, **{"queue-size": 4, "indirect_desc": "off"}), 0
    vm.start()
    for offset in (MIB, SIZE // 3, SIZE // 2):
        vm.until(lambda: written(offset), bool, f"nothing is written at {offset}")
        storage.process.send_signal(signal.SIGSTOP)
        kills += not written(SIZE - 512)
        storage.close()
        storage.start()
    vm.finish(120)
    vm.check(kills, "it was through before it was killed")
    vm.passed(f"blk0 writes {SIZE} bytes of the pattern")
    vm.check(path.read_bytes() == data, "the disk differs from the pattern")
