"""The command line, friendly and hostile: one warning for each bad word, and the rest goes on."""

import collections
import functools
import re

import pytest

from vm import MMIO_BASE, MMIO_BYTES, VM, slot_words

MACHINE = "microvm-words"
LAST = 7  # QEMU puts the first -device into microvm's last slot
LAST_BASE, LAST_LINE = MMIO_BASE + MMIO_BYTES * LAST, 5 + LAST


def boot(make_vm, before="", after="", slots=slot_words(MACHINE)):
    """A microvm with one rng, in its last slot, and so many words before and after those of its slots."""
    vm = make_vm(MACHINE, words=before)
    vm.slots = " ".join([slots, after]).strip()
    vm.rng()
    vm.run()
    vm.working("rng0")
    return vm


def log_lines(vm):
    """Log lines without time and without numbers, which differ from boot to boot."""
    return collections.Counter(re.sub(r"[0-9]+", "N", line) for line in vm.lines if line.startswith("["))


@functools.cache
def usual_lines():
    """The log of a boot with nothing unusual on the command line."""
    with VM(MACHINE) as vm:
        vm.rng()
        return log_lines(vm.run())


def more_lines(vm):
    """What this boot logged beyond the usual."""
    return list((log_lines(vm) - usual_lines()).elements())


def quoted(vm, text):
    """Log lines that have it, behind their time stamp."""
    return [line for line in vm.lines if line.startswith("[") and text in line.partition("] ")[2]]


@pytest.mark.parametrize("word", [
    f"512@0x{LAST_BASE:x}:{LAST_LINE}",
    f"0x200@0X{LAST_BASE:X}:{LAST_LINE}",
    f"512@{LAST_BASE}:{LAST_LINE}",
    f"512@0{LAST_BASE:o}:{LAST_LINE}",
    f"01000@0x{LAST_BASE:x}:{LAST_LINE}:7",
    f"512@0x{LAST_BASE:x}:{LAST_LINE}:0",
    f"1K@0x{LAST_BASE:x}:{LAST_LINE}",
])
def test_good_device(make_vm, word):
    """The forms that Linux defines."""
    vm = boot(make_vm, f"virtio_mmio.device={word}", slots="")
    vm.check(not more_lines(vm), f"warnings for a good word: {more_lines(vm)}")


def test_slots_in_any_order(make_vm):
    """All slots, the last one first."""
    vm = make_vm(MACHINE, words="selftest.rng_bytes=1000")
    vm.slots = " ".join(reversed(vm.slots.split()))
    for _ in range(LAST + 1):
        vm.rng()
    vm.run()
    vm.working(*[f"rng{i}" for i in range(LAST + 1)])


BAD = [
    "",
    "512",
    "512@",
    f"512@0x{LAST_BASE:x}",
    f"512@0x{LAST_BASE:x}:",
    f"@0x{LAST_BASE:x}:{LAST_LINE}",
    f"512@:{LAST_LINE}",
    "size@base:irq",
    f"512@0x{LAST_BASE:x}:{LAST_LINE}x",
    f"512@0x{LAST_BASE:x}:{LAST_LINE}:1:2",
    f"512@0x{LAST_BASE:x}:{LAST_LINE}:one",
    f"0@0x{LAST_BASE:x}:{LAST_LINE}",
    f"-512@0x{LAST_BASE:x}:{LAST_LINE}",
    f"16@0x{LAST_BASE:x}:{LAST_LINE}",
    f"512Q@0x{LAST_BASE:x}:{LAST_LINE}",
    f"99999999999999999999999@0x{LAST_BASE:x}:{LAST_LINE}",
    f"512@0x1{LAST_BASE:016x}:{LAST_LINE}",
    f"512@0xffffffffffffff00:{LAST_LINE}",
    f"512@0xfffffffffffff000:{LAST_LINE}",
    f"16E@0x1000:{LAST_LINE}",
    f"512@0:{LAST_LINE}",
    f"512@0x200000:{LAST_LINE}",
    f"512@0xd0000000:{LAST_LINE}",
    f"512@0x8000000000:{LAST_LINE}",
    f"512@0x{LAST_BASE:x}:4294967295",
    f"512@0x{LAST_BASE:x}:18446744073709551617",
    f"512@0x{LAST_BASE:x}:240",
    f"512@0x{LAST_BASE:x}:-1",
    f"512@0x{LAST_BASE:x}:{LAST_LINE}:" + "9" * 400,
]


@pytest.mark.parametrize("word", BAD, ids=range(len(BAD)))
def test_bad_device(make_vm, word):
    """One line about it; the good device that follows works, also where the bad word named its registers."""
    vm = boot(make_vm, f"virtio_mmio.device={word}")
    vm.check(len(more_lines(vm)) == 1, f"not one line about it: {more_lines(vm)}")


def test_all_bad_devices_at_once(make_vm):
    vm = boot(make_vm, " ".join(f"virtio_mmio.device={word}" for word in BAD))


@pytest.mark.parametrize("word", [
    f"512@0x{LAST_BASE:x}:{LAST_LINE}",
    f"1K@0x{LAST_BASE:x}:5",
    f"512@0x{LAST_BASE + 0x100:x}:{LAST_LINE}",
])
def test_overlap(make_vm, word):
    """A second claim on the same registers: refused in one line, the first one works."""
    vm = boot(make_vm, after=f"virtio_mmio.device={word}")
    vm.check(len(vm.warnings("overlap")) == 1, f"lines about an overlap: {vm.warnings('overlap')}")


def test_empty_slots_are_silent(make_vm):
    """Slots without a device are passed over without a word."""
    only_one = f"virtio_mmio.device=512@0x{LAST_BASE:x}:{LAST_LINE}"
    vm = boot(make_vm, slots=only_one)
    vm.check(log_lines(vm) == usual_lines(), f"{log_lines(vm)}, not {usual_lines()}")


def test_unknown_words(make_vm):
    """Each unknown word is quoted in one line, and nothing more happens."""
    words = ["frobnicate", "no.such=thing", "virtio_mmio.devices=512@0x1000:5", "selftest", "log", "=", "=value",
             "virtio.nothing=1"]
    vm = boot(make_vm, " ".join(words))
    for word in ("frobnicate", "no.such=thing", "virtio_mmio.devices=512@0x1000:5", "virtio.nothing=1", "=value"):
        vm.check(len(quoted(vm, word)) == 1, f"{word}: {quoted(vm, word)}")


@pytest.mark.parametrize("word", [
    "log=loud",
    "virtio.irq=carrier-pigeon",
    "virtio.queue=round",
    "virtio.transport=bus",
    "virtio.without=no",
    "virtio.without=64",
    "virtio.without=28,29x",
    "selftest.rng_bytes=much",
])
def test_bad_values(make_vm, word):
    vm = boot(make_vm, word)
    value = re.split("[=,]", word)[-1]
    lines = [line for line in more_lines(vm) if re.sub("[0-9]+", "N", value) in line]
    vm.check(len(lines) == 1, f"lines that quote {value}: {more_lines(vm)}")


def test_words_of_linux(make_vm):
    vm = boot(make_vm, "console=ttyS0 console=hvc0 root=/dev/vda1 ro rw quiet reboot=k reboot=t panic=1 panic=-1 pci=off "
                       "nomodule i8042.noaux i8042.nomux earlyprintk=ttyS0 earlycon tsc=reliable no_timer_check noapic nomodules "
                       "init=/sbin/init rootflags=data=ordered loglevel=8 debug mitigations=off")
    vm.check(not more_lines(vm), f"{more_lines(vm)}")


def test_quoted_value(make_vm):
    vm = boot(make_vm, 'frobnicate="two words" next-word')
    vm.check(len(quoted(vm, "two words")) == 1, "the quoted word is one word")
    vm.check(len(quoted(vm, "next-word")) == 1, "what follows the quotes is a word")


@pytest.mark.parametrize("text", ['frobnicate="never closed', '"', '""', "a=\"b\"c\"d", "\x01\x1b[2J\x7f", "caf\u00e9=\u2603",
                                  "%s%n%d%n", "\\", "'"])
def test_odd_text(make_vm, text):
    """Nothing on the command line can forge a line or stop the boot. It stands last: an open quote swallows the rest."""
    vm = boot(make_vm, after=text)
    vm.check("\x1b[2J" not in vm.log.split("@vireo")[-1], "an escape sequence got through")


@pytest.mark.parametrize("text", ["x" * 7000, "word " * 1500, "w=" + "y" * 3000 + " " + "z" * 3000, " " * 8000],
                         ids=["word", "words", "values", "blanks"])
def test_long(make_vm, text):
    """Far more than anyone needs: the words that come first count, what is beyond the limit is dropped with a warning."""
    vm = boot(make_vm, after=text)


def test_too_many_devices(make_vm):
    """More words than any machine has slots: those of the machine work, the others are refused or dropped."""
    boot(make_vm, after=" ".join(f"virtio_mmio.device=512@0x{0xd0000000 + 4096 * i:x}:5" for i in range(170)))
