"""Files: checkpoints of every version, pictures, and a run as a script."""

from convlstm.files.checkpoint import load_checkpoint, resume, save_checkpoint
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError

__all__ = ["CheckpointError", "load_checkpoint", "read_checkpoint", "resume", "save_checkpoint"]
