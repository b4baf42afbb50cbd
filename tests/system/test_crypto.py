"""Crypto devices: what the device makes of files that both sides see is what OpenSSL makes of them."""

import os
import subprocess

import pytest

from test_9p import share


def openssl(*words, data=b""):
    return subprocess.run(["openssl", *map(str, words)], input=data, capture_output=True, check=True).stdout


def crypto(vm, **properties):
    node = vm.name("backend")
    vm.args += ["-object", f"cryptodev-backend-builtin,id={node}"]
    return vm.device("crypto", cryptodev=node, **properties)


def tried(vm, line):
    """Whether it was done."""
    vm.send(f"crypto crypto0 {line}\n")
    done = vm.expect(r"^crypto0: (done|.*: input/output error)")[1] == b"done"
    vm.expect("vireo> ")
    return done


def say(vm, line):
    vm.check(tried(vm, line), f"{line}: failed")


def signed(root, pem, zero):
    """A new digest, and its signature by OpenSSL, which begins with a zero, or does not. Those that do QEMU 7.2 cuts off."""
    while True:
        (root / "digest").write_bytes(os.urandom(32))
        signature = openssl("pkeyutl", "-sign", "-inkey", pem, "-in", root / "digest", "-pkeyopt", "digest:sha256")
        if (signature[0] == 0) == zero:
            return signature


def keys(root):
    """An RSA key in PKCS #1, as files for the guest; gives OpenSSL's."""
    pem = root / "rsa.pem"
    openssl("genrsa", "-out", pem, 2048)
    openssl("rsa", "-in", pem, "-traditional", "-outform", "DER", "-out", root / "private")
    openssl("rsa", "-in", pem, "-RSAPublicKey_out", "-outform", "DER", "-out", root / "public")
    return pem


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_files(make_vm, tmp_path, machine, packed):
    root = tmp_path / "tree"
    root.mkdir()
    pem = keys(root)
    plain = os.urandom(1 << 20)
    (root / "plain").write_bytes(plain)
    (root / "iv").write_bytes(os.urandom(16))
    vm = make_vm(machine, app="shell")
    share(vm, root)
    crypto(vm, packed=packed)
    vm.start()
    vm.expect("vireo> ")

    for bits in (128, 192, 256):
        key = os.urandom(bits // 8)
        (root / "key").write_bytes(key)
        say(vm, "encrypt aes-cbc /9p0/key /9p0/plain /9p0/secret /9p0/iv")
        want = openssl("enc", f"-aes-{bits}-cbc", "-nopad", "-K", key.hex(), "-iv", (root / "iv").read_bytes().hex(), data=plain)
        vm.check((root / "secret").read_bytes() == want, f"AES-CBC with {bits} bits is not what OpenSSL has")
        say(vm, "decrypt aes-cbc /9p0/key /9p0/secret /9p0/back /9p0/iv")
        vm.check((root / "back").read_bytes() == plain, "it does not come back")

    for zero in (True, False):
        (root / "signature").unlink(missing_ok=True)
        want = signed(root, pem, zero)
        done = tried(vm, "sign rsa-sha256 /9p0/private /9p0/digest /9p0/signature")
        vm.check(done or zero, "it did not sign")
        vm.check(done == (root / "signature").exists(), "a signature, cut off")
        vm.check(not done or (root / "signature").read_bytes() == want, "the signature is not what OpenSSL has")
    say(vm, "verify rsa-sha256 /9p0/public /9p0/signature /9p0/digest")
    (root / "digest").write_bytes(bytes(32))
    vm.send("crypto crypto0 verify rsa-sha256 /9p0/public /9p0/signature /9p0/digest\n")
    vm.expect("crypto0: verify: ")
    vm.expect("vireo> ")

    (root / "short").write_bytes(b"a secret")
    vm.until(lambda: tried(vm, "encrypt rsa-sha1 /9p0/public /9p0/short /9p0/secret"), bool, "it did not encrypt")
    vm.check(openssl("pkeyutl", "-decrypt", "-inkey", pem, "-in", root / "secret") == b"a secret", "OpenSSL cannot read it")
    openssl("pkeyutl", "-encrypt", "-inkey", pem, "-in", root / "short", "-out", root / "secret")
    say(vm, "decrypt rsa-sha1 /9p0/private /9p0/secret /9p0/back")
    vm.check((root / "back").read_bytes() == b"a secret", "what OpenSSL wrote does not come back")


def test_standards(make_vm):
    """The standards' examples, over resets; what QEMU says it has and then refuses is skipped."""
    vm = make_vm(words="selftest.reset=3")
    crypto(vm)
    vm.run()
    vm.working("crypto0")
    vm.passed("crypto0: AES-CBC as the standard has it")
