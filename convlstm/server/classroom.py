"""A class: who is in it, whose training all of them look at, and who may say so.

A plain object of the page's process, which computes nothing and asks no worker. A student is a
browser whose page has named a run that there is. Runs' ids never leave: whoever has one may steer
that run. Whatever arrives here may be anything that JSON can say.
"""

import contextlib
import itertools
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from convlstm.checks import SettingError
from convlstm.server.notices import Reply, refusal

_MOST_STUDENTS = 200
_MOST_RUNS = 8  # of one student, and of the teacher: one for each scene, and some that were lost
_MOST_LETTERS = 24
_MARKUP = set("<>&")
_AWAY_SECONDS = 10.0  # without a look at a student's runs: their page is closed
_FORGOTTEN_SECONDS = 1800.0  # after which a student who has left is no longer on the board
_TEACHER_SECONDS = 300.0  # without a sign of the teacher's page "follow me" ends; a browser slows
# the clocks of a page in the background down to one tick a minute
_NOT_THE_TEACHER: Reply = {"notice": {"key": "not the teacher"}}


@dataclass
class Student:
    """One browser of the class.

    Attributes:
        id: unguessable; only that browser knows it.
        number: in the order of arrival, from 1.
        name: as the student gave it, or empty.
        runs: ids of the runs of the student's pages, the one on show last.
        seen_at: when one of them was last looked at, s of the class's clock; None before.
    """

    id: str
    number: int
    name: str = ""
    runs: dict[str, None] = field(default_factory=dict)
    seen_at: float | None = None

    @property
    def run(self) -> str:
        """The run that the student's page shows."""
        return next(reversed(self.runs))


class Classroom:
    """One class.

    Args:
        token: whoever has it is the teacher.
        address: where students find the page, or empty where nobody knows.
        clock: tells the time, s.
    """

    def __init__(
        self,
        token: str | None = None,
        address: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = token or secrets.token_urlsafe(16)
        self.address = address
        self._clock = clock
        self._students: dict[str, Student] = {}
        self._owners: dict[str, Student] = {}  # by run
        self._numbers = itertools.count(1)
        self._teachers: dict[str, None] = {}  # the teacher's runs, the one on show last
        self._is_followed = False
        self._teacher_at = clock()

    def is_teacher(self, token: object) -> bool:
        """Whether this is the teacher's token."""
        given = token.encode("utf-8", "surrogatepass") if isinstance(token, str) else b""
        return secrets.compare_digest(given, self.token.encode())

    def join(self, student: object, name: object, run: str) -> Reply:
        """Take a student in, or hear which run their page shows now.

        Args:
            student: the id that the browser remembers, or anything for somebody new.
            name: what the student wants to be called, empty for nothing; None to leave it.
            run: a run that there is.

        Returns:
            student (the id to remember), number and name; nothing for the teacher's own run; a
            notice where the name is refused, and then nothing has changed, or the class is full.
        """
        if run in self._teachers:
            return {}
        try:
            name = None if name is None else check_name(name)
        except SettingError as error:
            return {"notice": refusal(error)}
        found = self._students.get(student) if isinstance(student, str) else None
        found = found or self._owners.get(run) or self._take_in()  # who has a run may speak for it
        if found is None:
            return {"notice": {"key": "class full"}}
        found.name = found.name if name is None else name
        self._give(found, run)
        return {"student": found.id, "number": found.number, "name": found.name}

    def teach(self, token: object, run: str | None, on: object) -> Reply:
        """Hear from the teacher's page.

        Args:
            token: the teacher's.
            run: that it shows, or None where that is as before.
            on: whether "follow me" is on; None to leave it.

        Returns:
            following: whether students' pages show the teacher's training; or a notice.
        """
        if not self.is_teacher(token):
            return _NOT_THE_TEACHER
        if not (on is None or isinstance(on, bool)):
            return {"notice": refusal(SettingError("on", on, "flag"))}
        if run is not None:
            self._take_away(run)
            self._teachers.pop(run, None)
            self._teachers[run] = None
            while len(self._teachers) > _MOST_RUNS:
                del self._teachers[next(iter(self._teachers))]
        self._is_followed = self.followed is not None if on is None else on
        self._teacher_at = self._clock()
        return {"following": self.followed is not None}

    @property
    def followed(self) -> str | None:
        """The teacher's run, where students' pages show it."""
        is_here = self._clock() - self._teacher_at <= _TEACHER_SECONDS
        shown = next(reversed(self._teachers), None)
        return shown if self._is_followed and is_here else None

    def shown_to(self, run: str) -> str:
        """Return the run that whoever looks at a run is to see, and note the look."""
        student = self._owners.get(run)
        if student is None:
            return run
        student.seen_at = self._clock()
        return self.followed or run

    def students(self) -> list[Student]:
        """Return who is in the class, in the order of arrival; who has left long ago is none."""
        now = self._clock()
        for student in list(self._students.values()):
            if student.seen_at is not None and now - student.seen_at > _FORGOTTEN_SECONDS:
                self._forget(student)
        return [each for each in self._students.values() if each.seen_at is not None]

    def is_here(self, student: Student) -> bool:
        """Whether a student's page is open."""
        return student.seen_at is not None and self._clock() - student.seen_at <= _AWAY_SECONDS

    def _take_in(self) -> Student | None:
        """Make a student; None where the class is full of those who are here."""
        if len(self._students) >= _MOST_STUDENTS:
            gone = [each for each in self._students.values() if not self.is_here(each)]
            if not gone:
                return None
            self._forget(min(gone, key=lambda each: each.seen_at or 0.0))
        student = Student(secrets.token_urlsafe(16), next(self._numbers))
        self._students[student.id] = student
        return student

    def _give(self, student: Student, run: str) -> None:
        """Make a run the one that a student's page shows; nobody else's any more."""
        if self._owners.get(run) is student:
            del student.runs[run]
        else:
            self._take_away(run)
        student.runs[run] = None
        self._owners[run] = student
        while len(student.runs) > _MOST_RUNS:
            self._take_away(next(iter(student.runs)))

    def _take_away(self, run: str) -> None:
        student = self._owners.pop(run, None)
        if student:
            del student.runs[run]
            if not student.runs:
                self._forget(student)

    def _forget(self, student: Student) -> None:
        self._students.pop(student.id, None)
        for run in student.runs:
            del self._owners[run]


def check_name(name: object) -> str:
    """Return a student's name, composed and without spaces around it.

    Raises:
        SettingError: it is none, too long, or holds markup or what cannot be seen.
    """
    text = unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else None
    if text is None or len(text) > _MOST_LETTERS or not text.isprintable() or _MARKUP & set(text):
        raise SettingError("student", name, "name", high=_MOST_LETTERS)
    return text


def kept_token(folder: Path | None) -> str:
    """Return the teacher's token that a folder keeps, or a new one, kept there where it can be."""
    new = secrets.token_urlsafe(16)
    if folder is None:
        return new
    path = folder / "class-token"
    with contextlib.suppress(OSError, ValueError):
        found = path.read_text("ascii").strip()
        if re.fullmatch(r"[A-Za-z0-9_-]{16,64}", found):
            return found
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new)
    return new
