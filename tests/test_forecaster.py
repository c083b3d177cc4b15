import pytest
import torch
from torch import nn

from convlstm.checks import SettingError
from convlstm.forecaster import ForecasterConfig, _Attention, build_forecaster, forecast

SMALL = {"hidden_channels": 4, "num_layers": 2, "patch_size": 4}
MULTI = {"network": "multiscale", "hidden_channels": 4, "num_layers": 3, "patch_size": 1}
KINDS = {
    "stack": SMALL,
    "stack, states": {**SMALL, "rollout": "states"},
    "stack, plain": {**SMALL, "residual": False},
    "multiscale": MULTI,
    "multiscale, states": {**MULTI, "rollout": "states"},
    "multiscale, attention": {**MULTI, "attention": True},
    "multiscale, plain": {**MULTI, "residual": False},
}
ARTICLE = {
    "network": "multiscale",
    "patch_size": 1,
    "hidden_channels": 64,
    "num_layers": 3,
    "kernel_size": 5,
}


def make(seed=0, **settings):
    return build_forecaster(ForecasterConfig(**settings), torch.Generator().manual_seed(seed))


def frames(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_frames_go_in_and_the_stated_number_of_logits_comes_out(kind):
    model, context = make(**KINDS[kind]), frames(2, 5, 1, 16, 24)
    logits = model(context, 3)
    assert logits.shape == (2, 7 if "stack" in kind else 3, 1, 16, 24)
    predicted = model.predict(context, 3)
    assert predicted.shape == (2, 3, 1, 16, 24)
    assert predicted.dtype == torch.float32
    torch.testing.assert_close(predicted, logits[:, -3:].sigmoid())


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = make(**KINDS[kind])
    for attention in (m for m in model.modules() if isinstance(m, _Attention)):
        nn.init.ones_(attention.output.weight)  # at first it adds nothing
    model(frames(1, 4, 1, 16, 16), 3).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_attention_adds_nothing_at_first_and_then_looks_at_every_position():
    model = make(**KINDS["multiscale, attention"])
    attention = next(m for m in model.modules() if isinstance(m, _Attention))
    x = frames(1, attention.norm.num_channels, 4, 4)
    assert torch.equal(attention(x), x)
    nn.init.ones_(attention.output.weight)
    x.requires_grad_()
    (attention(x) - x)[0, 0, 0, 0].backward()
    assert x.grad[0, :, 3, 3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_frame_changes_no_earlier_prediction(kind):
    """Nor does the length of the horizon."""
    model, context = make(**KINDS[kind]), frames(1, 4, 1, 16, 16)
    long, short = model(context, 5), model(context, 2)
    assert torch.equal(long[:, : short.shape[1]], short)


def test_with_the_truth_fed_back_a_stack_reads_it_as_it_reads_a_context():
    model, sequence = make(**SMALL), frames(2, 9, 1, 16, 16)
    use_truth = torch.ones(2, 4, dtype=torch.bool)
    forced = model(sequence[:, :5], 4, sequence[:, 5:], use_truth)
    whole = model(sequence[:, :8], 1)  # the last truth is nobody's input
    torch.testing.assert_close(forced, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["stack", "multiscale"])
def test_each_sequence_s_own_mask_decides_what_it_reads(kind):
    model, sequence = make(**KINDS[kind]), frames(2, 9, 1, 16, 16)
    context, truth = sequence[:, :5], sequence[:, 5:]
    mask = torch.tensor([[True] * 4, [False] * 4])
    mixed = model(context, 4, truth, mask)
    forced = model(context, 4, truth, torch.ones(2, 4, dtype=torch.bool))
    free = model(context, 4)
    torch.testing.assert_close(mixed[:1], forced[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1:], free[1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(forced, free)


def test_without_a_mask_the_truth_is_never_read():
    model, sequence = make(**SMALL), frames(1, 9, 1, 16, 16)
    free = model(sequence[:, :5], 4)
    assert torch.equal(model(sequence[:, :5], 4, sequence[:, 5:]), free)


def test_a_stack_predicts_by_its_own_output_after_the_first_frame():
    model, context = make(**SMALL), frames(1, 5, 1, 16, 16)
    predicted = model.predict(context, 3)
    first = model.predict(context, 1)
    torch.testing.assert_close(predicted[:, :1], first)
    second = model.predict(torch.cat([context, first], 1), 1)
    torch.testing.assert_close(predicted[:, 1:2], second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("option", ["residual", "attention"])
def test_an_option_adds_parameters_and_changes_the_output(option):
    base = {**MULTI, "residual": False}
    context = frames(1, 3, 1, 16, 16)
    plain, other = make(**base), make(**{**base, option: True})
    assert count(other) > count(plain)
    assert not torch.allclose(plain(context, 2), other(context, 2))


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        # In words: the article says 8.7 million, 9.1 with residuals, 10.3 with attention.
        ({**ARTICLE, "residual": False}, 8_762_753),
        ({**ARTICLE, "residual": True}, 8_845_377),
        ({**ARTICLE, "residual": True, "attention": True}, 9_241_665),
        ({}, 775_952),
        ({"hidden_channels": 128, "num_layers": 4, "kernel_size": 5}, 11_677_712),
    ],
)
def test_the_networks_have_the_stated_sizes(settings, parameters):
    with torch.device("meta"):
        model = build_forecaster(ForecasterConfig(**settings), torch.Generator(), "meta")
    assert count(model) == parameters


@pytest.mark.parametrize("kind", ["stack", "multiscale, attention"])
def test_averaging_over_mirrors_makes_the_prediction_mirror_with_its_input(kind):
    model, context = make(**KINDS[kind]), frames(1, 4, 1, 16, 16)
    predicted = forecast(model, context, 2, augmented=True)
    for axes in ((-1,), (-2,), (-1, -2)):
        mirrored = forecast(model, context.flip(axes), 2, augmented=True)
        torch.testing.assert_close(mirrored.flip(axes), predicted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(predicted, forecast(model, context, 2))


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, two, other = make(3, **MULTI), make(3, **MULTI), make(4, **MULTI)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(
        one.encoder[0].convlstm.cells[0].gates.weight,
        other.encoder[0].convlstm.cells[0].gates.weight,
    )


def test_predictions_start_near_black():
    assert make()(torch.zeros(1, 3, 1, 64, 64), 2).sigmoid().max() < 0.1


@pytest.mark.parametrize(
    ("shape", "horizon", "message"),
    [
        ((2, 5, 16, 16), 3, r"context has shape \(2, 5, 16, 16\): must be \(B, T, 1, H, W\)."),
        ((2, 0, 1, 16, 16), 3, r"must be \(B, T, 1, H, W\)."),
        ((2, 5, 1, 18, 16), 3, "H and W must be multiples of 4."),
        ((2, 5, 1, 16, 16), 0, "horizon is 0: must be a whole number of 1 or more."),
    ],
)
def test_a_wrong_context_or_horizon_is_refused(shape, horizon, message):
    with pytest.raises(ValueError, match=message):
        make(**SMALL)(torch.zeros(shape), horizon)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 3}, "patch_size is 3: must be 1, 2, 4 or 8."),
        ({"kernel_size": 2}, "kernel_size is 2: must be odd: 1, 3, 5 or 7."),
        ({"network": "unet"}, "network is 'unet': must be one of stack, multiscale."),
        ({"attention": True}, 'attention is True: must go with network "multiscale".'),
        (
            {"attention": True, "network": "multiscale", "num_layers": 1},
            "attention is True: needs num_layers of 2 or more.",
        ),
        ({"hidden_channels": 0}, "hidden_channels is 0: must be a whole number from 1 to 256."),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        ForecasterConfig(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "multiscale", "attention": True, "hidden_channels": 100, "num_layers": 2},
        {"network": "multiscale", "rollout": "states", "hidden_channels": 4, "num_layers": 1},
    ],
)
def test_widths_that_do_not_divide_work_too(settings):
    model = make(**settings, patch_size=4)
    assert model(frames(1, 2, 1, 16, 16), 2).isfinite().all()
