"""What the pages of a class ask over HTTP: nothing without one, and no way around its rules."""

import asyncio
import json
from collections.abc import Callable, Iterator

import gradio
import pytest
from gradio.routes import App
from starlette.testclient import TestClient

from convlstm.server.classroom import Classroom
from convlstm.server.pool import Pool
from convlstm.ui.page import build_page
from convlstm.ui.stream import Streams

DEADLINE = 120
RUBBISH = [None, 3, True, 1e308, "", "x", "\ud800", "x" * 10_000, [], {}, ["x"], {"a": {"b": 1}}]


class Server:
    """A page over HTTP, without a port."""

    def __init__(self, pool: Pool, classroom: Classroom | None) -> None:
        self.pool, self.classroom = pool, classroom

        async def build() -> tuple[gradio.Blocks, App]:
            page = build_page(pool, classroom)
            return page, App.create_app(page)

        page, app = asyncio.run(build())  # where no loop runs, Gradio makes some and closes none
        (self.component,) = (b for b in page.blocks.values() if isinstance(b, gradio.HTML))
        self.client = TestClient(app, raise_server_exceptions=False)

    def post(self, function: str, data: object) -> tuple[int, object]:
        body = {
            "session_hash": "s",
            "component_id": self.component._id,
            "fn_name": function,
            "data": data,
        }
        # Escaped, or what is no text could not be sent.
        content, form = json.dumps(body), {"content-type": "application/json"}
        reply = self.client.post("/gradio_api/component_server", content=content, headers=form)
        return reply.status_code, reply.json()

    def ask(self, function: str, **data: object) -> dict:
        status, reply = self.post(function, data)
        assert status == 200
        return reply

    def opened(self, scene: str = "squares") -> str:
        return self.ask("attach", scene=scene)["run"]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(("cpu",))
    yield pool
    pool.close()


@pytest.fixture
def serve(pool) -> Iterator[Callable[..., Server]]:
    made = []

    def make(classroom: Classroom | None = None) -> Server:
        made.append(Server(pool, classroom))
        return made[-1]

    yield make
    for server in made:
        server.client.close()


def look(streams: Streams, run: str, wanted: Callable[[dict], object]) -> dict:
    """Return the first snapshot of a stream that is as wanted."""

    async def first() -> dict:
        stream = streams.watch(run)
        async for snapshot in stream:
            if wanted(snapshot):
                await stream.aclose()
                return snapshot
        raise AssertionError("the stream has ended")

    return asyncio.run(asyncio.wait_for(first(), DEADLINE))


def test_without_a_class_there_is_nothing_of_one(serve):
    server = serve()
    fixed = json.loads(server.component.props["fixed"])
    assert "classroom" not in fixed and ".board" not in fixed["style"]
    for function in ("join", "teach", "board"):
        assert server.post(function, {"token": "secret", "run": server.opened()})[0] >= 400


def test_the_board_is_the_teacher_s_alone_and_holds_no_run_s_id(serve):
    classroom = Classroom("secret", "http://here:1")
    server = serve(classroom)
    run = server.opened()
    joined = server.ask("join", run=run, name="Ada")
    assert joined["number"] == 1
    look(Streams(server.pool, classroom), run, lambda snapshot: snapshot["picture"])
    board = server.ask("board", token="secret")
    assert (board["following"], board["address"]) == (False, "http://here:1")
    (row,) = board["rows"]
    assert (row["name"], row["here"], row["scene"], row["state"]) == (
        "Ada",
        True,
        "squares",
        "shipped",
    )
    text = json.dumps(board)
    assert run not in text and joined["student"] not in text and "sprites" not in text
    for token in RUBBISH:
        assert server.ask("board", token=token) == {"notice": {"key": "not the teacher"}}
        assert server.ask("teach", token=token, on=True) == {"notice": {"key": "not the teacher"}}


def test_students_see_the_teacher_s_run_under_their_own_s_name(serve):
    classroom = Classroom("secret")
    server = serve(classroom)
    streams = Streams(server.pool, classroom)
    mine, theirs, stranger = server.opened(), server.opened("storm"), server.opened()
    server.ask("join", run=mine)
    assert server.ask("teach", token="secret", run=theirs, on=True) == {"following": True}
    followed = look(streams, mine, lambda snapshot: snapshot["picture"])
    assert (followed["run"], followed["scene"], followed["teacher"]) == (mine, "storm", True)
    assert theirs not in json.dumps(followed)
    assert look(streams, stranger, lambda snapshot: True)["teacher"] is False
    assert look(streams, theirs, lambda snapshot: True)["run"] == theirs
    # One value is made for all who follow.
    assert followed["picture"] is look(streams, mine, lambda snapshot: True)["picture"]
    server.ask("teach", token="secret", on=False)
    assert look(streams, mine, lambda snapshot: True)["scene"] == "squares"


def test_a_run_that_is_followed_over_goes_on_and_is_told_but_not_drawn(serve):
    classroom = Classroom("secret")
    server = serve(classroom)
    streams = Streams(server.pool, classroom)
    mine, theirs = server.opened(), server.opened()
    server.ask("join", run=mine)
    server.ask("teach", token="secret", run=theirs, on=True)
    settings = server.ask("scenes")["squares"]["presets"]["quick"] | {"epochs": 20_000}
    server.ask("act", action="train", run=mine, settings=settings)
    since: dict[str, int] = {}  # the step at which each picture was first seen

    def rests(_: dict) -> bool:
        """Whether a picture stays while the run goes on: those of its first seconds are drawn."""
        if seen := server.pool.seen(mine):
            sprites = (seen["picture"] or {}).get("sprites", "")
            return seen["step"] - since.setdefault(sprites, seen["step"]) >= 100
        return False

    look(streams, mine, rests)
    server.ask("act", action="stop", run=mine)


@pytest.mark.parametrize("function", ["join", "teach", "board"])
def test_whatever_arrives_is_refused_in_one_sentence(serve, function):
    server = serve(Classroom("secret"))
    run = server.opened()
    for value in RUBBISH:
        given = {"run": value, "student": value, "name": value, "token": "secret", "on": value}
        for data in (value, given, given | {"run": run}):
            status, reply = server.post(function, data)
            assert status == 200 and isinstance(reply, dict), data
    assert server.ask("join", run="of nobody") == {"notice": {"key": "lost"}}
    assert server.ask("join", run=server.opened(), name="Ada")["name"] == "Ada"
