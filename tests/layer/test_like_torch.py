"""The layer does with PyTorch's machinery what PyTorch's own modules do, whatever path it takes."""

import copy
import inspect
import io
import pickle
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.autograd import forward_ad
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from convlstm.layer import ConvLSTM, ConvLSTMCell, kernels_cpu
from convlstm.layer.recurrence import computed_in, reference_scan


def make_layer(**options: object) -> ConvLSTM:
    layer = ConvLSTM(2, 4, num_layers=2, peephole=True, **options)
    layer.reset_parameters(torch.Generator().manual_seed(0))
    return layer


def frames(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape or (2, 3, 2, 6, 7), generator=torch.Generator().manual_seed(seed))


def gradients(outputs: torch.Tensor, layer: nn.Module) -> list[torch.Tensor]:
    """Of every parameter, by a backward pass, as a training step has them."""
    layer.zero_grad()
    outputs.float().square().sum().backward()
    return [parameter.grad for parameter in layer.parameters()]


class Outputs(nn.Module):
    """The layer, without its states."""

    def __init__(self, layer: ConvLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def compiled(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    torch.compiler.reset()
    return torch.compile(layer, fullgraph=True, backend="aot_eager")(x)[0]


def compiled_rollout(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    def roll_out(x: torch.Tensor) -> torch.Tensor:
        read, outputs, states = layer.unroll(), [], None
        for frame in x.split(1, 1):
            output, states = read(frame, states)
            outputs.append(output)
        return torch.cat(outputs, 1)

    torch.compiler.reset()
    return torch.compile(roll_out, fullgraph=True, backend="eager")(x)


def in_a_checkpoint(use_reentrant: bool):
    def way(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()  # without which reentry has nothing to go back to
        return checkpoint(lambda x: layer(x)[0], x, use_reentrant=use_reentrant)

    return way


def rollout_in_checkpoints(use_reentrant: bool):
    """Each call of one `unroll` but the first in a checkpoint of its own."""

    def way(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
        read = layer.unroll()

        def advance(x: torch.Tensor, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output, states = read(x, list(zip(flat[::2], flat[1::2], strict=True)))
            return output, *(tensor for state in states for tensor in state)

        output, states = read(x[:, :1])
        outputs, flat = [output], [tensor for state in states for tensor in state]
        for frame in x[:, 1:].split(1, 1):
            output, *flat = checkpoint(advance, frame, *flat, use_reentrant=use_reentrant)
            outputs.append(output)
        return torch.cat(outputs, 1)

    return way


def with_hooks(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    handles = [cell.register_forward_hook(lambda *_: None) for cell in layer.cells]
    outputs = layer(x)[0]
    for handle in handles:
        handle.remove()
    return outputs


def saved_elsewhere(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    with torch.autograd.graph.save_on_cpu():  # which gives back other strides than it was given
        return layer(x)[0]


def mapped(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    return torch.vmap(lambda one: layer(one[None])[0][0])(x)


def traced(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():  # that it is deprecated, and that shapes are checked in Python
        warnings.simplefilter("ignore")
        return torch.jit.trace(Outputs(layer), x)(x)


def functional(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(layer, dict(layer.named_parameters()), x)[0]


def with_another_default_device(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    with torch.device("meta"):
        return layer(x)[0]


def distributed(layer: ConvLSTM, x: torch.Tensor) -> torch.Tensor:
    return DistributedDataParallel(Outputs(layer))(x)


@pytest.fixture
def process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


# Ways to the outputs of layer(x).
WAYS = {
    "compiled without a graph break": compiled,
    "compiled rollout": compiled_rollout,
    "checkpoint": in_a_checkpoint(False),
    "checkpoint with reentry": in_a_checkpoint(True),
    "rollout in checkpoints": rollout_in_checkpoints(False),
    "rollout in checkpoints with reentry": rollout_in_checkpoints(True),
    "hooks": with_hooks,
    "tensors saved elsewhere": saved_elsewhere,
    "vmap": mapped,
    "jit.trace": traced,
    "functional_call": functional,
    "another default device": with_another_default_device,
    "distributed": distributed,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("process_group")
def test_every_way_gives_the_same_outputs_and_gradients(way):
    layer, x = make_layer(), frames()
    expected = layer(x)[0]
    expected_gradients = gradients(expected, layer)
    found = WAYS[way](layer, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, layer), expected_gradients)


@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_layer_runs_at_other_sizes(strict):
    layer, batch, height = make_layer(), torch.export.Dim("B", max=8), torch.export.Dim("H", max=99)
    program = torch.export.export(
        layer, (frames(),), dynamic_shapes={"x": {0: batch, 3: height}}, strict=strict
    )
    x = frames(5, 3, 2, 9, 7)
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("recompute", [False, True])
def test_a_compiled_layer_computes_in_autocast_s_type(recompute):
    layer, x = make_layer(recompute=recompute), frames()
    torch.compiler.reset()
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)[0]
        found = torch.compile(layer, fullgraph=True, backend="eager")(x)[0]
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def copied(layer: ConvLSTM) -> ConvLSTM:
    return copy.deepcopy(layer)


def pickled(layer: ConvLSTM) -> ConvLSTM:
    return pickle.loads(pickle.dumps(layer))


def saved(layer: ConvLSTM) -> ConvLSTM:
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded = make_layer()
    loaded.load_state_dict(torch.load(file))
    return loaded


@pytest.mark.parametrize("duplicate", [copied, pickled, saved])
def test_a_copy_gives_the_same_and_learns_alone(duplicate):
    layer, x = make_layer(), frames()
    layer(x)[0].sum().backward()  # it may have been used before
    layer.zero_grad()
    other = duplicate(layer)
    assert str(other) == str(layer)
    assert torch.equal(other(x)[0], layer(x)[0])
    other(x)[0].sum().backward()
    assert all(parameter.grad is None for parameter in layer.parameters())


# Derivatives.


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # which torch itself uses
def test_forward_mode_gives_the_tangent_that_backward_mode_does():
    layer, x = make_layer(), frames()
    direction = frames(seed=3)
    with forward_ad.dual_level():
        dual = layer(forward_ad.make_dual(x, direction))[0]
        tangent = forward_ad.unpack_dual(dual).tangent
    _, by_jvp = torch.func.jvp(lambda x: layer(x)[0], (x,), (direction,))
    torch.testing.assert_close(tangent, by_jvp)
    given = x.clone().requires_grad_()
    outputs = layer(given)[0]
    (back,) = torch.autograd.grad(outputs.sum(), given)
    torch.testing.assert_close((back * direction).sum(), tangent.sum())


def test_many_gradients_at_once_are_those_one_by_one():
    layer = make_layer()
    outputs, parameters = layer(frames())[0], list(layer.parameters())
    many = torch.rand(3, *outputs.shape, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad(outputs, parameters, many, is_grads_batched=True, retain_graph=True)
    for n, one in enumerate(many):
        expected = torch.autograd.grad(outputs, parameters, one, retain_graph=True)
        torch.testing.assert_close([gradient[n] for gradient in found], list(expected))


@pytest.mark.parametrize("way", ["plain", "checkpoint", "autocast around the backward pass"])
def test_gradients_of_gradients_are_the_reference_s(way):
    layer = ConvLSTM(2, 4, peephole=True)
    layer.reset_parameters(torch.Generator().manual_seed(0))

    def reference(x: torch.Tensor) -> torch.Tensor:
        return reference_scan(x.transpose(0, 1), None, layer.cells[0].weights)[0].transpose(0, 1)

    def ours(x: torch.Tensor) -> torch.Tensor:
        if way == "checkpoint":
            return checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
        return layer(x)[0]

    results = []
    for read, casts in ((reference, False), (ours, way.startswith("autocast"))):
        x = frames().requires_grad_()
        outputs = read(x).square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            (first,) = torch.autograd.grad(outputs, x, create_graph=True)
        results.append([first, *gradients(first, layer)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


class _PassesNothingBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs):
        return outputs.clone()

    @staticmethod
    def backward(ctx, _):
        return None


@pytest.mark.parametrize("create_graph", [False, True])
def test_outputs_that_nothing_is_passed_back_to_pass_nothing_on(create_graph):
    layer, x = ConvLSTM(2, 4), frames().requires_grad_()
    outputs = _PassesNothingBack.apply(layer(x)[0]).sum()
    (found,) = torch.autograd.grad(outputs, x, create_graph=create_graph, allow_unused=True)
    assert found is None


# Memory.


def grown(work, times: int) -> int:
    """Bytes that are allocated and not freed again while the work is done."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        for _ in range(times):
            work()
    return sum(event.self_cpu_memory_usage for event in seen.events())


def training_step(losses: list, **options: object):
    layer = ConvLSTM(2, 16, num_layers=2, **options)
    x = frames(2, 4, 2, 8, 8)

    def work(**given: object) -> None:
        loss = layer(x)[0].square().mean()
        loss.backward(**given)
        losses.append(loss)
        layer.zero_grad()

    work()  # what is made once is made
    return work


@pytest.mark.parametrize("options", [{}, {"recompute": True}], ids=str)
def test_a_loop_that_keeps_its_losses_keeps_nothing_else(options):
    losses = []
    assert grown(training_step(losses, **options), times=2) == 2 * losses[0].nbytes


def test_a_graph_that_was_kept_keeps_what_it_needs_until_its_last_pass():
    layer, x, held = ConvLSTM(2, 16), frames(2, 4, 2, 8, 8), []
    layer(x)[0].sum().backward()

    def forward_and_back() -> None:
        held.append(layer(x)[0].sum())
        held[0].backward(retain_graph=True)

    frame = 2 * 16 * 8 * 8 * 4  # bytes of h
    assert grown(forward_and_back, 1) >= 4 * 7 * frame
    layer.zero_grad()
    once = gradients(layer(x)[0], layer)
    layer.zero_grad()
    outputs = layer(x)[0]
    outputs.float().square().sum().backward(retain_graph=True)
    torch.testing.assert_close(gradients(outputs, layer), once)


@pytest.mark.parametrize(
    ("options", "count"), [({}, 7), ({"peephole": True}, 8), ({"recompute": True}, 2)], ids=str
)
def test_of_every_frame_as_many_tensors_are_saved_as_the_docstring_says(options, count):
    layer, x, saved = ConvLSTM(2, 4, **options), frames(2, 5, 2, 6, 7), []
    given = {tensor.data_ptr() for tensor in (x, *layer.parameters())}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(x)
    found = sum(tensor.numel() for tensor in saved if tensor.data_ptr() not in given)
    assert found == count * 5 * 2 * 4 * 6 * 7


def test_a_gradient_of_the_frames_alone_leaves_nothing_of_the_weights_behind():
    layer, x, losses = ConvLSTM(2, 16), frames(2, 4, 2, 8, 8).requires_grad_(), []

    def work() -> None:
        losses.append(layer(x)[0].square().mean())
        torch.autograd.grad(losses[-1], x)

    work()
    assert grown(work, 2) == 2 * losses[0].nbytes


@pytest.mark.parametrize("changed", ["x", "h", "c", "gates", "outputs"])
def test_what_was_saved_and_then_changed_is_an_error(changed):
    layer, x = ConvLSTM(2, 4), frames()
    h, c = frames(2, 4, 6, 7, seed=2), frames(2, 4, 6, 7, seed=3)
    outputs, _ = layer(x, [(h, c)])
    tensors = {"x": x, "h": h, "c": c, "gates": layer.cells[0].gates.weight, "outputs": outputs}
    loss = outputs.square().sum()
    with torch.no_grad():
        tensors[changed].add_(1)
    with pytest.raises(RuntimeError, match="modified (by an )?inplace"):
        loss.backward()


def test_a_second_backward_pass_is_refused_as_torch_refuses_it():
    outputs = make_layer()(frames())[0].sum()
    outputs.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        outputs.backward()


# Types.


def run(
    x: torch.dtype, state: torch.dtype, weights: torch.dtype, *, cell: bool = False
) -> torch.Tensor:
    state = (torch.zeros(2, 4, 6, 7, dtype=state),) * 2
    if cell:
        return ConvLSTMCell(2, 4, dtype=weights)(frames()[:, 0].to(x), state)[0]
    return ConvLSTM(2, 4, dtype=weights)(frames().to(x), [state])[0]


F32, F64, B16, U8 = torch.float32, torch.float64, torch.bfloat16, torch.uint8
MIXED = [
    (F64, F64, F32, "x has type torch.float64 and gates torch.float32: must be one type"),
    (F32, F32, F64, "x has type torch.float32 and gates torch.float64: must be one type"),
    (F32, F64, F32, "x has type torch.float32 and h torch.float64: must be one type"),
    (B16, F32, F32, "x has type torch.bfloat16 and h torch.float32: must be one type"),
    (U8, F32, F32, "x has type torch.uint8 and h torch.float32: must be one type"),
]


@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize(("x", "state", "weights", "message"), MIXED)
def test_several_types_are_refused_with_their_names(x, state, weights, message, cell):
    with pytest.raises(ValueError, match=message):
        run(x, state, weights, cell=cell)


@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize("types", [(F32, F32, F32), (B16, F32, F32), (F32, B16, F32), (B16,) * 3])
@pytest.mark.parametrize("has_onednn", [True, False])
def test_autocast_makes_several_types_one_whatever_the_machine(
    types, cell, has_onednn, monkeypatch
):
    if not has_onednn:
        monkeypatch.setattr(kernels_cpu, "_FOUND", False)
    with torch.autocast("cpu", B16):
        assert run(*types, cell=cell).dtype == B16


def test_autocast_leaves_float64_alone():
    with torch.autocast("cpu", B16):
        assert run(F64, F64, F64).dtype == F64
        with pytest.raises(ValueError, match="float64"):
            run(F64, F32, F32)


def test_a_device_without_autocast_computes_in_the_tensors_type():
    layer = ConvLSTM(2, 4, device="meta")
    assert computed_in(torch.zeros(1, 2, 6, 7, device="meta"), None, layer.cells[0].weights) == F32


# Hooks, parametrizations and what is printed.


@pytest.mark.parametrize("recompute", [False, True])
def test_a_cell_s_hooks_fire_for_every_frame_and_may_change_what_comes_out(recompute):
    layer, x, seen = make_layer(recompute=recompute), frames(), []
    cell = layer.cells[1]
    handles = [
        cell.register_forward_pre_hook(lambda _, given: seen.append("before")),
        cell.register_forward_hook(lambda *_: seen.append("after")),
        cell.register_full_backward_hook(lambda *_: seen.append("back")),
    ]
    before, _ = layer(x)
    assert seen == ["before", "after"] * 3
    before.sum().backward()
    assert seen.count("back") == 3
    for handle in handles:
        handle.remove()
    cell.register_forward_hook(lambda _cell, _given, state: (2 * state[0], state[1]))
    assert not torch.allclose(layer(x)[0], before)
    seen.clear()
    layer(x)
    assert not seen


def test_hooks_of_all_modules_fire_for_cells():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module).__name__)
    )
    try:
        make_layer()(frames())
    finally:
        handle.remove()
    assert seen == ["ConvLSTMCell"] * 6 + ["ConvLSTM"]


def test_a_counter_of_flop_sees_every_convolution():
    layer, x = ConvLSTM(2, 4), frames()
    with FlopCounterMode(display=False) as counter:
        layer(x)
    pixels, kernel = 2 * 6 * 7, 9
    assert counter.get_total_flops() == 2 * pixels * kernel * 16 * (3 * 2 + 2 * 4)


@pytest.mark.parametrize(
    "parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_parametrized_weights_act_and_learn(parametrize):
    layer, x = make_layer(), frames()
    before = layer(x)[0]
    for cell in layer.cells:
        parametrize(cell.gates)
    for _ in range(2):  # a second step: its weights are computed anew
        layer.zero_grad()
        outputs = layer(x)[0]
        outputs.sum().backward()
        assert all(parameter.grad is not None for parameter in layer.parameters())
    if parametrize is parametrizations.spectral_norm:
        assert not torch.allclose(outputs, before)


def test_weights_that_a_hook_of_gates_would_compute_are_refused():
    layer = make_layer()
    prune.l1_unstructured(layer.cells[0].gates, "weight", 0.5)
    with pytest.raises(RuntimeError, match="hook of gates, which is never called: use torch.nn"):
        layer(frames())


DIFFERENT = {
    "num_layers": 2,
    "bias": False,
    "batch_first": False,
    "bidirectional": True,
    "dropout": 0.5,
    "peephole": True,
    "forget_bias": 0.0,
    "residual": True,
    "recompute": True,
    "stride": 2,
    "dilation": 2,
    "padding_mode": "circular",
}


def test_what_is_printed_names_every_option_that_is_not_as_by_default():
    assert ConvLSTM(1, 16).extra_repr() == "1, 16, kernel_size=3"
    assert (
        ConvLSTM(1, [4, 8], [3, 5], 2).extra_repr() == "1, [4, 8], kernel_size=[3, 5], num_layers=2"
    )
    options = set(inspect.signature(ConvLSTM).parameters) - {"device", "dtype"}
    assert options == {"in_channels", "hidden_channels", "kernel_size", *DIFFERENT}
    for name, value in DIFFERENT.items():
        rest = {"num_layers": 2} if name in ("dropout", "residual") else {}
        assert f"{name}={value}" in ConvLSTM(1, 4, **{**rest, name: value}).extra_repr()


def test_a_cell_prints_its_options_too():
    assert ConvLSTMCell(1, 4).extra_repr() == "1, 4, kernel_size=3"
    cell = ConvLSTMCell(1, 4, 5, peephole=True, forget_bias=1.0)
    assert cell.extra_repr() == "1, 4, kernel_size=5, peephole=True, forget_bias=1.0"
    assert ConvLSTMCell(1, 4, bias=False).extra_repr() == "1, 4, kernel_size=3, bias=False"
