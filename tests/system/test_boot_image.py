"""What `make image` writes: GRUB boots it in BIOS and EFI machines, from a CD and from a disk; libvirt's domain says how."""

import pathlib
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from direct import BZIMAGE
from vm import FIRMWARE_TIMEOUT, FromDisk, IMAGE, OVMF, ROOT

WORDS = 'app=selftest selftest.rng_bytes=64K virtio.irq=any selftest.x="two words"'


def write_images(folder, *options):
    out = folder / "vireo"
    subprocess.run([ROOT / "tools/image", IMAGE, BZIMAGE, out, "--words", WORDS, *options], check=True)
    return out


def booted(vm, protocol):
    """The protocol, the command line as it was given, the devices."""
    with vm:
        vm.rng().run(FIRMWARE_TIMEOUT)
        boot = vm.record("boot")
        vm.check(boot["protocol"] == protocol, f"{boot}, not {protocol}")
        vm.check(vm.devices()["rng0"]["state"] == "ok", "rng0")
        vm.passed("rng0 gives 65536 bytes")
        vm.check(not vm.warnings("cmdline"), "the command line is another one")


# Two under EFI firmware, which takes its time; the rest in the night.
NIGHT = pytest.mark.full


@pytest.mark.parametrize("protocol, bios, name", [
    ("multiboot2", None, "multiboot2"), ("multiboot2", OVMF, "multiboot2"), ("multiboot", None, "multiboot1"), ("linux", None, "linux32"),
    pytest.param("linux", OVMF, "linux32", marks=NIGHT),
], ids=["multiboot2-bios", "multiboot2-efi", "multiboot1-bios", "linux-bios", "linux-efi"])
def test_iso(tmp_path, protocol, bios, name):
    out = write_images(tmp_path, "--only", "iso", "--protocol", protocol)
    booted(FromDisk(bios=bios, cpu="max").cd(f"{out}.iso"), name)


@pytest.mark.parametrize("protocol, bios, name", [
    ("multiboot2", None, "multiboot2"), pytest.param("multiboot2", OVMF, "multiboot2", marks=NIGHT),
    pytest.param("multiboot", None, "multiboot1", marks=NIGHT), pytest.param("linux", None, "linux32", marks=NIGHT),
    pytest.param("linux", OVMF, "linux32", marks=NIGHT),
], ids=["multiboot2-bios", "multiboot2-efi", "multiboot1-bios", "linux-bios", "linux-efi"])
def test_raw_disk(tmp_path, protocol, bios, name):
    out = write_images(tmp_path, "--only", "disk", "--protocol", protocol)
    booted(FromDisk(bios=bios, cpu="max").blk(f"{out}.img"), name)


@NIGHT
def test_iso_as_disk(tmp_path):
    """The ISO is hybrid: on a disk it boots as well."""
    out = write_images(tmp_path, "--only", "iso")
    booted(FromDisk(cpu="max").blk(f"{out}.iso", read_only=True), "multiboot2")


# What libvirt's schema of a domain has, of what is used here: element: (attributes, elements).
DOMAIN = {
    "domain": ({"type"}, {"name", "memory", "vcpu", "os", "features", "cpu", "on_poweroff", "on_reboot", "on_crash", "devices"}),
    "name": (set(), set()), "memory": ({"unit"}, set()), "vcpu": (set(), set()),
    "os": (set(), {"type", "boot"}), "type": ({"arch", "machine"}, set()), "boot": ({"dev"}, set()),
    "features": (set(), {"acpi", "apic"}), "acpi": (set(), set()), "apic": (set(), set()), "cpu": ({"mode"}, set()),
    "on_poweroff": (set(), set()), "on_reboot": (set(), set()), "on_crash": (set(), set()),
    "devices": (set(), {"disk", "interface", "serial", "console", "rng"}),
    "disk": ({"type", "device"}, {"driver", "source", "target"}), "driver": ({"name", "type"}, set()), "source": ({"file"}, set()),
    "interface": ({"type"}, {"model"}), "serial": ({"type"}, {"target"}), "console": ({"type"}, {"target"}), "model": ({"type"}, set()),
    "target": ({"dev", "bus", "type", "port"}, set()), "rng": ({"model"}, {"backend"}), "backend": ({"model"}, set()),
}


def check_element(element):
    attributes, children = DOMAIN[element.tag]
    assert set(element.attrib) <= attributes, element.tag
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check_element(child)


def test_libvirt_domain(tmp_path):
    """The domain is one by libvirt's schema, and what it describes boots: its machine, its disk, its devices."""
    out = write_images(tmp_path)
    if shutil.which("virt-xml-validate"):
        subprocess.run(["virt-xml-validate", f"{out}.xml", "domain"], check=True)
    domain = ElementTree.parse(f"{out}.xml").getroot()
    check_element(domain)
    disk = domain.find("devices/disk")
    path = pathlib.Path(disk.find("source").get("file"))
    assert path.is_absolute() and path.samefile(f"{out}.qcow2") and path.read_bytes()[:4] == b"QFI\xfb"
    assert disk.find("target").get("bus") == domain.find("devices/interface/model").get("type") == domain.find("devices/rng").get("model") == "virtio"
    vm = FromDisk(domain.find("os/type").get("machine"), memory=domain.find("memory").text + "M", cpu="max")
    vm.net_user()
    booted(vm.blk(path, drive={"driver": disk.find("driver").get("type")}), "multiboot2")
