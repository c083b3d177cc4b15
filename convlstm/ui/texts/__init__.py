"""Every text of the page, by language and key; the page's scripts fill in the {places}.

A key that begins with a scene's name stands in that scene for the key without it. Keys of settings,
choices, units, presets, states, baselines and rules begin with that word.
"""

from convlstm.ui.texts.chinese import CHINESE
from convlstm.ui.texts.english import ENGLISH

TEXTS: dict[str, dict[str, str]] = {"en": ENGLISH, "zh": CHINESE}
