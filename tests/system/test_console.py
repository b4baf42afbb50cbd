"""The virtio console, both ways at once: the guest compares what it gets with the pattern of the next seed, the host what it gets
with that of the seed."""

import time

import pytest

from pattern import pattern

MIB = 1 << 20


SEED = 77


def console(make_vm, machine, length, **properties):
    vm = make_vm(machine, words=f"selftest.console={length} selftest.seed={SEED}")
    outgoing = vm.console_file(pattern(SEED + 1, 0, length), **properties)
    vm.run(90)
    vm.passed("console0 writes")
    vm.passed("console0 reads")
    told = vm.record("stream")
    vm.check(told["written"] == told["read"] == length, f"{told}")
    vm.check(outgoing.read_bytes() == pattern(SEED, 0, length), "the host got other bytes")
    return vm


@pytest.mark.parametrize("length", [1, 4095, MIB])
@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
def test_both_ways(make_vm, machine, length):
    console(make_vm, machine, length)


@pytest.mark.parametrize("properties", [{"vectors": 2}, {"vectors": 1}, {"event_idx": False}, {"indirect_desc": False},
                                        {"max_ports": 1}], ids=str)
def test_variants(make_vm, properties):
    console(make_vm, "q35", 100000, **properties)


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_conversation(make_vm, machine):
    """Byte by byte over a socket, with pauses: each byte that comes is an interrupt of its own."""
    vm = make_vm(machine, words=f"selftest.console=20 selftest.seed={SEED}")
    path = vm.console_socket()
    vm.start(paused=True)
    host = vm.connect(path)
    vm.go().expect('"for":"stream"')
    for byte in pattern(SEED + 1, 0, 20):
        host.send(bytes([byte]))
        time.sleep(0.01)
    vm.finish()
    received = b""
    while data := host.recv(4096):
        received += data
    vm.check(received == pattern(SEED, 0, 20), f"the host got {received!r}")


@pytest.mark.parametrize("properties, told", [({}, True), ({"emergency-write": False}, False)], ids=["offered", "not offered"])
def test_emergency_write(make_vm, properties, told):
    vm = make_vm("q35")
    outgoing = vm.console_file(b"", **properties)
    vm.run(60)
    lines = b"vireo: selftest of console0\r\n" + (b"vireo: past the queue\r\n" if told else b"")
    vm.check(outgoing.read_bytes() == lines, f"the host got {outgoing.read_bytes()!r}")
