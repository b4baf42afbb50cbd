"""bench: what it counts is what QEMU's trace counts."""

import re

import pytest

MIB = 1 << 20


@pytest.mark.parametrize("machine", ["q35", "microvm"])
@pytest.mark.parametrize("words, ops", [
    ("bench.name=blk-read", 2000),
    ("bench.name=blk-read bench.bs=64K bench.qd=4", 500),
    ("bench.name=blk-read bench.mode=poll", 500),
    ("bench.name=blk-write bench.qd=1", 500),
    ("bench.name=net-tx", 5000),
])
def test_records(make_vm, machine, words, ops):
    vm = make_vm(machine, app="bench", words=f"{words} bench.ops={ops}")
    vm.null_blk()
    vm.net_user()
    vm.run()
    told = vm.record("bench")
    vm.check(told["name"] in words and told["ops"] == ops and told["errors"] == 0, f"{told}")
    vm.check(told["ns"] > 0 and told["tsc"] > 0 and 0 < told["kicks"] <= ops, f"{told}")


def test_cpus(make_vm):
    """bench.cpus= of them, each with its share of the requests in a part of the disk of its own, as QEMU's trace has it."""
    vm = make_vm(app="bench", words="bench.name=blk-read bench.qd=8 bench.cpus=3 bench.ops=1500", cpus="3", trace=["virtio_blk_handle_read"])
    vm.null_blk(size=24 << 20, **{"num-queues": 3})
    vm.run()
    told = vm.record("bench")
    vm.check(told["cpus"] == 3 and told["ops"] == 1500 and told["errors"] == 0, f"{told}")
    sectors = [int(re.search(r"sector (\d+) ", text)[1]) for _, text in vm.trace()]
    parts = [sum(part == sector // (16 << 10) for sector in sectors) for part in range(3)]
    vm.check(parts == [551, 551, 551], f"{parts} requests in the thirds of the disk")  # 500, and 51 to warm up


def test_counts(make_vm):
    """Notifications of available buffers and interrupts as the guest counts them are those that the device saw and sent."""
    words = "bench.name=blk-read bench.ops=1000 bench.qd=8"
    vm = make_vm(app="bench", words=words, trace=["virtio_queue_notify", "virtio_notify"])
    vm.null_blk(ioeventfd=False)
    vm.run()
    told = vm.record("bench")
    events = [event for event, _ in vm.trace()]
    kicks, notifications = events.count("virtio_queue_notify"), events.count("virtio_notify")
    warm_up = 101  # a tenth and one more, before what is measured
    vm.check(told["kicks"] <= kicks <= told["kicks"] + warm_up, f"{kicks} kicks, the guest tells {told}")
    vm.check(told["irqs"] <= notifications <= told["irqs"] + warm_up, f"{notifications} notifications, the guest tells {told}")


@pytest.mark.parametrize("words", [
    "",
    "bench.name=nothing",
    "bench.name=blk-read bench.qd=0",
    "bench.name=blk-read bench.bs=1",
    "bench.name=blk-read bench.device=blk9",
    "bench.name=blk-read bench.mode=odd",
    "bench.name=blk-read bench.cpus=2",
    "bench.name=net-tx bench.len=9000",
])
def test_bad_parameters(make_vm, words):
    """A line and a failure."""
    vm = make_vm(app="bench", words=words)
    vm.null_blk()
    vm.net_user()
    vm.run(status=35)
    vm.check(not vm.records("bench"), f"{vm.records('bench')}")
