import pytest
import torch
from torch import nn

from convlstm.layer.convlstm import ConvLSTM
from convlstm.optimizers import Optimizer, onecycle


def make(name="muon"):
    torch.manual_seed(0)
    model = nn.Sequential(ConvLSTM(1, 4, 3, 2, batch_first=False), nn.Conv2d(4, 1, 1))
    return model, Optimizer(name, model, 1e-5)


def backward(model, seed=0):
    for parameter in model.parameters():
        parameter.grad = None
    x = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    model[1](model[0](x)[0][-1]).square().sum().backward()


@pytest.mark.parametrize("warm_up", [0.15, 0.3])
def test_the_rate_is_torch_s_one_cycle(warm_up):
    steps, parameter = 101, nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=warm_up
    )
    peak = warm_up * steps - 1  # torch's warm-up ends there, a step before ours
    for step in range(steps):
        theirs = schedule.get_last_lr()[0]
        if step <= peak:
            progress = step / peak * warm_up
        else:
            progress = warm_up + (step - peak) / (steps - 1 - peak) * (1 - warm_up)
        assert onecycle(progress, warm_up) == pytest.approx(theirs)
        optimizer.step()
        if step < steps - 1:
            schedule.step()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_changes_every_parameter(name):
    model, optimizer = make(name)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    backward(model)
    optimizer.take_gradients()
    optimizer.step(0.01)
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)


def test_adamw_is_torch_s():
    model, optimizer = make("adamw")
    twin, _ = make("adamw")
    theirs = torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=1e-5)
    for seed in range(3):
        backward(model, seed)
        optimizer.take_gradients()
        optimizer.step(0.01)
        backward(twin, seed)
        theirs.step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_muon_moves_a_kernel_in_more_directions_than_its_gradient_points():
    model, optimizer = make("muon")
    kernel = model[0].cells[1].gates.weight  # (16, 8, 3, 3)
    before = kernel.detach().clone()
    backward(model)
    gradient = kernel.grad.clone()
    optimizer.take_gradients()
    optimizer.step(1.0)

    def directions(matrix):
        values = torch.linalg.svdvals(matrix.flatten(1))
        return values.sum() / values.max()

    assert directions(kernel.detach() - before) > 2 * directions(gradient)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_state_taken_over_goes_on_bit_for_bit(name):
    model, optimizer = make(name)
    for seed in range(2):
        backward(model, seed)
        optimizer.take_gradients()
        optimizer.step(0.01)
    state = {key: value.clone() for key, value in optimizer.state().items()}
    twin, other = make(name)
    with torch.no_grad():
        for mine, theirs in zip(twin.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)
    other.load_state(state)
    for one, steps in ((model, optimizer), (twin, other)):
        backward(one, 5)
        steps.take_gradients()
        steps.step(0.01)
    for mine, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
