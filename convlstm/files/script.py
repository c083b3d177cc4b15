"""A run as a program to take home: one readable script that needs PyTorch and nothing else.

The script stands here as a template. A $name is filled in; lines between "#? if word" and "#? else"
or "#? end" stay only in the scripts of runs that use what the word names. The engine's numbers are
written out, as a reader wants them; the tests hold both to the same losses.
"""

from collections.abc import Iterator
from string import Template

from convlstm.checks import SettingError
from convlstm.settings import settings_of
from convlstm.training.config import TrainConfig

# What the script has no words for, by the value at which it needs none.
_UNSAID: dict[str, object] = {
    "horizon": 1,
    "architecture": "stack",
    "patch_size": 1,
    "rollout": "closed",
    "recompute": False,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "ema": 0.0,
    "augmented": False,
    "patience": 0,
    "max_minutes": 0.0,
}


def check_sayable(config: TrainConfig) -> None:
    """Refuse a run that a script cannot repeat.

    Raises:
        SettingError: a setting that the script has no words for.
    """
    if config.scene.name != "squares":
        raise SettingError("scene", config.scene.name, "not in a script")
    settings = settings_of(config)
    for name, value in _UNSAID.items():
        if settings[name] != value:
            raise SettingError(name, settings[name], "not in a script")
    for name, sayable in (
        ("output", ("sigmoid", "linear")),
        ("loss", ("bce", "mse", "l1", "mse+ssim")),
        ("precision", ("auto", "float32", "bfloat16")),
    ):
        if settings[name] not in sayable:
            raise SettingError(name, settings[name], "not in a script")


def training_script(config: TrainConfig) -> str:
    """Write a PyTorch script that trains the same network on the same data, without this project.

    It draws from the same seeds in the same order: on the CPU in float32 its losses are those of
    `train`, up to rounding. Parts that the run does not use are not in the text.

    Args:
        config: the run, of moving squares. Precision "auto" becomes float32: what else it means
            depends on the machine.

    Returns:
        The text of a Python file, for Python 3.10 and later.

    Raises:
        SettingError: a setting that the script has no words for.
    """
    check_sayable(config)
    scene, network = config.scene, config.network
    uses = {
        "noise": scene.noise > 0,
        "all directions": scene.directions == "all",
        "wrap": scene.walls == "wrap",
        "peephole": network.peephole,
        "forget bias": network.forget_bias > 0,
        "layers": network.num_layers > 1,
        "residual": network.residual,
        "sigmoid": network.output == "sigmoid",
        "logits": config.loss == "bce",
        "mse": config.loss == "mse",
        "l1": config.loss == "l1",
        "ssim": config.loss == "mse+ssim",
        "last target": config.targets == "future",
        "onecycle": config.schedule == "onecycle",
        "clip": config.gradient_clip > 0,
        "goal": config.stop_below > 0,
        "bfloat16": config.precision == "bfloat16",
    }
    if uses["logits"]:
        as_output, as_frame = "", ".sigmoid()"
    elif uses["sigmoid"]:
        as_output, as_frame = ".sigmoid()", ""
    else:
        as_output, as_frame = "", ".clamp(0, 1)"
    return Template("".join(_kept_lines(_TEMPLATE, uses))).substitute(
        settings_of(config),
        steps=config.total_steps,
        batch="seen, frames" if uses["noise"] else "frames",
        seen="seen" if uses["noise"] else "frames",
        as_float=".float()" if uses["bfloat16"] else "",
        as_output=as_output,
        as_frame=as_frame,
    )


def _kept_lines(template: str, uses: dict[str, bool]) -> Iterator[str]:
    """Yield the lines whose conditions hold; an "if" may stand within another."""
    conditions: list[bool] = []
    for line in template.splitlines(keepends=True):
        mark, _, order = line.strip().partition(" ")
        if mark != "#?":
            if all(conditions):
                yield line
        elif order == "end":
            conditions.pop()
        elif order == "else":
            conditions[-1] = not conditions[-1]
        else:
            conditions.append(uses[order.removeprefix("if ")])


_TEMPLATE = '''\
"""A ConvLSTM learns to predict the next frame of moving squares.

One run of ConvLSTM Playground, in one file that needs PyTorch and nothing else.
#? if bfloat16
It computes in bfloat16 where that is safe, as the run did.
#? else
On a CPU in float32, the run had these very losses, up to rounding.
#? end

Axes: B batch, N squares, T time (frames), C channels, H height, W width. Intensities in [0, 1].
"""

import torch
import torch.nn.functional as F
from torch import nn

# What the sequences show.
CANVAS = $canvas  # side of a frame, px
SQUARE_SIZE = $square_size  # side of a square, px
NUM_SQUARES = $num_squares  # in a sequence
SPEED = $speed  # largest speed on each axis, px/frame
#? if noise
NOISE = $noise  # standard deviation of the noise on the frames that the model sees
#? end
CONTEXT_FRAMES = $context_frames  # seen before the frame that counts

# What learns them.
HIDDEN_CHANNELS = $hidden_channels  # of every layer's state
KERNEL_SIZE = $kernel_size  # side of the kernels, px, odd
#? if layers
NUM_LAYERS = $num_layers
#? end
#? if forget bias
FORGET_BIAS = $forget_bias  # of the forget gates at the start: begin by remembering
#? end

# How.
STEPS = $steps
BATCH_SIZE = $batch_size  # sequences in a step, drawn fresh every time
#? if onecycle
LEARNING_RATE = $learning_rate  # at its largest
#? else
LEARNING_RATE = $learning_rate
#? end
#? if clip
GRADIENT_CLIP = $gradient_clip  # largest norm of the gradient
#? end
#? if goal
STOP_BELOW = $stop_below  # validation MSE that ends the run
#? end
EVALUATE_EVERY = $evaluate_every  # steps
SEED = $seed
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def draw_squares(batch_size, generator):
    #? if noise
    """Draw sequences of moving squares, as a model sees them and clean, (B, T, 1, H, W) each."""
    #? else
    """Draw sequences of bright squares that move over black, (B, T, 1, H, W)."""
    #? end
    room = CANVAS - SQUARE_SIZE
    shape = (batch_size, NUM_SQUARES, 1, 2)  # B, N, T, then y and x at once
    start = torch.randint(room - 1, shape, generator=generator, device=DEVICE)
    velocity = torch.randint(1, SPEED + 1, shape, generator=generator, device=DEVICE)
    #? if all directions
    velocity *= 2 * torch.randint(2, shape, generator=generator, device=DEVICE) - 1
    #? end
    time = torch.arange(CONTEXT_FRAMES + 1, device=DEVICE)[:, None]
    #? if wrap
    corner = (start + velocity * time) % room  # out on one side, in on the other
    #? else
    corner = room - ((start + velocity * time) % (2 * room) - room).abs()  # to and fro
    #? end

    offset = torch.arange(CANVAS, device=DEVICE) - corner[..., None]
    rows, columns = ((offset >= 0) & (offset < SQUARE_SIZE)).unbind(3)  # (B, N, T, CANVAS) each
    squares = rows[..., :, None] & columns[..., None, :]  # (B, N, T, H, W)
    #? if noise
    frames = squares.any(1)[:, :, None].float()  # (B, T, 1, H, W)
    noise = torch.randn(frames.shape, generator=generator, device=DEVICE)
    return (frames + NOISE * noise).clamp(0, 1), frames
    #? else
    return squares.any(1)[:, :, None].float()  # (B, T, 1, H, W)
    #? end


class ConvLSTMCell(nn.Module):
    """One step in time of an LSTM whose products are convolutions (Shi et al. 2015)."""

    def __init__(self, in_channels):
        super().__init__()
        channels = in_channels + HIDDEN_CHANNELS
        # One convolution for all four gates.
        self.gates = nn.Conv2d(channels, 4 * HIDDEN_CHANNELS, KERNEL_SIZE, padding="same")
        #? if forget bias
        nn.init.constant_(self.gates.bias[HIDDEN_CHANNELS : 2 * HIDDEN_CHANNELS], FORGET_BIAS)
        #? end
        #? if peephole
        bound = HIDDEN_CHANNELS**-0.5
        weights = torch.empty(3, HIDDEN_CHANNELS, 1, 1).uniform_(-bound, bound)
        self.peephole = nn.Parameter(weights)  # through which i, f and o see c
        #? end

    def forward(self, x, h, c):
        """Take in frame x; advance the output h and the memory c, (B, C, H, W) each."""
        # How much to take in, how much to keep, what is new, how much to let out.
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        #? if peephole
        i = i + self.peephole[0] * c
        f = f + self.peephole[1] * c
        #? end
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        #? if peephole
        o = o + self.peephole[2] * c
        #? end
        return o.sigmoid() * c.tanh(), c


class NextFramePredictor(nn.Module):
    #? if layers
    """Layers of ConvLSTM, and a 1x1 convolution that draws the next frame."""
    #? else
    """A ConvLSTM, and a 1x1 convolution that draws the next frame."""
    #? end

    def __init__(self):
        super().__init__()
        #? if layers
        in_channels = [1] + [HIDDEN_CHANNELS] * (NUM_LAYERS - 1)
        self.cells = nn.ModuleList(ConvLSTMCell(channels) for channels in in_channels)
        #? else
        self.cell = ConvLSTMCell(1)
        #? end
        self.head = nn.Conv2d(HIDDEN_CHANNELS, 1, 1)
        #? if sigmoid
        nn.init.constant_(self.head.bias, -5.0)  # begin near black, as frames are
        #? end

    #? if bfloat16
    @torch.autocast(DEVICE, torch.bfloat16)
    #? end
    def forward(self, frames):
        #? if logits
        """Predict the frame after each of (B, T, 1, H, W), as logits of the same shape."""
        #? else
        """Predict the frame after each of (B, T, 1, H, W), in the same shape."""
        #? end
        predicted = []
        #? if layers
        zeros = frames.new_zeros(len(frames), HIDDEN_CHANNELS, CANVAS, CANVAS)
        states = [(zeros, zeros)] * NUM_LAYERS
        for x in frames.unbind(1):
            for layer, cell in enumerate(self.cells):
                h, c = states[layer] = cell(x, *states[layer])
                #? if residual
                x = h + x if layer > 0 else h
                #? else
                x = h
                #? end
            predicted.append(self.head(x))
        #? else
        h = c = frames.new_zeros(len(frames), HIDDEN_CHANNELS, CANVAS, CANVAS)
        for frame in frames.unbind(1):
            h, c = self.cell(frame, h, c)
            predicted.append(self.head(h))
        #? end
        return torch.stack(predicted, 1)$as_float$as_output


#? if ssim
def ssim(x, y):
    """Return the structural similarity of two batches of frames (Wang et al. 2004)."""
    offset = torch.arange(11, device=DEVICE) - 5
    gaussian = torch.exp(-(offset**2) / (2 * 1.5**2))
    window = gaussian[:, None] * gaussian / gaussian.sum() ** 2

    def blur(frames):
        return F.conv2d(frames.flatten(0, 1), window[None, None])

    mean_x, mean_y = blur(x), blur(y)
    variance_x = blur(x * x) - mean_x**2
    variance_y = blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return (luminance * structure).mean()


#? end
@torch.no_grad()
def validation_error(model, $batch):
    """Return the mean squared error of the last frames, predicted from those before."""
    predicted = model($seen[:, :-1])[:, -1]$as_frame
    return F.mse_loss(predicted, frames[:, -1]).item()


def main():
    """Train a model, and print how it goes."""
    torch.manual_seed(SEED)
    model = NextFramePredictor().to(DEVICE)
    print(f"{sum(weights.numel() for weights in model.parameters()):,} parameters on {DEVICE}")
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    #? if onecycle
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=$warm_up, cycle_momentum=False
    )
    #? end
    # Sequences to learn from, and others that the model never learns from.
    generator = torch.Generator(DEVICE).manual_seed(SEED + 2**31)
    validation = draw_squares(32, torch.Generator(DEVICE).manual_seed(2**31 - 1))
    #? if noise
    copy_last_error = F.mse_loss(validation[0][:, -2], validation[1][:, -1]).item()
    #? else
    copy_last_error = F.mse_loss(validation[:, -2], validation[:, -1]).item()
    #? end

    for step in range(1, STEPS + 1):
        $batch = draw_squares(BATCH_SIZE, generator)
        #? if last target
        predicted, truth = model($seen[:, :-1])[:, -1:], frames[:, -1:]
        #? else
        predicted, truth = model($seen[:, :-1]), frames[:, 1:]
        #? end
        #? if logits
        loss = F.binary_cross_entropy_with_logits(predicted, truth)
        #? end
        #? if mse
        loss = F.mse_loss(predicted, truth)
        #? end
        #? if l1
        loss = F.l1_loss(predicted, truth)
        #? end
        #? if ssim
        loss = 0.7 * F.mse_loss(predicted, truth) + 0.3 * (1 - ssim(predicted, truth))
        #? end
        if step == 1:
            too_large = 100 * max(loss.item(), 1e-3)
        if not loss.item() <= too_large:  # NaN is not, either
            print(f"step {step}: diverged, try a lower learning rate")
            break

        optimizer.zero_grad()
        loss.backward()
        #? if clip
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        #? end
        optimizer.step()
        #? if onecycle
        schedule.step()
        #? end

        if step % EVALUATE_EVERY == 0 or step == STEPS:
            #? if noise
            error = validation_error(model, *validation)
            #? else
            error = validation_error(model, validation)
            #? end
            print(
                f"step {step:5}   loss {loss.item():<11.7g}   "
                f"validation MSE {error:<10.4g}   copy-last MSE {copy_last_error:.4g}"
            )
            #? if goal
            if error < STOP_BELOW:
                break
            #? end


if __name__ == "__main__":
    main()
'''
