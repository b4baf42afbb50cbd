"""9P: trees that the host or the guest made are the same on both sides."""

import pytest

from tree import check_tree


def share(vm, root, **properties):
    name = vm.name("share")
    vm.args += ["-fsdev", f"local,id={name},path={root},security_model=none,multidevs=remap"]
    vm.device("9p", fsdev=name, mount_tag="the-tag", **properties)


@pytest.mark.parametrize("machine, properties", [("q35", {"packed": True}), ("microvm", {"indirect_desc": False}),
                                                 pytest.param("microvm", {"packed": True}, marks=pytest.mark.full)], ids=str)
def test_tree(make_vm, tmp_path, machine, properties):
    vm = make_vm(machine, words="selftest.write=1")
    check_tree(vm, tmp_path / "tree", "9p0", lambda root: share(vm, root, **properties))
