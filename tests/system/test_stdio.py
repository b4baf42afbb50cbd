"""A program of one's own: built by `make app`, it works by stdio with files that the host shares, whoever serves them."""

import fcntl
import os
import subprocess

import pytest

from test_fs import VIRTIOFSD, Server
from vm import IMAGE, ROOT

LINES = 20000


@pytest.fixture
def program():
    image = IMAGE.parent / "stdio.elf"
    with open(image.with_suffix(".lock"), "w") as lock:  # the tests beside this one may want it, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-s", "app", "SRC=tests/system/stdio.c"], cwd=ROOT, check=True, timeout=300)
    return image


@pytest.mark.parametrize("kind", ["9p", pytest.param("fs", marks=pytest.mark.skipif(not VIRTIOFSD.exists(), reason="no virtiofsd here"))])
def test_stdio(make_vm, tmp_path, program, kind):
    root, data = tmp_path / "root", os.urandom(5000)
    root.mkdir()
    (root / "from").write_bytes(data)
    vm = make_vm(app="stdio", image=program, words=f'stdio.args="/{"the-tag" if kind == "9p" else "fs0"}"')
    if kind == "fs":
        Server(vm, root)
    else:
        vm.args += ["-fsdev", f"local,id=shared,path={root},security_model=none"]
        vm.device("9p", fsdev="shared", mount_tag="the-tag")
    vm.run()
    found = {path.name: path.read_bytes() for path in (root / "made").iterdir()}
    lines = b"".join(b"%d\n" % i for i in range(LINES))
    vm.check(found == {"reversed": data[::-1], "lines": lines + b"END!", "new": b"0123"},
             f"made: {({name: (len(data), data[:20]) for name, data in found.items()})}")
