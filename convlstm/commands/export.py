"""The command `export`: a trained network as files for other programs."""

import argparse
from pathlib import Path

from convlstm.checks import check_integer
from convlstm.commands.shared import check_writable
from convlstm.commands.terminal import print_json
from convlstm.files.checkpoint import read_checkpoint
from convlstm.files.export import (
    MAX_HORIZON,
    check_exportable,
    default_horizon,
    export,
    metadata,
)
from convlstm.files.safe_files import write_atomically
from convlstm.networks.parts import PARTS

BOTH = "both"


def export_network(flags: argparse.Namespace) -> int:
    """Write a checkpoint's network as files for other programs, and say how they are used."""
    checkpoint = read_checkpoint(flags.checkpoint)
    parts = PARTS if flags.part == BOTH else (flags.part,)
    horizon = default_horizon(checkpoint) if flags.horizon is None else flags.horizon
    horizon = check_integer("horizon", horizon, 1, MAX_HORIZON)
    check_exportable(checkpoint, flags.format)
    check_writable("--out", flags.out)
    made = {part: export(checkpoint, flags.format, part, horizon) for part in parts}
    written = []
    for part, content in made.items():  # once all are made: both, or none
        path = flags.out / f"{flags.checkpoint.stem}-{part}.{flags.format}"
        write_atomically(path, content)
        about = metadata(checkpoint, part, horizon)
        written.append({"file": str(path), "bytes": len(content), **about})
    if flags.json:
        for about in written:
            print_json(about)
    else:
        print("\n\n".join(map(_description, written)))
    return 0


def _description(about: dict) -> str:
    """Say what is in a file, in a few lines."""
    lines = [f"{about['file']}, {about['bytes'] / 2**20:.1f} MiB"]
    for what in ("inputs", "outputs"):
        for port in about[what]:
            axes = ", ".join(map(str, port["shape"])) or "one bool"
            lines.append(f"  {what[:-1]:<6}  {port['name']:<10}  ({axes})  {port['meaning']}")
    return "\n".join([*lines, *_facts(about)])


def _facts(about: dict) -> list[str]:
    (height, width), multiple = about["canvas"], about["canvas_multiple"]
    sides = "any height and width"
    if multiple > 1:
        sides = f"height and width multiples of {multiple} px"
    channels = (
        "{name}, 0 to 1 for {low:g} to {high:g} {unit}".format_map(each).strip()
        for each in about["channels"]
    )
    return [
        f"  Any batch; {sides} (trained with {height} x {width} px); float32.",
        f"  Trained to go on from {about['context_frames']} frames. Values lie in [0, 1]; "
        f"channels: {'; '.join(channels)}.",
    ]
