"""What a viewer changes inside a network: plain values, checked, into interventions.

A change is `{"part", "cell", "channel", "how", "other", "start", "stop"}`: how is "off", "hold" or
"swap"; channel is null for all; start and stop are moments, null for always. A transplant is
`{"transplant": sample, "moment"}`: after that moment the network goes on with what it would
remember of another sequence.
"""

from collections.abc import Callable, Mapping

from convlstm.checks import SettingError, check_choice, check_integer, check_names
from convlstm.layer.tracing import PARTS, Intervention
from convlstm.networks.inside import Inside, time_of
from convlstm.networks.network import Network

MOST_CHANGES = 32
_HOWS = ("off", "hold", "swap")
_CHANGE = ("part", "cell", "channel", "how", "other", "start", "stop")
_TRANSPLANT = ("transplant", "moment")


def interventions_of(
    changes: object,
    network: Network,
    context_frames: int,
    horizon: int,
    samples: int,
    of_sample: Callable[[int], Inside],
) -> list[Intervention]:
    """Make interventions of what arrived from a page.

    Args:
        changes: a list of changes and transplants; None for nothing.
        network: in which.
        context_frames: of the sequence shown.
        horizon: likewise.
        samples: how many sequences there are to transplant from.
        of_sample: looks inside while another of them is continued.

    Raises:
        SettingError: a value breaks a rule.
    """
    given = [] if changes is None else changes
    if not isinstance(given, list) or len(given) > MOST_CHANGES:
        raise SettingError("experiment", changes, "experiment", high=MOST_CHANGES)
    readers, made = network.readers(), []
    widths = [cell.hidden_channels for cell in network.cells()]
    first = 1 - context_frames

    def moment(change: Mapping, name: str, low: int = first) -> int | None:
        value = change.get(name)
        return None if value is None else check_integer(name, value, low, horizon + 1)

    for change in given:
        if isinstance(change, Mapping) and "transplant" in change:
            check_names(change, _TRANSPLANT)
            if len(given) > 1:  # each would be a forecast more
                raise SettingError("transplant", change["transplant"], "alone")
            sample = check_integer("transplant", change["transplant"], 0, samples - 1)
            made += _transplanted(of_sample(sample), moment(change, "moment") or 0)
            continue
        check_names(change, _CHANGE)
        cell = check_integer("cell", change.get("cell", 0), 0, len(readers) - 1)
        how = check_choice("how", change.get("how"), _HOWS)
        channel, other = (
            None
            if change.get(name) is None and how != "swap"
            else check_integer(name, change.get(name), 0, widths[cell] - 1)
            for name in ("channel", "other")
        )
        begins = moment(change, "start")
        ends = moment(change, "stop", first if begins is None else min(begins, horizon) + 1)
        start, stop = (
            None if at is None else max(0, time_of(readers[cell], at, context_frames))
            for at in (begins, ends)
        )
        start, part = start or 0, check_choice("part", change.get("part"), PARTS)
        if stop is not None and stop <= start:  # over before the cell reads anything
            continue
        how = "set" if how == "off" else how
        made.append(Intervention(part, cell, channel, how, 0.0, other, start, stop))
    return made


def donor_of(changes: list[dict[str, object]]) -> tuple[int, int] | None:
    """Return from which sequence, and after which moment, a checked experiment transplants."""
    if len(changes) != 1 or "transplant" not in changes[0]:
        return None
    return int(changes[0]["transplant"]), int(changes[0].get("moment") or 0)


def _transplanted(other: Inside, moment: int) -> list[Intervention]:
    """Give every cell what it would have kept of another sequence after a moment."""
    made = []
    for cell, traced in enumerate(other.cells):
        time = other.time(cell, moment)
        if time is None:
            continue
        kept = dict(zip("hc", traced.states[time + 1], strict=True))
        for part in ("c", "h"):  # in the order in which a cell computes them
            made.append(Intervention(part, cell, value=kept[part], start=time, stop=time + 1))
    return made
