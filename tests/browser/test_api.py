import json
import urllib.error
import urllib.request

import pytest
from gradio_client import Client

TINY = {
    "canvas": 16,
    "square_size": 3,
    "hidden_channels": 2,
    "kernel_size": 3,
    "batch_size": 2,
    "epochs": 30,
}


@pytest.fixture(scope="module")
def client(server):
    client = Client(server.url, verbose=False)
    yield client
    client.close()


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
    for snapshot in client.submit(run, api_name="/watch"):
        if snapshot["state"] == "finished":
            break
    assert snapshot["step"] == 30
    assert snapshot["scores"]["model"]["mse"] < 1


def test_a_client_is_told_what_is_wrong_with_a_setting(client):
    run = client.predict(api_name="/open_run")["run"]
    reply = client.predict("train", run, {"speed": 99}, api_name="/act")
    assert reply["notice"]["text"] == "speed is 99: must be a whole number from 1 to 8."
    assert reply["state"] == "finished"  # as the shipped run was


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
        ("look", f'["{run}", {value}, 99]'),
        ("describe", f"[{value}]"),
        ("open_run", f"[{value}]"),
        ("watch", f"[{value}]"),
    ):
        post(server, f"/gradio_api/run/{endpoint}", f'{{"data": {arguments}}}'.encode())
        post(server, f"/gradio_api/call/{endpoint}", f'{{"data": {arguments}}}'.encode())
    config = json.loads(urllib.request.urlopen(server.url + "/config").read())
    page = next(c["id"] for c in config["components"] if c["type"] == "html")
    for name in ("attach", "describe", "act", "look", "open_checkpoint", "download", "launch"):
        for data in (value, f'{{"run": {value}, "settings": {value}, "path": {value}}}'):
            body = {"session_hash": "s", "component_id": page, "fn_name": name}
            text = json.dumps(body)[:-1] + f', "data": {data}}}'
            post(server, "/gradio_api/component_server", text.encode())
    for snapshot in client.submit(run, api_name="/watch"):
        assert snapshot["state"] == "finished" and snapshot["shipped"]
        break


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/runs",
        "/gradio_api/file=requirements.txt",
        "/gradio_api/file=../../../../etc/passwd",
        "/file=playground.py",
    ],
)
def test_nothing_is_served_but_the_page(server, path):
    try:
        with urllib.request.urlopen(server.url + path, timeout=10) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    assert status in (403, 404)


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
