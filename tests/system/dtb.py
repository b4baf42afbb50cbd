"""A device tree blob ("Flattened Devicetree (DTB) Format"), made of nodes: {property: [cells], "text" or b"", child: {...}}."""

import struct

BEGIN, END_NODE, PROPERTY, END = 1, 2, 3, 9


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def blob(root):
    names, structure = bytearray(), b""

    def value_of(value):
        return (struct.pack(f">{len(value)}I", *value) if isinstance(value, list) else
                value.encode() + b"\0" if isinstance(value, str) else value)

    def put(name, node):
        nonlocal structure
        structure += struct.pack(">I", BEGIN) + pad(name.encode() + b"\0")
        for key, value in node.items():
            if not isinstance(value, dict):
                data = value_of(value)
                structure += struct.pack(">III", PROPERTY, len(data), len(names)) + pad(data)
                names.extend(key.encode() + b"\0")
        for key, value in node.items():
            if isinstance(value, dict):
                put(key, value)
        structure += struct.pack(">I", END_NODE)

    put("", root)
    structure += struct.pack(">I", END)
    reserved = bytes(16)
    at = 40 + len(reserved)
    return struct.pack(">10I", 0xD00DFEED, at + len(structure) + len(names), at, at + len(structure), 40, 17, 16, 0, len(names),
                       len(structure)) + reserved + structure + bytes(names)
