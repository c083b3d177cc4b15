"""Optimisers and the rate over a run, against torch's own."""

import math

import pytest
import torch
from torch import nn

from convlstm.layer.convlstm import ConvLSTM
from convlstm.training.optimizers import Optimizer, onecycle


def make(name="muon"):
    torch.manual_seed(0)
    model = nn.Sequential(ConvLSTM(1, 4, 3, 2, batch_first=False), nn.Conv2d(4, 1, 1))
    return model, Optimizer(name, model, 1e-5)


def backward(model, seed=0):
    for parameter in model.parameters():
        parameter.grad = None
    x = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    model[1](model[0](x)[0][-1]).square().sum().backward()


@pytest.mark.parametrize("warm_up", [0.01, 0.15, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 8, 20, 21, 101, 120, 997])
def test_the_rate_is_torch_s_one_cycle_at_every_step(steps, warm_up):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.02, total_steps=steps, pct_start=warm_up, cycle_momentum=False
    )
    for step in range(steps):
        theirs = schedule.get_last_lr()[0]
        assert 0.02 * onecycle(step, steps, warm_up) == pytest.approx(theirs, rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            schedule.step()


@pytest.mark.parametrize(("steps", "warm_up"), [(2, 0.5), (10, 0.1), (100, 0.01)])
def test_where_the_warm_up_is_one_step_the_rate_begins_at_its_largest(steps, warm_up):
    # torch's own formula divides zero by zero here.
    rates = [onecycle(step, steps, warm_up) for step in range(steps)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)


def test_the_rate_of_a_run_whose_length_nobody_knows_yet_is_the_first():
    assert onecycle(0, math.inf, 0.15) == pytest.approx(1 / 25)
    assert onecycle(7, 6.5, 0.15) == pytest.approx(1 / 25 / 1e4)  # past the end it stays


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
def test_the_names_and_shapes_of_a_state_are_known_beforehand(name):
    model, optimizer = make(name)
    backward(model)
    optimizer.take_gradients()
    optimizer.step(0.01)
    state = optimizer.state()
    assert Optimizer.shapes(name, model) == {key: list(value.shape) for key, value in state.items()}
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_the_kernels_are_those_of_the_cells():
    model, _ = make()
    assert list(Optimizer.kernels(model)) == [f"0.cells.{n}.gates.weight" for n in range(2)]


def test_weight_decay_leaves_biases_alone():
    model, _ = make()
    optimizer = Optimizer("adamw", model, 0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.take_gradients()
    optimizer.step(0.1)
    for name, value in model.named_parameters():
        decayed = before[name] * (1 - 0.1 * 0.5) if value.ndim > 1 else before[name]
        torch.testing.assert_close(value, decayed)


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
