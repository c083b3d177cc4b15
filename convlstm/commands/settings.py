"""The command `settings`: the documentation of every setting, from where each is declared."""

import argparse

from convlstm.commands.shared import default_text
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import declared
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config

_INTRODUCTION = """\
What `convlstm settings` prints: each is declared once, in code. These are the names in links and in
JSON; as a flag of `convlstm train`, `hidden_channels` is `--hidden-channels`, and `residual`
`--residual` or `--no-residual`. Presets differ from the defaults.
"""


def settings_table(flags: argparse.Namespace) -> int:
    """Print all settings."""
    print(settings_text(), end="")
    return 0


def settings_text() -> str:
    """Lay out every setting with its range, default and meaning, in Markdown."""
    owners = {f"The scene {name}": type(entry.scene) for name, entry in CATALOGUE.items()}
    owners |= {"The network": type(default_config("squares").network), "The training": TrainConfig}
    lines = ["# Settings", "", _INTRODUCTION.rstrip()]
    for title, owner in owners.items():
        lines += ["", f"## {title}", "", "| setting | range | default | what it is |"]
        lines += ["|---|---|---|---|"]
        for each in declared(owner):
            lines.append(f"| `{each.name}` | {each.kind} | {default_text(each)} | {each.note} |")
    return "\n".join(lines) + "\n"
