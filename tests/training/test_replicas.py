"""One model trained by two processes of this machine: they skip together and wait for nobody."""

import math

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("this torch has no gloo to join processes with", allow_module_level=True)

from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from gradcourse.diagnosis import activation_statistics, find_nonfinite
from gradcourse.training import training_step

pytestmark = pytest.mark.slow


def replicated():
    torch.manual_seed(0)
    return DistributedDataParallel(nn.Linear(3, 2, bias=False))


def sharded():
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False)
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    return model


def whole(model):
    (weight,) = model.parameters()
    return (weight.full_tensor() if hasattr(weight, "full_tensor") else weight).detach().clone()


def squares(model, batch):
    inputs, targets = batch
    return (model(inputs) - targets).square().mean()


def a_loss_that_breaks_in_one_process_stops_all(rank):
    # The square of this target leaves float32; the gradient, its double, does not.
    good, bad = torch.zeros(4, 2), torch.full((4, 2), 3e19)
    for make in (replicated, sharded):
        model = make()
        before = whole(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
        batch = torch.ones(4, 3), (good, bad)[rank]
        record = training_step(model, optimizer, squares, batch, max_norm=1.0, scheduler=scheduler)
        assert record.skipped
        said = ("the loss on another process is not finite", "the loss is Inf")[rank]
        assert record.reason == said
        assert math.isfinite(record.loss) == (rank == 0)
        assert torch.equal(whole(model), before)
        assert scheduler.last_epoch == 0
        assert not training_step(model, optimizer, squares, (batch[0], good)).skipped
        assert not torch.equal(whole(model), before)


def micro_batches_are_reduced_once(rank):
    torch.manual_seed(1 + rank)
    parts = [(torch.randn(4, 3), torch.randn(4, 2)) for _ in range(4)]
    together = tuple(torch.cat(each) for each in zip(*parts, strict=True))
    norms, reduced = [], []
    for way in ({"micro_batches": parts}, {"batch": together}):
        model, calls = replicated(), []

        def counted(state, bucket, calls=calls):
            calls.append(bucket.index())
            return allreduce_hook(state, bucket)

        model.register_comm_hook(None, counted)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        norms.append(training_step(model, optimizer, squares, **way).norm)
        reduced.append(len(calls))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert reduced == [1, 1]


def one_process_may_ask_alone(rank):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    model = DistributedDataParallel(net)
    if rank == 1:
        bad = torch.full((4, 3), math.inf)
        found = find_nonfinite(model, bad, loss=torch.sum)
        assert "the batch" in str(found)
        assert activation_statistics(model, torch.randn(4, 3)).records[0].module == "2"


def run(rank, name, meeting_point):
    dist.init_process_group("gloo", init_method=meeting_point, rank=rank, world_size=2)
    globals()[name](rank)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "check",
    [
        a_loss_that_breaks_in_one_process_stops_all,
        micro_batches_are_reduced_once,
        one_process_may_ask_alone,
    ],
)
def test_in_two_processes(check, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    meeting_point = f"file://{tmp_path / 'meeting'}"
    multiprocessing.spawn(run, (check.__name__, meeting_point), nprocs=2)
