"""The command `export`: a trained network as files for other programs."""

import argparse

from convlstm.checks import check_integer
from convlstm.commands.shared import check_writable
from convlstm.commands.terminal import print_json
from convlstm.files.export import MAX_HORIZON, check_exportable, default_horizon, export, metadata
from convlstm.files.reading import read_checkpoint
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
    for way in ("in", "out"):
        for port in about[f"{way}puts"]:
            axes = f"({', '.join(map(str, port['shape']))})" if port["shape"] else "one bool"
            lines.append(f"  {way:<3}  {port['name']:<10}  {axes:<37}  {port['meaning']}")
    (height, width), multiple = about["canvas"], about["canvas_multiple"]
    sides = f"height and width multiples of {multiple} px" if multiple > 1 else "any canvas"
    channels = []
    for each in about["channels"]:
        ends = "{low:g} to {high:g} {unit}".format_map(each)
        channels.append(f"{each['name']} of {ends}" if each["unit"] else each["name"])
    lines.append(
        f"  Any batch, {sides}, float32. Trained with {about['context_frames']} frames of "
        f"{height} x {width} px; a frame is {', '.join(channels)}, from 0 to 1."
    )
    return "\n".join(lines)
