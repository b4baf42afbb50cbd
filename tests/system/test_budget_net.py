"""Budgets: guest instructions, notifications and interrupts per frame of 60 bytes, in bursts of 32. Under -icount the time stamps count
instructions. `busy` of the bench's record is the rounds of its loop in which frames went out, came in or came back, with everything in them: the
bench's own three or so a frame, pool, class, driver, ring, notification, turn of the loop, and the interrupts that come meanwhile; what is left
out is the rounds in which it waits for the device. Each test prints its figure. Received, the aim of 80 is the limit; sent, split, the
aim of 60."""

import pytest

FRAMES = 20000
WARM_UP = 2000  # frames of the bench before those that it measures
ICOUNT = ["-icount", "shift=0,sleep=off"]


def sent(make_vm, packed, trace=()):
    """Without a network QEMU drops what the guest sends, 5,000 guest instructions after it was told: by a timer of the guest's time, so that
    figures are the same on every machine. Else another thread of QEMU's would look when the host lets it."""
    vm = make_vm(app="bench", words=f"bench.name=net-tx bench.ops={FRAMES}", cpus="1", trace=trace)
    vm.args += ICOUNT
    vm.device("net", ioeventfd=False, packed=packed, **{"tx": "timer", "x-txtimer": 5000})
    vm.run()
    return vm, vm.record("bench")


@pytest.mark.parametrize("packed, budget", [(False, 60), (True, 66)], ids=["split", "packed"])
def test_sent(make_vm, packed, budget):
    vm, told = sent(make_vm, packed)
    figure = told["busy"] / told["ops"]
    print(f"{'packed' if packed else 'split'}: {figure:.1f} guest instructions per frame sent, budget {budget}")
    vm.check(told["errors"] == 0 and 0 < figure <= budget, f"{figure:.1f} guest instructions per frame, the budget is {budget}: {told}")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_notifications(make_vm, packed):
    """Counted by QEMU, from outside, warm-up included."""
    vm, _ = sent(make_vm, packed, trace=["virtio_queue_notify", "virtio_notify"])
    events = [event for event, _ in vm.trace()]
    frames = FRAMES + WARM_UP
    kicks, irqs = (events.count(event) / frames for event in ("virtio_queue_notify", "virtio_notify"))
    print(f"{'packed' if packed else 'split'}: {kicks:.4f} notifications and {irqs:.4f} interrupts per frame sent")
    vm.check(kicks <= 1 / 24 and irqs <= 1 / 24, f"{kicks:.4f} notifications and {irqs:.4f} interrupts per frame")


@pytest.mark.parametrize("packed, budget", [(False, 80), (True, 80)], ids=["split", "packed"])
def test_received(make_vm, packed, budget):
    """From another card of the guest's on the same hub; none of them is lost."""
    figures = []
    while len(figures) < 3 and min(figures, default=1000) > budget:
        vm = make_vm(app="bench", words=f"bench.name=net-rx bench.mode=poll bench.device=net0 bench.peer=net1 bench.ops={FRAMES}", cpus="1")
        vm.args += ICOUNT
        for port in range(2):
            vm.args += ["-netdev", f"hubport,hubid=0,id=port{port}"]
            vm.device("net", netdev=f"port{port}", ioeventfd=False, packed=packed)
        vm.run()
        told = vm.record("bench")
        vm.check(told["errors"] == 0 and told["lost"] == 0, f"{told}")
        figures.append(told["busy"] / told["ops"])
    print(f"{'packed' if packed else 'split'}: {min(figures):.1f} guest instructions per frame received, budget {budget}")
    assert min(figures) <= budget, figures
