"""Displays: QEMU's screendump has what the guest drew, byte by byte; its VNC clients get the pointer and resize the window."""

import re

import pytest

from test_shell import Shell
from vm import ROOT
from vnc import DESKTOP, POINTER, Vnc

WIDTH, HEIGHT = 320, 240
TEXT, PAGE = bytes([0xE0] * 3), bytes([0, 0, 0x40])


def picture(seed, width, height):
    """As apps/picture.h makes it."""
    return b"".join(bytes(((255 * x // width + seed) & 255, 255 * y // height & 255, (x ^ y) & 255))
                    for y in range(height) for x in range(width))


def page(lines, width, height):
    """Text by the glyphs of lib/class/framebuffer_text.c: 5 by 8 dots, each one wide and two high, one column from the left."""
    source = (ROOT / "lib/class/framebuffer_text.c").read_text()
    glyphs = [int(dots, 16) for dots in re.findall(r"0x([0-9a-f]{10}),", source)]
    rows = []
    for y in range(height):
        line = lines[y // 16] if y // 16 < len(lines) else ""
        row = b""
        for character in line:
            dots = glyphs[ord(character) - 32] >> 5 * (y % 16 // 2) & 31
            row += PAGE + b"".join(TEXT if dots >> x & 1 else PAGE for x in range(5)) + 2 * PAGE
        rows.append(row + PAGE * (width - 8 * len(line)))
    return b"".join(rows)


def arrow():
    return b"".join((0xFF000000 | 0x40201 * y).to_bytes(4, "little") if x <= y and x + y < 64 else bytes(4)
                    for y in range(64) for x in range(64))


def check_screen(vm, width, height, pixels, what):
    path = vm.directory / "screen.ppm"
    vm.qmp("screendump", filename=str(path))
    dump = path.read_bytes()
    head = b"P6\n%d %d\n255\n" % (width, height)
    vm.check(dump.startswith(head), f"{what}: a screen {dump[:16]!r}")
    vm.check(dump[len(head):] == pixels, f"{what}: other pixels")


def check_display(make_vm, machine, packed):
    vm = make_vm(machine, app="shell")
    vm.device("gpu", xres=WIDTH, yres=HEIGHT, packed=packed)
    vm.args += ["-vnc", f"unix:{vm.directory}/vnc"]
    shell = Shell(vm)
    vm.check(f"gpu0     {WIDTH} x {HEIGHT}, " in shell("gpu list"), "another size")
    vm.check("shown" in shell("gpu picture gpu0 7"), "no picture")
    check_screen(vm, WIDTH, HEIGHT, picture(7, WIDTH, HEIGHT), "picture")
    lines = ["Vireo 0123456789", "", "[the] {quick} ~brown~ fox!"]
    shell("gpu text gpu0 " + " ".join(f'"{line}"' for line in lines))
    check_screen(vm, WIDTH, HEIGHT, page(lines, WIDTH, HEIGHT), "text")

    shell("gpu pointer gpu0 100 50")
    client = Vnc(vm.connect(vm.directory / "vnc"))
    client.want(POINTER, DESKTOP)
    while (update := client.update())[0] != POINTER or update[1] != (1, 2, 64, 64) or update[2] != arrow():
        pass  # the shape before; else the socket's timeout ends it
    client.resize(400, 300)
    vm.until(lambda: shell("gpu list"), lambda listed: "400 x 300" in listed, "the window has its old size")
    shell("gpu picture gpu0 99")
    check_screen(vm, 400, 300, picture(99, 400, 300), "picture of another size")
    shell.poweroff()


@pytest.mark.parametrize("machine, packed", [("q35", True), ("microvm", False)])
def test_display(make_vm, machine, packed):
    check_display(make_vm, machine, packed)


@pytest.mark.full
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("machine", ["pc", "q35", "microvm", "microvm-acpi"])
def test_display_product(make_vm, machine, packed):
    check_display(make_vm, machine, packed)


def test_selftest_after_reset(make_vm):
    """Two displays of which one is off, reset three times; the last picture has text on it."""
    vm = make_vm(words="selftest.reset=3")
    vm.device("gpu", xres=WIDTH, yres=HEIGHT, max_outputs=2)
    vm.run()
    vm.passed("gpu0 shows a picture")
    vm.passed("gpu0 has an EDID that adds up")
    vm.check([(told["width"], told["height"]) for told in vm.records("display")] == [(WIDTH, HEIGHT), (0, 0)], "other displays")
