"""Sound: the tone that the guest plays is the one in the file that QEMU's wav back end writes; inputs and controls by selftest.

QEMU has virtio-sound-pci and virtio-sound-device from 8.2 on: with an older one these are skipped.
"""

import array
import math
import struct
import subprocess

import pytest

from test_shell import Shell
from vm import QEMU


def missing():
    """Why there can be no sound device; None: there can."""
    kinds = subprocess.run([QEMU, "-device", "help"], capture_output=True, text=True, check=False).stdout
    return None if '"virtio-sound-pci"' in kinds else f"{QEMU} has no virtio-sound-pci: 8.2 and later have"


needs_sound = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def read_wav(path):
    """(frames a second, samples of the first channel). The lengths in the header are right only once QEMU has closed the file: all behind it
    counts."""
    data = path.read_bytes()
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", data, 20)
    assert data[:4] == b"RIFF" and data[36:40] == b"data" and (kind, bits) == (1, 16), data[:44]
    samples = array.array("h", data[44:44 + (len(data) - 44) // frame * frame])
    return rate, samples[::channels]


def measure(rate, samples):
    """(Hz by the zeros that the wave rises through, seconds from the first to the last loud sample, the part of the power that is at that
    frequency)."""
    loud = [i for i, sample in enumerate(samples) if abs(sample) > 1000]
    if not loud:
        return 0, 0, 0
    wave = samples[loud[0]:loud[-1] + 1]
    zeros = [i + wave[i] / (wave[i] - wave[i + 1]) for i in range(len(wave) - 1) if wave[i] < 0 <= wave[i + 1]]
    hertz = rate * (len(zeros) - 1) / (zeros[-1] - zeros[0]) if len(zeros) > 1 else 0
    turn = 2 * math.pi * hertz / rate
    real = sum(sample * math.cos(turn * i) for i, sample in enumerate(wave))
    imaginary = sum(sample * math.sin(turn * i) for i, sample in enumerate(wave))
    power = sum(sample * sample for sample in wave)
    return hertz, len(wave) / rate, 2 * (real ** 2 + imaginary ** 2) / (len(wave) * power)


def test_measure():
    """What measures is measured: three tones, one of them half noise, and silence."""
    for hertz in (100, 440, 3000):
        samples = array.array("h", [0] * 500 + [round(9000 * math.sin(2 * math.pi * hertz * i / 44100)) for i in range(44100)])
        got, seconds, part = measure(44100, samples)
        assert abs(got / hertz - 1) < 0.001 and 0.97 < seconds <= 1 and part > 0.99, (hertz, got, seconds, part)
    noisy = array.array("h", [round(9000 * math.sin(i * i)) for i in range(44100)])
    assert measure(44100, noisy)[2] < 0.1
    assert measure(44100, array.array("h", [0] * 1000)) == (0, 0, 0)


@needs_sound
@pytest.mark.full
@pytest.mark.parametrize("machine, packed, hertz",
                         [("q35", False, 440), ("pc", True, 1234), ("microvm", False, 100), ("microvm-acpi", True, 3000)])
def test_tone(make_vm, tmp_path, machine, packed, hertz):
    vm = make_vm(machine, app="shell")
    path = tmp_path / "played.wav"
    vm.args += ["-audiodev", f"wav,id=host,path={path}"]
    vm.device("sound", audiodev="host", streams=1, packed=packed)
    shell = Shell(vm)
    vm.working("sound0")
    said = shell(f"tone {hertz} 2000", timeout=120)
    vm.check("sound0:" not in said, said)
    vm.check("usage" in shell("tone") and "tone" in shell("tone 440 100 sound7"), "bad words are told of")
    shell.poweroff()
    got, seconds, part = measure(*read_wav(path))
    vm.check(abs(got / hertz - 1) < 0.01, f"{got} Hz, not {hertz}")
    # What QEMU has mixed and not written when it ends is not in the file.
    vm.check(1.5 < seconds < 2.1, f"{seconds} s, not 2")
    vm.check(part > 0.8, f"only {part:.3f} of the power is at {got} Hz")


@needs_sound
@pytest.mark.full
@pytest.mark.parametrize("machine, packed", [("q35", False), ("microvm", True)])
def test_selftest(make_vm, machine, packed):
    """Outputs and inputs with a back end that takes all, and gives silence."""
    vm = make_vm(machine)
    vm.args += ["-audiodev", "none,id=host"]
    vm.device("sound", audiodev="host", streams=4, packed=packed)
    vm.run(timeout=150)
    vm.working("sound0")
    for number in range(2):
        vm.passed(f"sound0 plays a tone on stream {number}")
        vm.passed(f"sound0 captures from stream {number + 2}")
    streams = vm.records("sound-stream")
    vm.check([stream["input"] for stream in streams] == [0, 0, 1, 1], f"{streams}")
