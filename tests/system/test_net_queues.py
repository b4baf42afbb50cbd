"""Offloads and queues of network cards, against a tap device of the host: frames cross it with their virtio-net headers, uncut."""

import struct
import threading

import pytest

from test_net import ones_complement
from vm import Tap

pytestmark = pytest.mark.skipif(Tap.missing() is not None, reason=str(Tap.missing()))

NEEDS_CSUM, TCPV4, MSS = 1, 1, 1448


class Mirror(threading.Thread):
    """Sends each of the guest's TCP and UDP packets back the way it came, with its header, and keeps (header, frame)."""

    def __init__(self, tap):
        super().__init__(daemon=True)
        self.tap, self.seen = tap, []
        self.start()

    def run(self):
        try:
            while True:
                if (packet := self.tap.receive()) and packet[1][12:14] == b"\x08\0" and packet[1][30:34] == bytes([10, 0, 2, 2]):
                    header, frame = packet
                    self.seen.append(packet)
                    self.tap.send(header, frame[6:12] + bytes.fromhex("020000000002") + frame[12:26] + frame[30:34] + frame[26:30]
                                  + frame[36:38] + frame[34:36] + frame[38:])
        except OSError:
            pass


@pytest.mark.parametrize("properties", [{}, {"packed": True}, {"mrg_rxbuf": False}], ids=lambda properties: "+".join(properties) or "plain")
def test_offload(make_vm, properties):
    """A frame of 60,000 bytes leaves the guest in one piece, with what the host needs to cut it, and comes in in one; a checksum is
    left to the other side, both ways."""
    vm = make_vm(words="selftest.offload=1")
    mirror = Mirror(vm.net_tap(**properties))
    vm.run()
    vm.passed("net0 sends and gets a frame whose checksum is not made")
    vm.passed("net0 sends and gets a frame of 60000 bytes to be cut")
    (short_header, short), (long_header, long) = mirror.seen
    vm.check(len(short) == 1000 and len(long) == 60000, f"{len(short)} and {len(long)} bytes")
    flags, gso, _, _, start, offset = struct.unpack("<BBHHHH", short_header)
    vm.check((flags, gso, start, offset) == (NEEDS_CSUM, 0, 34, 16), f"{short_header}")
    flags, gso, length, size, start, offset = struct.unpack("<BBHHHH", long_header)
    vm.check((flags, gso, length, size, start, offset) == (NEEDS_CSUM, TCPV4, 54, MSS, 34, 16), f"{long_header}")
    for frame in (short, long):
        vm.check(ones_complement(frame[14:34]) == 0, "the IP header's checksum")
        pseudo = frame[26:34] + b"\0\6" + struct.pack("!H", len(frame) - 34)
        vm.check(ones_complement(pseudo) ^ 0xFFFF == struct.unpack_from("!H", frame, 50)[0], "the pseudo header's sum")


@pytest.mark.parametrize("cpus, queues, properties", [(4, 4, {}), (2, 4, {"packed": True})],
                         ids=["4 CPUs", "2 CPUs, packed"])
def test_pairs(make_vm, cpus, queues, properties):
    """Each CPU has a pair of queues of its own: its flow goes out by that, comes back by that, and is interrupted for there."""
    vm = make_vm(words="selftest.queues=1", cpus=str(cpus))
    mirror = Mirror(vm.net_tap(queues=queues, **properties))
    vm.run()
    told = vm.record("queues")
    vm.check(told["queues"] == cpus and told["sent"] == told["back"] == 64 * cpus, f"{told}")
    ports = {struct.unpack_from("!H", frame, 34)[0] for _, frame in mirror.seen}
    vm.check(ports == {7000 + cpu for cpu in range(cpus)} and len(mirror.seen) == 64 * cpus, f"{ports}, {len(mirror.seen)} frames")
