"""ConvLSTM Playground: open the page with `python playground.py`."""

import argparse
import contextlib
import functools
import importlib.util
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from convlstm.server.child import Child
from convlstm.server.classroom import Classroom, kept_token
from convlstm.server.limits import Limits
from convlstm.server.pool import Pool
from convlstm.ui.zero_gpu import WITHOUT_GPU, lends

_START_SECONDS = 120.0  # that a worker may take to be ready


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description="Open the ConvLSTM Playground.")
    # Hugging Face Spaces say by this variable where their pages must be served.
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    parser.add_argument("--host", default=host, help="address to serve (%(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to serve (%(default)s)")
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or mps, or several GPUs, as in cuda:0,cuda:1 (%(default)s)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="compute on a Ray cluster: auto, local, host:port or ray://host:port; needs --keep",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep runs there, so that they go on after the server's end",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="open the page in a browser",
    )
    parser.add_argument(
        "--class",
        dest="serves_class",
        action="store_true",
        help="serve a class: the teacher's page has a board of all who train, and can be followed",
    )
    parser.add_argument(
        "--max-runs",
        type=int,
        default=Limits().active_runs,
        help="runs that train at once; more wait in line (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    if not 1 <= parsed.max_runs <= 1000:
        parser.error(f"--max-runs is {parsed.max_runs}: must be from 1 to 1000.")
    if not 1 <= parsed.port <= 65535:
        parser.error(f"--port is {parsed.port}: must be from 1 to 65535.")
    if parsed.ray is not None and parsed.keep is None:
        parser.error("--ray needs --keep FOLDER, a folder that all machines share.")
    if parsed.ray is not None and parsed.device not in ("auto", "cpu", "cuda"):
        parser.error(f"--device is {parsed.device}: with --ray must be auto, cpu or cuda.")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM.

    Returns:
        2 if it could not start; a stop ends the process with exit code 0.
    """
    flags = parse_arguments(arguments)
    if needs := _missing(flags.ray is not None):
        print(f"playground.py: {needs}", file=sys.stderr)
        return 2
    try:
        _check_address(flags.host, flags.port)
    except (ValueError, OSError) as error:
        print(f"playground.py: {error}", file=sys.stderr)
        return 2
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())

    with contextlib.ExitStack() as closing:
        try:
            pool = _open_pool(flags, closing)
        except (ValueError, OSError) as error:
            print(f"playground.py: {error}", file=sys.stderr)
            return 2
        _serve(flags, pool)
        while not stopped.wait(0.5):  # with a timeout, or Windows never sees the signal
            pass
    sys.stdout.flush()
    # Pages hold streams open, for which a server that shuts down politely would wait.
    os._exit(0)


def _serve(flags: argparse.Namespace, pool: Pool) -> None:
    """Serve the page, and say where."""
    from convlstm.ui.page import build_page, launch_options  # slow, while the workers start

    host = "localhost" if flags.host in ("0.0.0.0", "::") else flags.host
    url = f"http://{host}:{flags.port}"
    classroom = None
    if flags.serves_class:
        in_network = f"http://{_address_in_network()}:{flags.port}"
        classroom = Classroom(kept_token(flags.keep), url if host == flags.host else in_network)
    page = build_page(pool, classroom)
    page.launch(
        server_name=flags.host,
        server_port=flags.port,
        prevent_thread_lock=True,
        quiet=True,
        **launch_options(pool),
    )
    print(f"ConvLSTM Playground on {url}. Ctrl-C ends it.", flush=True)
    if classroom:
        url = f"{url}/?class={classroom.token}"
        print(f"Students open {classroom.address}")
        print(f"The teacher, and nobody else, opens {url}", flush=True)
        if flags.host in ("127.0.0.1", "localhost", "::1"):
            print("Only this machine is let in: --host 0.0.0.0 serves its network.", flush=True)
    if flags.open:
        webbrowser.open(url)


def _local_start() -> Callable[[], Child]:
    """Return what starts a worker here; where GPUs are lent to visitors, none of them has one."""
    return functools.partial(Child, WITHOUT_GPU) if lends() else Child


def _open_pool(flags: argparse.Namespace, closing: contextlib.ExitStack) -> Pool:
    """Start the workers.

    Args:
        flags: say where.
        closing: gets what ends them.

    Raises:
        ValueError: there is no such device or no such cluster.
        OSError: nothing can be written, or something does not answer.
    """
    devices, may_refuse = flags.device.split(","), flags.device not in ("auto", "cpu")
    start = _local_start()
    if flags.ray is not None:
        from convlstm.server.cluster import Cluster

        flags.keep = flags.keep.absolute()  # as other machines see it
        cluster = Cluster(flags.ray, flags.device, flags.keep)
        closing.callback(cluster.close)
        devices, start, may_refuse = cluster.devices, cluster.start, True
    try:
        pool = Pool(devices, Limits(active_runs=flags.max_runs), flags.keep, start)
    except OSError as error:
        where = flags.keep or "the folder for temporary files"
        raise OSError(f"nothing can be written to {where}: {error}.") from None
    closing.callback(pool.close)
    if may_refuse:  # and then nothing is served
        pool.wait_ready(_START_SECONDS)
    return pool


def _missing(with_ray: bool) -> str:
    """Return how to install what is not there, or nothing."""
    if importlib.util.find_spec("gradio") is None:
        return 'the page needs Gradio: pip install "convlstm-playground[playground]".'
    if with_ray and importlib.util.find_spec("ray") is None:
        return '--ray needs Ray: pip install "convlstm-playground[cluster]".'
    return ""


def _check_address(host: str, port: int) -> None:
    """Try the address before anything slow is loaded.

    Raises:
        OSError: with a message that says what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or error
        message = f"cannot serve {host}:{port} ({reason}): try another --port or --host."
        raise OSError(message) from None


def _address_in_network() -> str:
    """Return this machine's own address, or its name for itself where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of nobody (RFC 5737); and nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "localhost"


@functools.cache
def _demo() -> object:
    from convlstm.ui.page import build_page

    return build_page(Pool(start=_local_start()))


def __getattr__(name: str) -> object:
    """Make `demo` for `gradio playground.py` and Hugging Face Spaces, which look for that name."""
    if name == "demo":
        return _demo()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main())
