"""Scenes: what moves, and the rule by which sequences of it come about."""

from convlstm.scenes.digits import Digits
from convlstm.scenes.scene import Clip, Scene
from convlstm.scenes.squares import Squares

__all__ = ["Clip", "Digits", "Scene", "Squares"]
