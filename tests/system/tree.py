"""Trees of files: one that the host makes and the guest reads, and the one that selftest makes (apps/selftest_file.c)."""

import os
import shutil
import zlib

from pattern import pattern

MIB = 1 << 20
SIZES = [0, 1, 4095, 65537, MIB]


def plant(root):
    """Files of all sizes, many in one place, deep ones, odd names, links."""
    root.mkdir()
    for i, size in enumerate([0, 1, 511, 4096, 65536, 524264, 524265, 3 * MIB + 13]):
        (root / f"size{size}").write_bytes(pattern(100 + i, 0, size))
    many = root / "many"
    many.mkdir()
    for i in range(700):
        (many / f"{i}-{'x' * (i % 120)}").write_bytes(b"%d" % i)
    deep = root / "a/b c/d\"e/f"
    deep.mkdir(parents=True)
    (deep / ("n" * 255)).write_bytes(b"deep")
    os.symlink("../../size4096", root / "a/b c/link")
    os.symlink("/a/b c", root / "to-directory")
    (root / "empty").mkdir()


def expected(root):
    """{path: (size, crc32)} as the guest shall see them; a link to a file is that file."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path):  # not for the host: the link whose root is the tree's
                data = open(path, "rb").read()
                found[path[len(str(root)):]] = (len(data), zlib.crc32(data))
    return found


def check_read(vm, root, tree):
    told = {record["path"]: (record["size"], int(record["crc32"], 0)) for record in vm.records("file") if record["tree"] == tree}
    wanted = expected(root)
    vm.check(told == wanted, f"{len(told)} files, not {len(wanted)}: {sorted(set(told.items()) ^ set(wanted.items()))[:6]}")


def check_made(vm, root):
    """What selftest.write=1 leaves behind."""
    last = bytearray(MIB + 8)
    last[:MIB - 7] = pattern(4, 0, MIB - 7)
    last[MIB + 5:] = b"end"
    wanted = {"file0": b"", "moved": pattern(1, 0, 1), "file2": pattern(2, 0, 4095), "inner/file3": pattern(3, 0, 65537),
              "file4": bytes(last)}
    made = root / "made"
    found = {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    vm.check(found == wanted, f"made: {({name: len(data) for name, data in found.items()})}")
    vm.check([path.name for path in made.rglob("*") if path.is_dir()] == ["inner"], "other directories")


def check_tree(vm, root, name, serve):
    """All of it with one machine: what the host made, then what the guest made. `serve`: gives the tree to the machine."""
    plant(root)
    serve(root)
    vm.run(120)
    for what in ("gives all its files", "takes files", "refuses what cannot be"):
        vm.passed(f"{name} {what}")
    vm.check(vm.record("tree")["tag"] == "the-tag", "another tag")
    check_made(vm, root)
    shutil.rmtree(root / "made")
    check_read(vm, root, name)
