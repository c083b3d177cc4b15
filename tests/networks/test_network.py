"""What holds for every network."""

import numpy as np
import pytest
import torch
from torch import nn

from convlstm.networks import FrameFormat, Network, NetworkConfig, build_network
from convlstm.networks.multiscale import Attention

FRAMES = FrameFormat(start_logit=-3.0)  # as digits are
MAPS = FrameFormat(2, (0.5, 0.3), (0.1, 0.2))  # as weather is
SMALL = {
    "hidden_channels": 4,
    "kernel_size": 3,
    "num_layers": 2,
    "patch_size": 4,
    "residual": True,
}
MULTI = {
    "architecture": "multiscale",
    "hidden_channels": 4,
    "kernel_size": 3,
    "num_layers": 3,
    "residual": True,
}
KINDS = {
    "stack": SMALL,
    "stack, states": {**SMALL, "rollout": "states"},
    "stack, plain": {**SMALL, "residual": False},
    "stack, linear": {**SMALL, "output": "linear"},
    "stack, change": {**SMALL, "output": "change"},
    "stack, transport": {**SMALL, "output": "transport"},
    "stack, transport, states": {**SMALL, "output": "transport", "rollout": "states"},
    "stack, change, states": {**SMALL, "output": "change", "rollout": "states"},
    "multiscale": MULTI,
    "multiscale, states": {**MULTI, "rollout": "states"},
    "multiscale, attention": {**MULTI, "attention": True},
    "multiscale, plain": {**MULTI, "residual": False},
    "multiscale, linear": {**MULTI, "output": "linear"},
    "multiscale, change": {**MULTI, "output": "change"},
    "multiscale, transport": {**MULTI, "output": "transport"},
    "multiscale, transport, states": {**MULTI, "output": "transport", "rollout": "states"},
    "multiscale, change, states": {**MULTI, "output": "change", "rollout": "states"},
}
CHANGES = [kind for kind in KINDS if "change" in kind]
ARTICLE = {
    "architecture": "multiscale",
    "hidden_channels": 64,
    "num_layers": 3,
    "kernel_size": 5,
}
COMPACT = {
    "hidden_channels": 64,
    "kernel_size": 3,
    "num_layers": 3,
    "patch_size": 4,
    "residual": True,
}
both_formats = pytest.mark.parametrize("form", [FRAMES, MAPS], ids=["frames", "maps"])


def make(seed: int = 0, form: FrameFormat = FRAMES, **settings: object) -> Network:
    return build_network(NetworkConfig(**settings), form, torch.Generator().manual_seed(seed))


def awake(network: Network) -> Network:
    """Let the parts that add nothing at first add something."""
    generator = torch.Generator().manual_seed(1)
    if network.config.output == "change":
        nn.init.uniform_(network.head.weight, -0.3, 0.3, generator=generator)
    for attention in (m for m in network.modules() if isinstance(m, Attention)):
        nn.init.ones_(attention.output.weight)
    return network


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@both_formats
@pytest.mark.parametrize("kind", KINDS)
def test_frames_go_in_and_the_stated_number_of_values_comes_out(kind, form):
    channels = form.channels
    network, context = awake(make(form=form, **KINDS[kind])), frames(2, 5, channels, 16, 24)
    values = network(context, 3)
    assert values.shape == (2, 7 if "stack" in kind else 3, channels, 16, 24)
    predicted = network.predict(context, 3)
    assert predicted.shape == (2, 3, channels, 16, 24)
    assert predicted.dtype == torch.float32
    assert not predicted.requires_grad
    assert 0 <= predicted.min() <= predicted.max() <= 1
    is_logit = network.config.output in ("sigmoid", "transport")
    expected = values[:, -3:].sigmoid() if is_logit else values[:, -3:].clamp(0, 1)
    torch.testing.assert_close(predicted, expected)


@both_formats
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind, form):
    network = awake(make(form=form, **KINDS[kind]))
    network(frames(1, 4, form.channels, 16, 16), 3).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@both_formats
@pytest.mark.parametrize("kind", CHANGES)
def test_a_network_of_changes_begins_with_the_last_frame(kind, form):
    network, context = make(form=form, **KINDS[kind]), frames(2, 4, form.channels, 16, 16)
    predicted = network.predict(context, 3)
    torch.testing.assert_close(predicted, context[:, -1:].expand(2, 3, form.channels, 16, 16))
    if network.config.predicts_next_frames:  # and each frame of the context with itself
        torch.testing.assert_close(network(context, 1), context)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_network_of_changes_adds_them_one_after_the_other(kind):
    network, context = awake(make(**KINDS[kind])), 0.4 + 0.2 * frames(2, 4, 1, 16, 16)
    values = network(context, 3)[:, -3:]
    last = torch.cat([context[:, -1:], values[:, :-1]], 1)
    found = []
    network.head.register_forward_hook(lambda head, x, result: found.append(result))
    network(context, 3)
    changes = torch.cat([result.unflatten(0, (-1, 2)) for result in found])[-3:]
    side = network.config.patch_size
    changes = nn.functional.pixel_shuffle(changes, side).transpose(0, 1)
    torch.testing.assert_close(values - last, changes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "transport" not in kind])
def test_what_a_network_reads_is_normalised_channel_by_channel(kind):
    """Maps of another mean and spread give the same predictions, of that mean and spread."""
    plain = awake(make(form=FrameFormat(2), **KINDS[kind]))
    other = awake(make(form=MAPS, **KINDS[kind]))
    context = frames(1, 4, 2, 16, 16)
    if plain.config.output != "sigmoid":
        plain.head.weight.data *= 0.1  # nothing that is fed back is clipped
        other.head.weight.data *= 0.1
        plain.head.bias.data.zero_()
        other.head.bias.data.zero_()
        context = 0.4 + 0.2 * context
    mean, spread = (torch.tensor(t)[:, None, None] for t in (MAPS.mean, MAPS.spread))
    one, two = plain(context, 1), other(mean + spread * context, 1)
    if plain.config.output != "sigmoid":
        one = mean + spread * one
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_frame_changes_no_earlier_prediction(kind):
    """Nor does the length of the horizon."""
    network, context = awake(make(**KINDS[kind])), frames(1, 4, 1, 16, 16)
    long, short = network(context, 5), network(context, 2)
    assert torch.equal(long[:, : short.shape[1]], short)
    if network.config.predicts_next_frames:
        changed = torch.cat([context[:, :3], 1 - context[:, 3:]], 1)
        assert torch.equal(network(changed, 2)[:, :3], short[:, :3])
        assert not torch.equal(network(changed, 2)[:, 3:], short[:, 3:])


@pytest.mark.parametrize("kind", ["stack", "stack, change", "multiscale", "multiscale, change"])
def test_each_sequence_s_own_mask_decides_what_it_reads(kind):
    network, sequence = awake(make(**KINDS[kind])), frames(2, 9, 1, 16, 16)
    context, truth = sequence[:, :5], sequence[:, 5:]
    mask = torch.tensor([[True] * 4, [False] * 4])
    mixed = network(context, 4, truth, mask)
    forced = network(context, 4, truth, torch.ones(2, 4, dtype=torch.bool))
    free = network(context, 4)
    torch.testing.assert_close(mixed[:1], forced[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1:], free[1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(forced, free)


@pytest.mark.parametrize("kind", ["stack", "multiscale"])
def test_without_a_mask_the_truth_is_never_read(kind):
    network, sequence = make(**KINDS[kind]), frames(1, 9, 1, 16, 16)
    free = network(sequence[:, :5], 4)
    assert torch.equal(network(sequence[:, :5], 4, sequence[:, 5:]), free)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "states" in kind])
def test_on_its_states_alone_a_network_reads_no_truth(kind):
    network, sequence = awake(make(**KINDS[kind])), frames(1, 9, 1, 16, 16)
    forced = network(sequence[:, :5], 4, sequence[:, 5:], torch.ones(1, 4, dtype=torch.bool))
    assert torch.equal(forced, network(sequence[:, :5], 4))


OPTIONS = [
    {"rollout": "states"},
    {"output": "linear"},
    {"output": "change"},
    {"residual": True},
    {"peephole": True},
    {"patch_size": 2},
    {"forget_bias": 0.0},
]


@pytest.mark.parametrize(
    ("architecture", "changed"),
    [(name, option) for name in ("stack", "multiscale") for option in OPTIONS]
    + [("multiscale", {"attention": True})],
)
def test_every_option_changes_the_output(architecture, changed):
    base = {**MULTI, "num_layers": 2, "residual": False, "architecture": architecture}
    context = frames(1, 3, 1, 16, 16)
    plain, other = make(**base), awake(make(**{**base, **changed}))
    assert not torch.allclose(plain(context, 2), other(context, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_recomputing_changes_no_number(kind):
    gradients = []
    for recompute in (False, True):
        network = awake(make(**KINDS[kind], recompute=recompute))
        network(frames(1, 4, 1, 16, 16), 2).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        # In words: the article says 8.7 million, 9.1 with residuals, 10.3 with attention.
        ({**ARTICLE, "residual": False}, 8_762_753),
        ({**ARTICLE, "residual": True}, 8_845_377),
        ({**ARTICLE, "residual": True, "attention": True}, 9_241_665),
        (COMPACT, 775_952),
        ({**COMPACT, "hidden_channels": 128, "num_layers": 4, "kernel_size": 5}, 11_677_712),
    ],
)
def test_the_networks_have_the_stated_sizes(settings, parameters):
    network = build_network(NetworkConfig(**settings), FRAMES, device="meta")
    assert count(network) == parameters


@pytest.mark.parametrize("kind", ["stack", "stack, change", "multiscale, attention"])
def test_averaging_over_mirrors_makes_the_prediction_mirror_with_its_input(kind):
    network, context = awake(make(**KINDS[kind])), frames(1, 4, 1, 16, 16)
    predicted = network.predict(context, 2, augmented=True)
    for axes in ((-1,), (-2,), (-1, -2)):
        mirrored = network.predict(context.flip(axes), 2, augmented=True)
        torch.testing.assert_close(mirrored.flip(axes), predicted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(predicted, network.predict(context, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_from_the_generator_alone(kind):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = make(3, **KINDS[kind]), make(4, **KINDS[kind])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    two = make(3, **KINDS[kind])
    torch.testing.assert_close(one.state_dict(), two.state_dict(), atol=0, rtol=0)
    assert all(parameter.requires_grad for parameter in one.parameters())
    differing = [n for n, p in one.named_parameters() if not torch.equal(p, other.state_dict()[n])]
    assert any("gates.weight" in name for name in differing)


@pytest.mark.parametrize(("start_logit", "brightest"), [(-3.0, 0.1), (-5.0, 0.05)])
@pytest.mark.parametrize("kind", ["stack", "multiscale"])
def test_predictions_start_about_as_dark_as_frames_are(kind, start_logit, brightest):
    form = FrameFormat(start_logit=start_logit)
    predicted = make(form=form, **KINDS[kind]).predict(frames(2, 4, 1, 16, 16), 2)
    assert predicted.max() < brightest
    assert make(form=form, **COMPACT)(torch.zeros(1, 3, 1, 64, 64), 2).sigmoid().max() < brightest


@pytest.mark.parametrize(
    ("shape", "horizon", "message"),
    [
        ((2, 5, 16, 16), 3, r"context has shape \(2, 5, 16, 16\): must be \(B, T, 1, H, W\)."),
        ((2, 0, 1, 16, 16), 3, r"must be \(B, T, 1, H, W\)."),
        ((1, 4, 2, 16, 16), 1, r"\(1, 4, 2, 16, 16\): must be \(B, T, 1, H, W\)."),
        ((4, 1, 16, 16), 1, r"context has shape \(4, 1, 16, 16\): must be \(B, T, 1, H, W\)."),
        ((2, 5, 1, 16, 16), 0, "horizon is 0: must be a whole number of 1 or more."),
        ((2, 5, 1, 16, 16), 1.5, "horizon is 1.5: must be a whole number of 1 or more."),
    ],
)
@pytest.mark.parametrize("kind", ["stack", "multiscale"])
def test_a_wrong_context_or_horizon_is_refused(kind, shape, horizon, message):
    network = make(**KINDS[kind])
    for call in (network, network.predict):
        with pytest.raises(ValueError, match=message):
            call(torch.zeros(shape), horizon)


@pytest.mark.parametrize("size", [(33, 36), (16, 17), (1, 1)])
@pytest.mark.parametrize("kind", ["stack", "multiscale"])
def test_frames_that_do_not_divide_are_read_with_their_edges_repeated(kind, size):
    network = make(**KINDS[kind] | {"patch_size": 2})
    context, future = frames(2, 3, 1, *size), frames(2, 2, 1, *size, seed=1)
    use_truth = torch.tensor([[True, False], [False, True]])

    def padded(clip):
        below, beside = (-side % network.config.divisor for side in size)
        return torch.from_numpy(
            np.pad(clip.numpy(), ((0, 0),) * 3 + ((0, below), (0, beside)), mode="edge")
        )

    values = network(context, 2, future, use_truth)
    assert values.shape[-2:] == size
    whole = network(padded(context), 2, padded(future), use_truth)
    assert torch.equal(values, whole[..., : size[0], : size[1]])


def test_a_network_without_weights_is_made_to_load_them():
    drawn = make(**SMALL)
    loaded = build_network(drawn.config, FRAMES)
    loaded.load_state_dict(drawn.state_dict())
    context = frames(1, 4, 1, 16, 16)
    assert torch.equal(loaded(context, 2), drawn(context, 2))
