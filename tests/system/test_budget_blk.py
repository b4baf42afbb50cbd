"""Budgets: guest instructions, notifications and interrupts per request. Under -icount the time stamps count instructions; the device acts
at once (ioeventfd=off), but completes when the host likes. Each test prints its figure. Where they go: tools/instructions. The aims
are 250 at depth 32 and 900 at depth 1; packed rings and depth 1 are not there yet, their limits here keep what was reached."""

import pytest

OPERATIONS = 20000
WARM_UP = 2000  # requests of the bench before those that it measures
ICOUNT = ["-icount", "shift=0,sleep=off"]


def run(make_vm, words, trace=(), **device):
    vm = make_vm(app="bench", words=f"bench.name=blk-read bench.ops={OPERATIONS} {words}", cpus="1", trace=trace)
    vm.args += ICOUNT
    vm.args += ["-blockdev", "null-co,node-name=d0,size=1073741824,read-zeroes=off"]
    vm.device("blk", drive="d0", ioeventfd=False, **device)
    vm.run()
    return vm, vm.record("bench")


@pytest.mark.parametrize("words, packed, budget", [
    ("bench.qd=32", False, 250),
    ("bench.qd=32", True, 300),
    ("bench.qd=1", False, 1250),
    ("bench.qd=1", True, 1300),
])
def test_instructions(make_vm, words, packed, budget):
    vm, told = run(make_vm, words, packed=packed)
    figure = told["tsc"] / told["ops"]
    print(f"{words}, {'packed' if packed else 'split'}: {figure:.1f} guest instructions per request, budget {budget}")
    vm.check(told["errors"] == 0 and figure <= budget, f"{figure:.1f} guest instructions per request, the budget is {budget}")


@pytest.mark.parametrize("packed", [False, True])
def test_notifications(make_vm, packed):
    """Counted by QEMU, from outside, warm-up included."""
    vm, _ = run(make_vm, "bench.qd=32", trace=["virtio_queue_notify", "virtio_notify"], packed=packed)
    events = [event for event, _ in vm.trace()]
    requests = OPERATIONS + WARM_UP
    kicks, irqs = (events.count(event) / requests for event in ("virtio_queue_notify", "virtio_notify"))
    print(f"{'packed' if packed else 'split'}: {kicks:.4f} notifications and {irqs:.4f} interrupts per request")
    vm.check(kicks <= 1 / 24, f"{kicks:.4f} notifications per request, the budget is 1/24")
    vm.check(irqs <= 1 / 16, f"{irqs:.4f} interrupts per request, the budget is 1/16")
