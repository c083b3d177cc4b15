"""Exported files, run without this project: ONNX in onnxruntime, and `.pt2` in a process that never
imports it.
"""

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves, tree_map

from convlstm import ConvGRU, ConvLSTM, ConvLSTM1d, ConvLSTM3d
from convlstm.checks import SettingError
from convlstm.files import export as exporting
from convlstm.files.checkpoint import load_network
from convlstm.files.export import ExportError, check_exportable, export, metadata
from convlstm.files.reading import Checkpoint, read_checkpoint
from convlstm.files.shipped import shipped_file
from convlstm.networks.parts import Step
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.training import TrainConfig
from tests.networks.test_parts import context_of, made, stepped

TOLERANCE = {"rtol": 0, "atol": 1e-4}
CONTEXT, HORIZON = 2, 2
SHIPPED = sorted(shipped_file("x").parent.glob("*.safetensors"))
# What torch 2.13 says of its own code while it writes ONNX.
LEAVES = r"ignore:.isinstance\(treespec, LeafSpec\):FutureWarning"
# A layer alone, by what it is made with: one line for each option that changes what it computes.
LAYERS: dict[str, tuple[type[nn.Module], dict[str, object]]] = {
    "plain": (ConvLSTM, {}),
    "layers": (ConvLSTM, {"num_layers": 2, "residual": True, "forget_bias": 1.0}),
    "sizes by layer": (
        ConvLSTM,
        {"num_layers": 2, "hidden_channels": [3, 5], "kernel_size": [3, 5]},
    ),
    "bidirectional": (ConvLSTM, {"bidirectional": True}),
    "peephole": (ConvLSTM, {"peephole": True, "bias": False, "batch_first": False}),
    "circular": (ConvLSTM, {"padding_mode": "circular"}),
    "reflect": (ConvLSTM, {"padding_mode": "reflect"}),
    "replicate": (ConvLSTM, {"padding_mode": "replicate"}),
    "dilation": (ConvLSTM, {"dilation": 2}),
    "stride": (ConvLSTM, {"stride": 2}),
    "kernel of two sides": (ConvLSTM, {"kernel_size": (3, 5)}),
    "one dimension": (ConvLSTM1d, {}),
    "three dimensions": (ConvLSTM3d, {}),
    "GRU": (ConvGRU, {}),
}


def checkpoint_of(name: str) -> Checkpoint:
    """A checkpoint that holds a network of NETWORKS."""
    network = made(name)
    scene = Storm(variable="wind") if network.frames.channels == 2 else Squares(canvas=16)
    always = {"loss": "mse", "targets": "future", "context_frames": CONTEXT}
    return Checkpoint(TrainConfig(scene, network.config, **always), network.state_dict(), ())


def short(checkpoint: Checkpoint) -> Checkpoint:
    """The same network after fewer frames, which are written in less time."""
    return replace(checkpoint, config=replace(checkpoint.config, context_frames=CONTEXT))


def opened(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_onnx(session: onnxruntime.InferenceSession, *tensors: torch.Tensor) -> list[torch.Tensor]:
    names = [each.name for each in session.get_inputs()]
    given = {n: tensor.numpy() for n, tensor in zip(names, tensors, strict=True)}
    return [torch.from_numpy(each) for each in session.run(None, given)]


def check_forecast(content: bytes, checkpoint: Checkpoint, horizon: int) -> None:
    """Compare a file's forecasts to the network's, at two batches and two canvases."""
    network, session = load_network(checkpoint), opened(content)
    d, T = network.config.divisor, checkpoint.config.context_frames
    for B, H, W in ((1, 3 * d, 5 * d), (3, 6 * d, 2 * d)):
        context = context_of(network, B, T, H, W)
        (forecast,) = run_onnx(session, context)
        torch.testing.assert_close(forecast, network.predict(context, horizon), **TOLERANCE)


def check_step(content: bytes, checkpoint: Checkpoint) -> None:
    """The same with a step that is called again and again."""
    network, session = load_network(checkpoint), opened(content)
    d, T = network.config.divisor, checkpoint.config.context_frames
    part = Step(network)
    assert [each.name for each in session.get_inputs()] == [port.name for port in part.inputs]
    assert [each.name for each in session.get_outputs()] == [port.name for port in part.outputs]
    for B, H, W in ((1, 3 * d, 5 * d), (3, 6 * d, 2 * d)):
        context = context_of(network, B, T, H, W)
        forecast = stepped(part, lambda *given: run_onnx(session, *given), context, HORIZON)
        torch.testing.assert_close(forecast, network.predict(context, HORIZON), **TOLERANCE)


# Together every option; what is not among them is as in a shipped network.
@pytest.mark.parametrize(
    "name", ["peephole", "transport", "states, change", "attention", "multiscale, states"]
)
def test_onnx_computes_what_a_network_of_each_option_computes(name: str) -> None:
    checkpoint = checkpoint_of(name)
    check_step(export(checkpoint, "onnx", "step", 1), checkpoint)


def test_onnx_forecasts_on_several_scales() -> None:
    checkpoint = checkpoint_of("multiscale, states")
    check_forecast(export(checkpoint, "onnx", "forecast", HORIZON), checkpoint, HORIZON)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_onnx_computes_what_every_shipped_network_computes(path: Path) -> None:
    checkpoint = short(read_checkpoint(path))
    check_forecast(export(checkpoint, "onnx", "forecast", HORIZON), checkpoint, HORIZON)
    check_step(export(checkpoint, "onnx", "step", 1), checkpoint)


_FRESH = """
import json, sys, torch
for path in sys.argv[1:]:
    about = {"convlstm.json": ""}
    # Of patches that change or move, torch's guards wrongly refuse a single sequence.
    loaded = torch.export.load(path, extra_files=about)
    program = loaded.module(**({"check_guards": False} if "unguarded" in path else {}))
    for given, expected in torch.load(path + ".cases"):
        found = program(*given)
        found = found if isinstance(found, tuple) else (found,)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    print(json.loads(about["convlstm.json"])["part"])
assert not [name for name in sys.modules if name.startswith("convlstm")]
"""


def test_pt2_computes_the_same_where_this_project_is_not_there(tmp_path: Path) -> None:
    shipped = {path.stem: read_checkpoint(path) for path in SHIPPED}
    moving = shipped.pop("moving-mnist-compact")
    sources = {f"{name}-step": checkpoint for name, checkpoint in shipped.items()}
    sources["painting-forecast"] = short(shipped["moving-mnist-painting"])
    sources["unguarded-forecast"] = checkpoint_of("multiscale, states")
    sources |= {"unguarded-moving-step": moving, "unguarded-moving-forecast": short(moving)}
    for name, checkpoint in sources.items():
        network, part = load_network(checkpoint), name.rpartition("-")[2]
        d, T = network.config.divisor, checkpoint.config.context_frames
        program = exporting.part_of(checkpoint, part, HORIZON)
        cases = []
        for B, H, W in ((1, 3 * d, 5 * d), (3, 6 * d, 2 * d)):
            frames = context_of(network, B, T, H, W)
            rest = program.examples(B, H, W)[1:]
            given = (frames if part == "forecast" else frames[:, 0], *rest)
            with torch.no_grad():
                found = program(*given)
            cases.append((given, found if isinstance(found, tuple) else (found,)))
        (tmp_path / f"{name}.pt2").write_bytes(export(checkpoint, "pt2", part, HORIZON))
        torch.save(cases, tmp_path / f"{name}.pt2.cases")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FRESH, *(f"{name}.pt2" for name in sources)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [name.rpartition("-")[2] for name in sources]


@pytest.mark.filterwarnings(LEAVES)
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_the_layer_alone_is_written_as_onnx(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kind, options = LAYERS[name]
    layer = kind(**{"in_channels": 2, "hidden_channels": 3, **options}).eval()
    axes = {"ConvLSTM1d": 1, "ConvLSTM3d": 3}.get(kind.__name__, 2)
    batch = 0 if layer.batch_first else 1

    def given(B: int, *sides: int) -> tuple:
        """Frames, and states of the shapes that the layer gives."""
        x = torch.rand(B, 3, 2, *sides[:axes]).movedim(0, batch)
        return x, tree_map(torch.rand_like, layer(x)[1])

    x, states = given(2, 6, 8, 10)
    free = {axis: Dim.AUTO for axis in range(2, 2 + axes)}
    shapes = (
        {batch: Dim.AUTO, **{axis + 1: Dim.AUTO for axis in free}},
        tree_map(lambda _: {0: Dim.AUTO, **free}, states),
    )
    program = torch.export.export(layer, (x, states), dynamic_shapes=shapes)
    path = tmp_path / "layer.onnx"
    torch.onnx.export(program, f=path, dynamo=True, external_data=False, verbose=False)
    session = opened(path.read_bytes())
    for sizes in ((1, 12, 6, 8), (3, 4, 10, 12)):
        x, states = given(*sizes)
        output, after = layer(x, states)
        found = run_onnx(session, x, *tree_leaves(states))
        torch.testing.assert_close(found, [output, *tree_leaves(after)], **TOLERANCE)


def test_a_file_says_what_one_must_know_to_use_it() -> None:
    checkpoint = read_checkpoint(shipped_file("blizzard.safetensors"))
    about = metadata(checkpoint, "step", 5)
    assert (about["part"], about["context_frames"], about["horizon"]) == ("step", 6, 1)
    assert (about["canvas"], about["canvas_multiple"]) == ([33, 36], 1)
    pressure, *others = about["channels"]
    assert pressure == {"name": "pressure", "low": 960, "high": 1070, "unit": "hPa"}
    assert [each["name"] for each in others] == ["temperature", "wind_east", "wind_north"]
    assert about["inputs"][0]["shape"] == ["batch", 4, "height", "width"]
    session = opened(export(checkpoint, "onnx", "step", 1))
    said = session.get_modelmeta().custom_metadata_map
    assert said["part"] == "step"
    assert json.loads(said["channels"]) == about["channels"]
    assert json.loads(said["settings"])["hidden_channels"] == 24
    file = io.BytesIO(export(checkpoint, "pt2", "step", 1))
    extra = {"convlstm.json": ""}
    torch.export.load(file, extra_files=extra)
    assert json.loads(extra["convlstm.json"]) == json.loads(
        json.dumps(metadata(checkpoint, "step", 1))
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("jpeg", "step", 1), "format is 'jpeg': must be one of onnx, pt2."),
        (("onnx", "both", 1), "part is 'both': must be one of forecast, step."),
        (("onnx", "step", 0), "horizon is 0: must be a whole number from 1 to 100."),
        (("pt2", "forecast", 101), "horizon is 101: must be a whole number from 1 to 100."),
        (
            ("pt2", "forecast", float("nan")),
            "horizon is nan: must be a whole number from 1 to 100.",
        ),
    ],
)
def test_what_is_no_format_part_or_horizon_is_refused(given: tuple, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        export(checkpoint_of("plain"), *given)
    assert str(caught.value) == message


def test_more_weights_than_an_onnx_file_holds_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(exporting, "_MAX_ONNX_MIB", 0.001)
    with pytest.raises(SettingError) as caught:
        check_exportable(checkpoint_of("plain"), "onnx")
    assert (
        str(caught.value) == "weights is '0 MiB': must be at most 0.001 MiB to be written as ONNX."
    )
    check_exportable(checkpoint_of("plain"), "pt2")


def test_where_what_writes_onnx_is_not_installed_that_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"needs onnxscript: pip install \".*\[export\]\"\.$"):
        export(checkpoint_of("plain"), "onnx", "step", 1)
    assert export(checkpoint_of("plain"), "pt2", "step", 1)


def test_what_onnx_has_no_word_for_is_refused_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr(Step, "forward", lambda self, x, *states: torch.special.bessel_j0(x))
    with pytest.raises(ExportError) as caught:
        export(checkpoint_of("plain"), "onnx", "step", 1)
    assert str(caught.value).startswith("ONNX cannot say what this network does: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_a_file_names_no_path_of_the_machine_that_wrote_it(form: str) -> None:
    content = export(checkpoint_of("plain"), form, "step", 1)
    texts = [content]
    if form == "pt2":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts += [archive.read(name) for name in archive.namelist()]
    folders = [str(Path(file).parent).encode() for file in (exporting.__file__, torch.__file__)]
    assert not [folder for folder in folders for text in texts if folder in text]


def test_exporting_leaves_a_network_and_torch_as_they_were() -> None:
    checkpoint = checkpoint_of("peephole")
    before = {name: weights.clone() for name, weights in checkpoint.weights.items()}
    random, level = torch.get_rng_state(), torch.is_grad_enabled()
    export(checkpoint, "onnx", "step", 1)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled() == level
    assert all(torch.equal(before[name], weights) for name, weights in checkpoint.weights.items())
