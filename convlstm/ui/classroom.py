"""What the pages of a class ask; there is none of it without one."""

from collections.abc import Callable

from convlstm.server.board import Board
from convlstm.server.classroom import Classroom
from convlstm.server.pool import Pool, Reply


def class_functions(pool: Pool, classroom: Classroom) -> list[Callable]:
    """Return what the scripts of a class's pages call, each with one object as its argument."""
    board_of = Board(classroom, pool.seen)
    presets: Reply = {}

    async def join(payload: object) -> Reply:
        given = _fields(payload)
        if not pool.has(given.get("run")):
            return {"notice": {"key": "lost"}}
        return classroom.join(given.get("student"), given.get("name"), given["run"])

    async def teach(payload: object) -> Reply:
        given = _fields(payload)
        run = given.get("run")
        return classroom.teach(given.get("token"), run if pool.has(run) else None, given.get("on"))

    async def board(payload: object) -> Reply:
        reply = classroom.teach(_fields(payload).get("token"), None, None)
        if "notice" in reply:
            return reply
        if not presets:
            scenes = await pool.ask("scenes")
            if "notice" in scenes:
                return scenes
            presets.update({name: scene["presets"] for name, scene in scenes.items()})
        return {**reply, "address": classroom.address, "rows": board_of.rows(presets)}

    return [join, teach, board]


def _fields(payload: object) -> dict[str, object]:
    return payload if isinstance(payload, dict) else {}
