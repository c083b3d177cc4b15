import itertools
import json
import urllib.error
import urllib.request

import pytest

from tests.browser.conftest import ROOT, SCENES
from tests.browser.steps import settings, small, snapshot, wait_for

TINY = {
    "canvas": 16,
    "square_size": 3,
    "hidden_channels": 2,
    "kernel_size": 3,
    "batch_size": 2,
    "epochs": 30,
}


FUNCTIONS = ("attach", "describe", "act", "look", "draw", "open_checkpoint", "download")
FUNCTIONS += ("study", "stop_study", "pin", "unpin", "pins", "compare")


def everything(value: str) -> str:
    """Return an object in which every field of every function has the same value."""
    fields = "run query scene settings action sample drawing angle path kind speed options number"
    return "{" + ", ".join(f'"{field}": {value}' for field in fields.split()) + "}"


def post(server, path: str, payload: bytes) -> tuple[int, str]:
    request = urllib.request.Request(
        server.url + path, payload, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_client_trains_a_run_and_watches_it_end(client):
    run = client.predict(api_name="/open_run")["run"]
    assert client.predict("train", run, TINY, api_name="/act")["state"] in ("waiting", "training")
    ended = wait_for(client, run, lambda value: value["state"] == "finished")
    assert ended["step"] == 30
    assert ended["scores"]["model"]["error"] < 1


@pytest.mark.parametrize("scene", SCENES)
def test_a_client_trains_in_every_scene(client, scene):
    opened = client.predict({}, scene, api_name="/open_run")
    assert opened["scene"] == scene and opened["notice"] is None
    run, own = opened["run"], settings(small(scene, epochs=3))
    described = client.predict(own, scene, api_name="/describe")
    assert described["seconds"] > 0 and f"scene={scene}" in f"scene=squares&{described['link']}"
    client.predict("train", run, own, api_name="/act")
    ended = wait_for(client, run, lambda value: value["state"] == "finished" and value["picture"])
    assert (ended["scene"], ended["step"], ended["shipped"]) == (scene, 3, False)
    assert set(ended["scores"]["baselines"]) == set(ended["stage"]["baselines"])
    assert len(ended["picture"]["scores"]) == ended["picture"]["horizon"]


def test_a_client_looks_at_another_sample_and_draws_and_is_refused_in_one_sentence(client):
    run = client.predict({}, "digits", api_name="/open_run")["run"]
    assert client.predict(run, 3, api_name="/look") == {}
    shown = wait_for(client, run, lambda value: (value["picture"] or {}).get("sample") == 3)
    assert len(shown["picture"]["scores"]) == 10
    reply = client.predict(run, [0, 1], 30, api_name="/draw")
    assert reply["notice"]["text"].startswith("drawing is ")
    reply = client.predict(run, 20, api_name="/look")
    assert reply["notice"]["text"] == "sample is 20: must be a whole number from 0 to 19."


def test_a_client_cannot_draw_where_there_are_no_digits(client):
    run = client.predict({}, "storm", api_name="/open_run")["run"]
    reply = client.predict(run, [255] * 56 * 56, 30, api_name="/draw")
    assert reply["notice"]["key"] == "refused"


def test_a_client_is_told_what_is_wrong_with_a_setting(client):
    run = client.predict(api_name="/open_run")["run"]
    reply = client.predict("train", run, {"speed": 99}, api_name="/act")
    assert reply["notice"]["text"] == "speed is 99: must be a whole number from 0 to 8."
    assert snapshot(client, run)["state"] == "finished"  # as the shipped run was


@pytest.mark.parametrize(
    "value", ["NaN", "null", "[]", "{}", "1e308", "-1", '"x"', "[[1]]", "Infinity", "true"]
)
def test_rubbish_over_http_starts_nothing_and_breaks_nothing(server, client, value):
    run = client.predict(api_name="/open_run")["run"]
    for endpoint, arguments in (
        ("act", f'["train", "{run}", {{"speed": {value}, "canvas": {value}}}]'),
        ("act", f'["train", "{run}", {value}]' if value != "{}" else "[]"),
        ("act", f'[{value}, "{run}", {{}}]'),
        ("act", f'["train", {value}, {{}}]'),
        ("act", value),
        ("look", f'["{run}", {value}]'),
        ("look", f'["{run}", 0, {value}]'),
        ("study", f'["{run}", {value}, {value}]'),
        ("stop_study", f"[{value}]"),
        ("draw", f'["{run}", {value}, {value}]'),
        ("describe", f"[{value}]"),
        ("describe", f"[{{}}, {value}]"),
        ("open_run", f"[{value}]"),
        ("open_run", f"[{{}}, {value}]"),
        ("watch", f"[{value}]"),
    ):
        post(server, f"/gradio_api/run/{endpoint}", f'{{"data": {arguments}}}'.encode())
        post(server, f"/gradio_api/call/{endpoint}", f'{{"data": {arguments}}}'.encode())
    config = json.loads(urllib.request.urlopen(server.url + "/config").read())
    page = next(c["id"] for c in config["components"] if c["type"] == "html")
    for name in (*FUNCTIONS, "launch"):
        for data in (value, everything(value)):
            body = {"session_hash": "s", "component_id": page, "fn_name": name}
            text = json.dumps(body)[:-1] + f', "data": {data}}}'
            post(server, "/gradio_api/component_server", text.encode())
    now = snapshot(client, run)
    assert now["state"] == "finished" and now["shipped"]


def fetch(url: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.headers.get_content_type(), response.read()
    except urllib.error.HTTPError as error:
        return error.code, "", b""


WEB = f"{ROOT.as_posix()}/convlstm/ui/web"


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/runs",
        "/gradio_api/file=requirements.txt",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/file=playground.py",
        f"/gradio_api/file={ROOT.as_posix()}/playground.py",
        f"/gradio_api/file={ROOT.as_posix()}/pyproject.toml",
        f"/gradio_api/file={ROOT.as_posix()}/checkpoints/quick-start.safetensors",
        f"/gradio_api/file={ROOT.as_posix()}/convlstm/ui/page.py",
        f"/gradio_api/file={ROOT.as_posix()}/convlstm/ui/texts/english.py",
        f"/gradio_api/file={ROOT.as_posix()}/convlstm/ui/",
        f"/gradio_api/file={ROOT.as_posix()}/.git/config",
        f"/gradio_api/file={WEB}",
        f"/gradio_api/file={WEB}/",
        f"/gradio_api/file={WEB}/../page.py",
        f"/gradio_api/file={WEB}/%2e%2e/page.py",
        f"/gradio_api/file={WEB}/..%2fpage.py",
        f"/gradio_api/file={WEB}/../web/../../../playground.py",
        f"/gradio_api/file={WEB}/no-such-module.js",
        f"/file={WEB}/../page.py",
    ],
)
def test_nothing_is_served_but_the_page(server, path):
    assert fetch(server.url + path)[0] in (403, 404)


def test_a_script_tests_a_network_s_speeds(client):
    run = client.predict({}, "squares", api_name="/open_run")["run"]
    assert client.predict(run, "speed", {"sequences": 1}, api_name="/study") == {}
    found = wait_for(client, run, lambda value: (value["study"] or {}).get("state") == "done")
    assert found["study"]["result"]["speeds"] == list(range(9))
    assert client.predict(run, 2, 5, api_name="/look") == {}
    wait_for(client, run, lambda value: value["picture"] and value["picture"]["speed"] == 5)
    assert client.predict(run, api_name="/stop_study") == {}  # there is nothing to stop
    refused = client.predict(run, "speed", {"sequences": 0}, api_name="/study")
    assert refused["notice"]["name"] == "sequences"


SCRIPTS = ("text/javascript", "application/javascript")  # a browser runs no module of another type


def test_the_modules_of_the_page_are_served_as_scripts(server):
    modules = sorted((ROOT / "convlstm" / "ui" / "web").glob("*.js"))
    assert modules
    for module in modules:
        status, kind, content = fetch(f"{server.url}/gradio_api/file={module.as_posix()}")
        assert status == 200 and kind in SCRIPTS, module.name
        assert content == module.read_bytes()


@pytest.mark.parametrize("path", ["/etc/passwd", "requirements.txt", "/tmp", "", "\u0000"])
def test_only_an_uploaded_file_can_be_opened_as_a_checkpoint(server, client, path):
    run = client.predict(api_name="/open_run")["run"]
    config = json.loads(urllib.request.urlopen(server.url + "/config").read())
    page = next(c["id"] for c in config["components"] if c["type"] == "html")
    payload = {
        "session_hash": "s",
        "component_id": page,
        "fn_name": "open_checkpoint",
        "data": {"run": run, "path": path},
    }
    _, text = post(server, "/gradio_api/component_server", json.dumps(payload).encode())
    assert json.loads(text)["notice"]["key"] == "too large"


def test_a_stream_that_nobody_reads_ends(server, client):
    run = client.predict(api_name="/open_run")["run"]
    long = {"epochs": 20_000, "evaluate_every": 1000}
    assert client.predict("train", run, long, api_name="/act")["state"] in ("waiting", "training")
    wait_for(client, run, lambda value: value["step"] > 3)
    status, begun = post(server, "/gradio_api/call/watch", json.dumps({"data": [run]}).encode())
    assert status == 200
    # Meanwhile a stream that is read goes on.
    beats = itertools.count()
    wait_for(client, run, lambda value: next(beats) == 59)
    address = f"{server.url}/gradio_api/call/watch/{json.loads(begun)['event_id']}"
    with urllib.request.urlopen(address, timeout=30) as response:
        kinds = [line for line in response if line.startswith(b"event:")]  # to its end
    assert kinds.count(b"event: generating\n") <= 8
    assert kinds[-1] == b"event: complete\n"
    assert client.predict("stop", run, api_name="/act")["state"] == "stopped"
