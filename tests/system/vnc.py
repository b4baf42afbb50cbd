"""A small client of the remote framebuffer protocol: what QEMU shows beside the pixels, and a window that somebody resizes."""

import struct

LEDS, DESKTOP, POINTER = -261, -308, -314  # pseudo-encodings: LED state, extended desktop size, cursor with alpha


class Vnc:
    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")
        self.sock.sendall(self.read(12))  # its version
        self.read(self.read(1)[0])  # security types
        self.sock.sendall(b"\x01")  # none
        assert self.read(4) == b"\0\0\0\0", "no access to VNC"
        self.sock.sendall(b"\x01")
        self.read(struct.unpack(">20xI", self.read(24))[0])

    def read(self, count):
        data = self.file.read(count)
        assert len(data) == count, "the VNC server hung up"
        return data

    def want(self, *encodings):
        self.sock.sendall(struct.pack(f">BBH{len(encodings)}i", 2, 0, len(encodings), *encodings))

    def resize(self, width, height):
        self.sock.sendall(struct.pack(">BxHHBxIHHHHI", 251, width, height, 1, 0, 0, 0, width, height, 0))

    def update(self):
        """The next: its encoding, the four numbers of its rectangle, its data."""
        kind, count, x, y, width, height, encoding = struct.unpack(">BxHHHHHi", self.read(16))
        assert (kind, count) == (0, 1), f"message {kind} with {count} rectangles"
        if encoding == LEDS:
            data = self.read(1)
        elif encoding == DESKTOP:
            data = self.read(4)
            data += self.read(16 * data[0])
        else:
            assert encoding == POINTER, f"encoding {encoding}"
            data = self.read(4 + 4 * width * height)[4:]
        return encoding, (x, y, width, height), data
