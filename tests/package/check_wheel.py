"""Whether an installed wheel works: run by the Python of the environment that has it.

    python tests/package/check_wheel.py

There must be nothing of the page in that environment. It is run from any folder but the checkout's.
"""

import importlib.util
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PAGE = ("gradio", "matplotlib", "PIL")


def python_blocks(text: str) -> list[str]:
    """Return every piece of Python of a Markdown text, in its order."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def main() -> None:
    sys.path = [place for place in sys.path if ROOT not in (Path(place), *Path(place).parents)]
    assert not Path.cwd().is_relative_to(ROOT), "run it outside the checkout"
    there = [name for name in _PAGE if importlib.util.find_spec(name)]
    assert not there, f"the wheel brought {there}"

    import convlstm
    from convlstm import load_checkpoint
    from convlstm.files.shipped import shipped_file

    package = Path(convlstm.__file__).parent
    assert ROOT not in package.parents, f"{package} is the checkout"
    names: dict[str, object] = {}
    for number, block in enumerate(python_blocks((ROOT / "README.md").read_text("utf-8")), 1):
        exec(compile(block, f"README.md, Python {number}", "exec"), names)
        print(f"README.md, Python {number}: runs")

    for kept in (ROOT / "checkpoints").glob("*.safetensors"):
        file = shipped_file(kept.name)
        assert package in file.parents, f"{file} is not in the package"
        load_checkpoint(file)
    shipped = str(shipped_file("moving-mnist-compact.safetensors"))
    _run("convlstm", "evaluate", shipped, "--sequences", "20", "--device", "cpu")
    tiny = "--canvas 16 --hidden-channels 1 --batch-size 1 --epochs 2 --device cpu".split()
    _run("convlstm", "train", *tiny, "--out", "run")
    assert {path.name for path in Path("run").iterdir()} == {
        "checkpoint.safetensors",
        "network.safetensors",
        "losses.csv",
    }
    _run(
        "convlstm", "benchmark", "--size", "tiny", "--repeats", "1", "--row", "plain loop, float32"
    )
    settings = _run("convlstm", "settings")
    assert settings == (ROOT / "docs" / "settings.md").read_text("utf-8")
    refused = ["predict", "run/network.safetensors", "--out", "pictures"]
    assert "playground]" in _run("convlstm", *refused, code=2)
    assert "playground]" in _run("convlstm-playground", code=2)
    exported = ["export", "run/network.safetensors", "--out", "run"]
    _run("convlstm", *exported, "--format", "pt2")
    assert "export]" in _run("convlstm", *exported, "--format", "onnx", code=2)


def _run(program: str, *flags: str, code: int = 0) -> str:
    """Run an installed program; return what it printed."""
    path = Path(sysconfig.get_path("scripts")) / program
    done = subprocess.run([path, *flags], capture_output=True, text=True, check=False)
    said = done.stdout if code == 0 else done.stderr
    assert done.returncode == code, f"{program} {flags}: {done.stdout}{done.stderr}"
    print(f"{program} {' '.join(flags)}: {'runs' if code == 0 else said.strip()}")
    return said


if __name__ == "__main__":
    main()
