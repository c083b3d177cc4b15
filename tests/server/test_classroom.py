"""A class as a plain object: who is in it, whom they follow, and what is refused."""

import pytest

from convlstm.server.classroom import Classroom, kept_token

RUBBISH = [3, 1e308, True, [], {}, ["x"], {"a": 1}, "\ud800", "x" * 100_000, "\0"]
MINUTE = 60.0


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def classroom(clock) -> Classroom:
    return Classroom("secret", clock=clock)


def joined(classroom: Classroom, run: str, name: str | None = None) -> str:
    """Let a student in whose page looks at a run; returns their id."""
    student = classroom.join(None, name, run)["student"]
    classroom.shown_to(run)
    return student


def names(classroom: Classroom) -> list[str]:
    return [each.name or f"Student {each.number}" for each in classroom.students()]


def test_students_are_numbered_as_they_come_and_named_as_they_say(classroom):
    first, second = joined(classroom, "a"), joined(classroom, "b", " Ada ")
    assert names(classroom) == ["Student 1", "Ada"]
    assert classroom.join(first, "李娜", "a") == {"student": first, "number": 1, "name": "李娜"}
    assert classroom.join(second, None, "b")["name"] == "Ada"  # as before
    assert classroom.join(second, "", "b")["name"] == ""
    assert names(classroom) == ["李娜", "Student 2"]


def test_who_has_not_been_seen_to_look_is_on_no_board(classroom):
    classroom.join(None, None, "a")
    assert classroom.students() == []


@pytest.mark.parametrize(
    "name", [*RUBBISH, "x" * 25, "<b>", "a>b", "Tom & Jerry", "a\nb", "\u202eabc", "a\u200bb"]
)
def test_a_name_that_breaks_the_rule_is_refused_and_changes_nothing(classroom, name):
    student = joined(classroom, "a", "Ada")
    reply = classroom.join(student, name, "b")
    assert reply["notice"]["text"].startswith("student is ")
    assert reply["notice"]["text"].endswith(
        ": must be at most 24 letters that can be seen, without <, > or &."
    )
    assert [(each.name, each.run) for each in classroom.students()] == [("Ada", "a")]


@pytest.mark.parametrize("name", ["x" * 24, "O'Brien", "Zoë", "王小明", "🙂", "a b-c."])
def test_a_name_of_any_language_is_taken(classroom, name):
    assert classroom.join(None, name, "a")["name"] == name


@pytest.mark.parametrize("student", [None, *RUBBISH])
def test_a_student_that_nobody_knows_is_somebody_new(classroom, student):
    known = joined(classroom, "a")
    reply = classroom.join(student, None, "b")
    assert reply["number"] == 2 and reply["student"] not in (known, student)


def test_a_run_speaks_for_its_student_and_a_known_student_takes_it_along(classroom):
    student = joined(classroom, "a", "Ada")
    assert classroom.join(None, None, "a")["student"] == student  # a browser that forgot
    other = joined(classroom, "b")
    assert classroom.join(other, None, "a")["number"] == 2
    assert [each.run for each in classroom.students()] == ["a"]  # nothing is left of the first


def test_the_run_on_show_is_the_one_that_was_named_last(classroom):
    student = joined(classroom, "a")
    classroom.join(student, None, "b")
    assert [each.run for each in classroom.students()] == ["b"]
    classroom.join(student, None, "a")
    assert [each.run for each in classroom.students()] == ["a"]


def test_a_flood_of_students_and_runs_grows_nothing_without_end(classroom, clock):
    here = joined(classroom, "mine")
    for n in range(2000):
        classroom.join(None, None, f"run {n}")
        classroom.join(here, None, f"other {n}")
    assert len(classroom._students) <= 200
    assert len(classroom._owners) <= 200 + 8
    for n in range(199):
        joined(classroom, f"looked at {n}")
        classroom.shown_to(f"other {1999}")
    assert classroom.join(None, None, "one more") == {"notice": {"key": "class full"}}
    assert classroom.join(here, "Ada", "other 1999")["name"] == "Ada"
    clock.now += MINUTE  # all have left: whoever left first makes room
    assert "student" in classroom.join(None, None, "one more")
    for n in range(100):
        classroom.teach("secret", f"taught {n}", None)
    assert len(classroom._teachers) <= 8


def test_who_looks_no_more_has_left_and_is_forgotten_after_a_lesson(classroom, clock):
    joined(classroom, "a")
    (student,) = classroom.students()
    assert classroom.is_here(student)
    clock.now += MINUTE
    assert not classroom.is_here(student)
    classroom.shown_to("a")
    assert classroom.is_here(student)
    clock.now += 40 * MINUTE
    assert classroom.students() == []
    assert classroom.shown_to("a") == "a"


@pytest.mark.parametrize("token", [None, "", "Secret", "secret ", b"secret", *RUBBISH])
def test_whoever_has_another_token_is_not_the_teacher(classroom, token):
    joined(classroom, "a")
    reply = classroom.teach(token, "b", True)
    assert reply == {"notice": {"key": "not the teacher"}}
    assert classroom.shown_to("a") == "a"


@pytest.mark.parametrize("on", [0, 1, "true", *(each for each in RUBBISH if each is not True)])
def test_follow_me_is_on_or_off_and_nothing_else(classroom, on):
    reply = classroom.teach("secret", "t", on)
    assert reply["notice"]["text"].endswith("must be true or false.")
    assert classroom.followed is None


def test_students_follow_the_run_that_the_teacher_shows_now(classroom):
    student = joined(classroom, "a")
    classroom.join(student, None, "b")
    assert classroom.teach("secret", "t", None) == {"following": False}
    assert classroom.shown_to("a") == "a"
    assert classroom.teach("secret", None, True) == {"following": True}
    assert [classroom.shown_to(run) for run in ("a", "b")] == ["t", "t"]
    assert classroom.shown_to("of nobody here") == "of nobody here"
    assert classroom.shown_to("t") == "t"
    classroom.teach("secret", "u", None)
    assert classroom.shown_to("a") == "u"
    assert classroom.teach("secret", None, False) == {"following": False}
    assert classroom.shown_to("a") == "a"


def test_nobody_follows_a_teacher_who_has_no_run(classroom):
    joined(classroom, "a")
    assert classroom.teach("secret", None, True) == {"following": False}
    assert classroom.shown_to("a") == "a"


def test_a_teacher_s_run_is_no_student_s(classroom):
    joined(classroom, "a")
    classroom.teach("secret", "a", True)
    assert classroom.students() == []
    assert classroom.shown_to("a") == "a"
    assert classroom.join(None, "Ada", "a") == {}


def test_follow_me_ends_when_the_teacher_s_page_is_gone_and_does_not_come_back_by_itself(
    classroom, clock
):
    joined(classroom, "a")
    classroom.teach("secret", "t", True)
    clock.now += 2 * MINUTE  # a page in the background speaks once a minute
    assert classroom.shown_to("a") == "t"
    clock.now += 6 * MINUTE
    assert classroom.shown_to("a") == "a"
    assert classroom.teach("secret", "t", None) == {"following": False}
    assert classroom.shown_to("a") == "a"


def test_tokens_are_new_each_time_unless_a_folder_keeps_them(tmp_path):
    assert kept_token(None) != kept_token(None)
    kept = kept_token(tmp_path)
    assert kept_token(tmp_path) == kept and len(kept) >= 16
    assert (tmp_path / "class-token").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"x" * 10_000, b"a b" * 10])
def test_a_token_that_is_none_is_made_anew(tmp_path, content):
    (tmp_path / "class-token").write_bytes(content)
    kept = kept_token(tmp_path)
    assert kept.encode() != content and kept_token(tmp_path) == kept


def test_a_folder_in_which_nothing_can_be_kept_costs_no_class(tmp_path):
    (tmp_path / "class-token").mkdir()
    assert len(kept_token(tmp_path)) >= 16
