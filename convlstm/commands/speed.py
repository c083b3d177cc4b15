"""The commands `benchmark` and `study`: how fast, and what each technique brings."""

import argparse
import contextlib
import sys
from dataclasses import asdict

from convlstm.benchmarks import options
from convlstm.benchmarks.benchmark import benchmark, table
from convlstm.benchmarks.modules import SIZES
from convlstm.benchmarks.scaling import describe, draw, scaling
from convlstm.benchmarks.study import STUDIES, markdown_table, read_results, run_study
from convlstm.checks import check_integer
from convlstm.commands.shared import (
    INTERRUPTED,
    check_drawable,
    check_writable,
    device_of,
    first_interrupt,
)
from convlstm.commands.terminal import ProgressBar, print_json
from convlstm.files.pictures import bars_figure, write_files

MAX_REPEATS = 1000


def compare_speed(flags: argparse.Namespace) -> int:
    """Time the contestants of the benchmark, the layer's options, or how the step grows."""
    device = device_of(flags)
    if flags.scaling:
        check_drawable("--scaling")
        check_writable("--scaling", flags.scaling.parent)
        sweeps = scaling(device)
        if flags.json:
            for sweep in sweeps:
                print_json(asdict(sweep))
        else:
            print(describe(sweeps))
        draw(sweeps, flags.scaling)
        return 0
    if flags.options:
        rows = options.time_options(device)
        if flags.json:
            for row in rows:
                print_json(asdict(row))
        else:
            print(options.describe(rows))
        return 0
    repeats = None
    if flags.repeats is not None:
        repeats = check_integer("repeats", flags.repeats, 1, MAX_REPEATS)
    for size in flags.size or [name for name in SIZES if name != "tiny"]:
        rows = benchmark(size, names=flags.row, device=str(device), repeats=repeats)
        if flags.json:
            for row in rows:
                print_json({"size": size, **asdict(row)})
        else:
            print(table(size, rows), flush=True)
    return 0


def study(flags: argparse.Namespace) -> int:
    """Make one of the article's tables again: train what it lacks, then write it and draw it."""
    check_drawable("study")
    check_writable("--out", flags.out)
    steps = run_study(flags.name, flags.out, scale=flags.scale, device=device_of(flags))
    with (
        first_interrupt() as interrupted,
        contextlib.closing(steps),
        contextlib.closing(ProgressBar(1000)) as bar,
    ):
        for step in steps:
            bar.draw(int(1000 * step.done), f"{step.variant}, seed {step.seed}")
            if interrupted.is_set():
                print("Interrupted; the same command goes on with it.", file=sys.stderr)
                return INTERRUPTED
    results = read_results(flags.name, flags.out, flags.scale)
    text = markdown_table(flags.name, results)
    ssim = {
        variant: [result.scores.ssim for result in results if result.variant == variant]
        for variant in STUDIES[flags.name]
    }
    title = f"{flags.name}, {flags.scale} scale"
    picture = bars_figure(ssim, title, "SSIM on sequences of unseen digits")
    write_files({"table.md": f"{text}\n".encode(), "plot.png": picture}, flags.out)
    print(text)
    return 0
