"""What counts as a frame at the wall."""

import torch

from convlstm.scenes.squares import Squares
from convlstm.training.at_wall import sequences_at_wall, teleports


def test_a_square_teleports_in_the_frame_in_which_its_corner_jumps():
    frames = torch.zeros(1, 4, 1, 16, 16)
    for time, column in enumerate((9, 11, 1, 3)):
        frames[0, time, 0, 4:8, column : column + 4] = 1
    assert teleports(frames).tolist() == [[False, False, True, False]]


def test_sequences_at_the_wall_are_the_same_ones_whatever_the_walls_do():
    wrapped, bounced = (
        sequences_at_wall(Squares(canvas=32, walls=walls), 9) for walls in ("wrap", "bounce")
    )
    assert len(wrapped) == len(bounced) == 40
    assert torch.equal(wrapped[:, 0], bounced[:, 0])
    assert teleports(wrapped)[:, -1].all()
    assert not teleports(bounced)[:, -1].any()
