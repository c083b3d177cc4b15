"""A run's network as ONNX, made by the command line in a process of its own.

Not in a worker: while torch looks at a program, it tells all of a process that it does, and what
trains there would compute in another way. The process gives way to every other one.
"""

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from convlstm.checks import SettingError
from convlstm.files.export import missing_for_onnx
from convlstm.server.notices import Reply

MAX_MIB = 64  # of weights; with them the process takes some 2 GiB
_SECONDS = 300.0  # that a file may take
_MOST_WAITING = 8  # files asked for and not made; further ones are refused
_NICENESS = 19
_ROOT = Path(__file__).parents[2]  # whence the package is imported


class Exporter:
    """Makes files of networks, one at a time."""

    def __init__(self) -> None:
        self._free, self._waiting = asyncio.Lock(), 0

    async def onnx(self, network: bytes) -> tuple[str, bytes] | Reply:
        """Make a zip of a network's forecast and step, and of what is said of them.

        Args:
            network: the content of its checkpoint file.

        Returns:
            The zip's name and content, or a notice.

        Raises:
            SettingError: the network is too large.
        """
        if len(network) > MAX_MIB * 2**20:
            size = f"{len(network) / 2**20:.0f} MiB"
            raise SettingError("weights", size, "in onnx", high=MAX_MIB)
        if missing_for_onnx():
            return {"notice": {"key": "no onnx"}}
        if self._waiting >= _MOST_WAITING:
            return {"notice": {"key": "busy"}}
        self._waiting += 1
        try:
            async with self._free:
                with tempfile.TemporaryDirectory(prefix="convlstm-") as folder:
                    return await _made(Path(folder), network)
        finally:
            self._waiting -= 1


async def _made(folder: Path, network: bytes) -> tuple[str, bytes] | Reply:
    (folder / "network.safetensors").write_bytes(network)
    path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "convlstm", "export", "network.safetensors", "--format", "onnx"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,  # this process's own may be a worker's line
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with contextlib.suppress(OSError, AttributeError):  # gone already, or no such thing there
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        about, errors = await asyncio.wait_for(process.communicate(), _SECONDS)
    except asyncio.TimeoutError:
        return {"notice": {"key": "onnx slow"}}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        raise RuntimeError(errors.decode(errors="replace"))
    return "convlstm-onnx.zip", _zipped(folder, about)


def _zipped(folder: Path, about: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.glob("*.onnx")):
            archive.writestr(path.name.removeprefix("network-"), path.read_bytes())
        archive.writestr("about.txt", about)
    return buffer.getvalue()
