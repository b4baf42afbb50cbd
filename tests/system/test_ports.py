"""Consoles with several ports: bytes through all of them at once, ports that come and go while the guest runs."""

import threading

import pytest

from pattern import pattern
from test_shell import Shell, check_talk

SEED = 31
LENGTH = 200000


@pytest.mark.parametrize("machine, properties", [("q35", {}), ("q35", {"packed": True}), ("q35", {"max_ports": 31, "vectors": 2}),
                                                 ("pc", {"disable-modern": True}), ("microvm", {}), ("microvm", {"packed": True})],
                         ids=lambda value: value if isinstance(value, str) else " ".join(value) or "default")
def test_several_at_once(make_vm, machine, properties):
    vm = make_vm(machine, words=f"selftest.console={LENGTH} selftest.ports=4 selftest.seed={SEED}")
    vm.port("bus", **{"max_ports": 8, "vectors": 18, **properties} if not vm.mmio else {"max_ports": 8, **properties})
    files = {number: vm.port_file("bus", pattern(SEED + 2 * number + 1, 0, LENGTH), "virtconsole", nr=number) for number in (0, 3)}
    paths = {number: vm.port_socket("bus", nr=number, name=f"org.vireo.{number}") for number in (2, 7)}
    vm.start(paused=True)
    talks = {number: Talk(vm.connect(path), number) for number, path in paths.items()}
    vm.go().finish(120)
    vm.passed("console0 has 4 ports")
    got = {number: outgoing.read_bytes() for number, outgoing in files.items()}
    got.update({number: talk.received() for number, talk in talks.items()})
    for number, received in got.items():
        vm.passed(f"console0.{number} reads" if number else "console0 reads")
        vm.check(received == pattern(SEED + 2 * number, 0, LENGTH), f"the host got other bytes from port {number}")


class Talk:
    """The host's end of a port: both ways at once."""

    def __init__(self, sock, number):
        self.sock, self.bytes = sock, b""
        sock.settimeout(None)
        self.threads = [threading.Thread(target=sock.sendall, args=(pattern(SEED + 2 * number + 1, 0, LENGTH),), daemon=True),
                        threading.Thread(target=self.receive, daemon=True)]
        for thread in self.threads:
            thread.start()

    def receive(self):
        while data := self.sock.recv(65536):
            self.bytes += data

    def received(self):
        """Until the machine has closed its end."""
        for thread in self.threads:
            thread.join(30)
        return self.bytes


def listed(shell, text, there=True):
    shell.vm.until(lambda: shell("console"), lambda got: (text in got) == there, f"{text!r} is {'not ' if there else ''}listed")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_come_and_go(make_vm, machine):
    vm = make_vm(machine, app="shell")
    vm.port("bus", max_ports=4)
    shell = Shell(vm)
    for turn in range(2):
        path = vm.directory / f"late{turn}"
        vm.qmp("chardev-add", id=f"late{turn}", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": str(path)}}, "server": True, "wait": False}})
        vm.qmp("device_add", driver="virtserialport", bus="bus.0", chardev=f"late{turn}", id="late", name="org.vireo.late", nr=2)
        listed(shell, '"org.vireo.late": port, closed here, closed there')
        vm.check("nobody is there" in shell("console write org.vireo.late anything"), "it was written to nobody")
        host = vm.connect(path)
        listed(shell, "open there")
        check_talk(shell, host, "console0.2")
        vm.until(lambda: {chardev["label"]: chardev["frontend-open"] for chardev in vm.qmp("query-chardev")},
                 lambda opened: opened[f"late{turn}"], "the host is not told that the guest's side is open")
        vm.qmp("device_del", id="late")
        listed(shell, "org.vireo.late", there=False)
        host.close()
    shell.poweroff()
