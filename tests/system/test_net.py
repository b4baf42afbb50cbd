"""Network cards against a socket of the host, and against QEMU's user network."""

import struct
import threading
import zlib

import pytest

from pattern import pattern

HEADER = struct.Struct("<14xIHHI")  # number, length, zero, CRC-32 of what follows (see apps/selftest_echo.c)
NUMBERED, BLANK = b"\x88\xb5", b"\x88\xb6"  # types: frames to echo, and those of selftest_net.c, which nobody answers


class Host(threading.Thread):
    """Takes each frame that comes out of a wire, until the machine that sends them is through or closed."""

    def __init__(self, wire):
        super().__init__(daemon=True)
        self.wire, self.ended = wire, False
        self.start()

    def run(self):
        try:
            while (frame := self.wire.receive()) or not self.ended:
                if frame:
                    self.take(frame)
        except OSError:  # closed with its machine
            pass

    def finish(self):
        """When the machine has ended: what it sent is taken yet."""
        self.ended = True
        self.join()


class Echo(Host):
    """Sends back each numbered frame as it came, and keeps account."""

    def __init__(self, wire, seed):
        self.seed = seed
        self.numbers = set()
        self.lengths = set()
        self.sources = set()
        self.all = []  # lengths, in order
        self.blank = []  # lengths of frames of zeros
        self.wrong = []
        super().__init__(wire)

    def take(self, frame):
        self.all.append(len(frame))
        self.sources.add(frame[6:12])
        if frame[12:14] == NUMBERED:
            self.account(frame)
            self.wire.send(frame)
        elif frame[12:14] == BLANK:
            self.blank.append(len(frame))
            if any(frame[14:]):
                self.wrong.append(("not blank", len(frame)))

    def account(self, frame):
        number, length, _, crc = HEADER.unpack_from(frame)
        payload = frame[HEADER.size:]
        if length != len(frame) or zlib.crc32(payload) != crc or number in self.numbers:
            self.wrong.append((number, length, len(frame)))
        elif number % 500 == 0 and payload != pattern(self.seed, 2048 * number, len(payload)):
            self.wrong.append((number, "pattern"))
        self.numbers.add(number)
        self.lengths.add(length)


def echo(make_vm, machine, frames, timeout=60, seed=5, words="", **properties):
    vm = make_vm(machine, words=f"selftest.net=echo selftest.frames={frames} selftest.seed={seed} {words}")
    host = Echo(vm.net_socket(**properties), seed)
    vm.run(timeout)
    host.finish()
    vm.working("net0")
    vm.check(not host.wrong, f"the host got wrong frames: {host.wrong[:5]}")
    vm.check(host.numbers == set(range(frames)), f"the host got {len(host.numbers)} of {frames} frames")
    told = vm.record("echo")
    vm.check(told["returned"] == frames and told["altered"] == 0 and told["repeated"] == 0, f"{told}")
    return vm, host


def test_echo_100000(make_vm):
    """None lost, none altered, in lengths from 60 to 1514."""
    _, host = echo(make_vm, "q35", 100000, 200)
    assert host.lengths == set(range(60, 1515))


@pytest.mark.parametrize("machine", ["pc", "microvm"])
def test_echo(make_vm, machine):
    echo(make_vm, machine, 5000)


def test_frames_of_all_lengths(make_vm):
    _, host = echo(make_vm, "q35", 1)
    assert len(host.blank) == 256 and (min(host.blank), max(host.blank)) == (60, 1514)


@pytest.mark.parametrize("properties", [
    {"mrg_rxbuf": False}, {"csum": False}, {"ctrl_vq": False}, {"status": False}, {"rx_queue_size": 1024, "tx_queue_size": 256},
    {"event_idx": False, "indirect_desc": False, "mrg_rxbuf": False}, {"host_mtu": 1500}, {"guest_csum": False, "gso": False},
    {"host_tso4": False, "guest_tso4": False}, {"speed": 1000, "duplex": "full"}, {"rss": True}, {"guest_announce": False}],
    ids=lambda properties: "+".join(properties))
@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_variants(make_vm, machine, properties):
    """What a device may offer or leave out."""
    echo(make_vm, machine, 500, **properties)


@pytest.mark.parametrize("words", ["virtio.without=15", "virtio.without=28", "virtio.without=29", "virtio.without=5",
                                   "virtio.without=15,16,28,29"])
def test_without(make_vm, words):
    """The same from the driver's side: mergeable buffers, indirect descriptors, event index, the MAC address, link status."""
    vm, _ = echo(make_vm, "q35", 500, words=words)
    negotiated = int(vm.devices()["net0"]["negotiated"], 0)
    vm.check(not any(negotiated >> int(bit) & 1 for bit in words.partition("=")[2].split(",")), f"negotiated 0x{negotiated:x}")


def test_two_cards(make_vm):
    """Each to its own host."""
    vm = make_vm(words="selftest.net=echo selftest.frames=1000 selftest.seed=5")
    hosts = [Echo(vm.net_socket(), 5) for _ in range(2)]
    vm.run()
    for host in hosts:
        host.finish()
        vm.check(not host.wrong and host.numbers == set(range(1000)), f"{len(host.numbers)} frames, {host.wrong[:5]}")


def test_mac(make_vm):
    """The guest sends from the address that the device tells."""
    _, host = echo(make_vm, "q35", 10, mac="02:00:5e:10:00:01")
    assert host.sources == {bytes.fromhex("02005e100001")}


@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
def test_ping(make_vm, machine):
    """The gateway of QEMU's user network answers."""
    vm = make_vm(machine, words="selftest.ping=10.0.2.2")
    vm.net_user()
    vm.run()
    vm.passed("net0 has 10.0.2.2 answer to ARP")
    vm.passed("net0 has 10.0.2.2 answer to ICMP echo")


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_link(make_vm, machine):
    """set_link over QMP is a configuration change interrupt in the guest."""
    vm = make_vm(machine, words="selftest.link=1")
    host = Echo(vm.net_socket(), 1)
    vm.start()
    vm.expect('"for":"link down"')
    vm.qmp("set_link", name=host.wire.netdev, up=False)
    vm.expect('"for":"link up"')
    vm.qmp.post("set_link", name=host.wire.netdev, up=True)
    vm.finish()
    vm.passed("net0 is told of each change of its link")


class Listener(Host):
    """Keeps all frames."""

    def __init__(self, wire):
        self.frames = []
        super().__init__(wire)

    def take(self, frame):
        self.frames.append(frame)


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


@pytest.mark.parametrize("machine, packed", [("q35", False), ("microvm", True)])
def test_control(make_vm, machine, packed):
    """QEMU has the filters that the guest asked for, and QMP's announce-self makes the guest send a gratuitous ARP request, from the
    address that it has set."""
    vm = make_vm(machine, words="selftest.control=1 selftest.announce=1")
    host = Listener(vm.net_socket(mac="52:54:00:00:00:01", packed=packed, event_idx=not packed))
    vm.start()
    vm.expect('"for":"announcement"')
    told = vm.qmp("query-rx-filter")[0]
    vm.check(not told["promiscuous"] and told["multicast"] == "all" and told["unicast"] == "normal", f"{told}")
    vm.check(told["main-mac"] == "02:76:69:72:65:6f" and told["vlan-table"] == [4095], f"{told}")
    vm.check(told["unicast-table"] == ["02:00:00:00:00:09"], f"{told}")
    vm.check(sorted(told["multicast-table"]) == ["01:00:5e:00:00:01", "33:33:00:00:00:01"], f"{told}")
    vm.qmp.post("announce-self", initial=50, max=100, rounds=2, step=50)
    vm.finish()
    own, address = mac("02:76:69:72:65:6f"), bytes([10, 0, 2, 15])
    gratuitous = b"\xff" * 6 + own + b"\x08\x06\0\1\x08\0\6\4\0\1" + own + address + bytes(6) + address
    host.finish()
    vm.check(any(frame.startswith(gratuitous) for frame in host.frames), f"not among {len(host.frames)} frames")


def ones_complement(data):
    """The Internet checksum; of bytes that hold a right one it is 0."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Station(Host):
    """Answers ARP and ICMP echo as 10.0.2.2. To the first few echoes it sends replies with a wrong checksum before the right one,
    and who goes on to the next echo meanwhile has believed one."""

    MAC, IP = bytes.fromhex("020000000002"), bytes([10, 0, 2, 2])

    def __init__(self, wire):
        self.echoes, self.bad_requests, self.believed = 0, 0, 0
        super().__init__(wire)

    def take(self, frame):
        if frame[12:14] == b"\x08\x06" and frame[38:42] == self.IP:
            self.wire.send(frame[6:12] + self.MAC + frame[12:20] + b"\0\2" + self.MAC + self.IP + frame[22:32] + bytes(18))
        elif frame[12:14] == b"\x08\x00":
            self.answer(frame)

    def reply(self, frame, ip_error=0, icmp_error=0):
        total = struct.unpack_from("!H", frame, 16)[0]
        ip = frame[14:24] + bytes(2) + frame[30:34] + frame[26:30]
        icmp = bytes(4) + frame[38:14 + total]
        ip = ip[:10] + struct.pack("!H", ones_complement(ip) ^ ip_error) + ip[12:]
        icmp = icmp[:2] + struct.pack("!H", ones_complement(icmp) ^ icmp_error) + icmp[4:]
        self.wire.send((frame[6:12] + self.MAC + frame[12:14] + ip + icmp).ljust(60, b"\0"))

    def answer(self, frame):
        total = struct.unpack_from("!H", frame, 16)[0]
        self.echoes += 1
        self.bad_requests += ones_complement(frame[14:34]) != 0 or ones_complement(frame[34:14 + total]) != 0
        if self.echoes <= 4:
            self.reply(frame, ip_error=0x0100 if self.echoes % 2 else 0, icmp_error=0 if self.echoes % 2 else 0x0001)
            early = self.wire.receive()  # for 0.2 s
            self.believed += early is not None and early[12:14] == b"\x08\x00"
        self.reply(frame)


@pytest.mark.parametrize("csum", [True, False])
def test_checksums(make_vm, csum):
    """Nobody offloads checksums: all that is sent has them, and what is received is believed only with them, since the device
    vouches for none (packets of a socket come without VIRTIO_NET_HDR_F_DATA_VALID)."""
    vm = make_vm(words="selftest.ping=10.0.2.2")
    host = Station(vm.net_socket(csum=csum, guest_csum=csum))
    vm.run()
    host.finish()
    vm.passed("net0 has 10.0.2.2 answer to ICMP echo")
    vm.check(host.echoes > 20 and host.bad_requests == 0, f"{host.bad_requests} of {host.echoes} requests have a wrong checksum")
    vm.check(host.believed == 0, f"{host.believed} replies with a wrong checksum were believed")
