"""What a request comes back with when something was refused; the page words it."""

from convlstm.checks import SettingError, shown

Reply = dict[str, object]


def refusal(error: SettingError) -> Reply:
    """Return a refused value as a notice."""
    return {
        "key": "refused",
        "name": error.name,
        "value": shown(error.value),
        "rule": error.rule,
        "details": error.details,
        "text": str(error),
    }
