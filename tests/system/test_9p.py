"""9P: trees that the host or the guest made are the same on both sides."""

import shutil

import pytest

from tree import check_made, check_read, plant


def share(vm, root, **properties):
    name = vm.name("share")
    vm.args += ["-fsdev", f"local,id={name},path={root},security_model=none,multidevs=remap"]
    vm.device("9p", fsdev=name, mount_tag="the-tag", **properties)


def check_tree(make_vm, tmp_path, machine, **properties):
    root = tmp_path / "tree"
    plant(root)
    vm = make_vm(machine, words="selftest.write=1")
    share(vm, root, **properties)
    vm.run(120)
    vm.passed("9p0 gives all its files")
    vm.passed("9p0 takes files")
    vm.passed("9p0 refuses what cannot be")
    vm.check(vm.record("tree")["tag"] == "the-tag", "another tag")
    check_made(vm, root)
    shutil.rmtree(root / "made")
    check_read(vm, root, "9p0")


@pytest.mark.parametrize("machine, properties", [("q35", {"packed": True}), ("microvm", {"indirect_desc": False}),
                                                 pytest.param("microvm", {"packed": True}, marks=pytest.mark.full)], ids=str)
def test_tree(make_vm, tmp_path, machine, properties):
    check_tree(make_vm, tmp_path, machine, **properties)
