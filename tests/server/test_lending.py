"""Runs that another process computes for a while; here that is the test."""

import itertools
from pathlib import Path

import pytest

from convlstm.files.reading import read_checkpoint
from convlstm.server import lending
from convlstm.server.chunk import News, compute_chunk
from convlstm.server.desk import Desk
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.settings import configure, settings_of
from tests.server.helpers import (
    DEADLINE,
    ENDLESS,
    alone,
    endless_of,
    facts,
    is_over,
    let_it_turn,
    opened,
    small,
    small_of,
    stepped,
    trained,
    wait_until,
)


class Borrower:
    """Who computes a run of a scheduler, as the page's process has it done."""

    def __init__(self, scheduler: Scheduler, run: Run, folder: Path, seconds: float = 600) -> None:
        folder.mkdir()
        self.scheduler, self.run, self.folder = scheduler, run, str(folder)
        self.chunk = compute_chunk(self.folder, seconds, "cpu")
        assert next(self.chunk) is None
        self.is_lent = lending.lend(scheduler, run, self.folder).result(DEADLINE)

    def pull(self) -> News | None:
        """Have some steps computed, and bring what has become of the run."""
        news = next(self.chunk, None)
        if news is not None:
            told = self.folder, news.snapshot, news.content
            self.is_lent = lending.hear(self.scheduler, self.run, *told).result(DEADLINE)
        return news

    def finish(self) -> list[News]:
        """Go on until the chunk ends by itself, and give the run back."""
        found = list(iter(self.pull, None))
        self.give_back()
        return found

    def give_back(self, *, died: bool = False) -> None:
        lending.take_back(self.scheduler, self.run, self.folder, died=died).result(DEADLINE)


@pytest.fixture
def scheduler(serve) -> Scheduler:
    return serve()


def begun(scheduler: Scheduler, config=ENDLESS) -> Run:
    run = trained(scheduler, opened(scheduler, config), config)
    wait_until(lambda: run.steps_done > 1)
    return run


def test_a_run_that_goes_from_hand_to_hand_has_the_losses_of_an_unbroken_one(scheduler, tmp_path):
    config = small_of("squares", epochs=400, evaluate_every=30)
    run = trained(scheduler, opened(scheduler, config), config)
    for n in itertools.count():
        borrower = Borrower(scheduler, run, tmp_path / str(n), seconds=0.3)
        if n == 0:  # however fast the machine is, it goes on in a second hand
            borrower.pull()
            Desk(Path(borrower.folder)).end()
        borrower.finish()
        if is_over(run):
            break
    wait_until(lambda: is_over(run))
    assert n >= 1
    assert (run.state, run.resumed) == ("finished", ())
    assert facts(run.trainer.records) == alone(config)


def test_a_lent_run_trains_elsewhere_alone_and_its_viewers_see_that(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    assert borrower.is_lent
    step = run.trainer.step
    let_it_turn(scheduler)
    assert (run.trainer.step, run.state, scheduler.working_runs()) == (step, "training", 0)
    scheduler.watch(run)
    seen = borrower.pull().snapshot
    assert seen["step"] > step
    wait_until(lambda: run.snapshot and run.snapshot[1]["step"] == seen["step"])
    told = run.snapshot[1]
    assert (told["picture"]["sprites"], told["state"]) == (seen["picture"]["sprites"], "training")
    assert not Borrower(scheduler, run, tmp_path / "second").is_lent  # it is lent already


def test_the_device_that_is_shown_is_the_one_that_computes(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    scheduler.watch(run)
    for device in ("CUDA", "CPU"):
        snapshot = next(borrower.chunk).snapshot | {"device": device}
        lending.hear(scheduler, run, borrower.folder, snapshot, b"").result(DEADLINE)
        wait_until(lambda device=device: run.snapshot and run.snapshot[1]["device"] == device)
    snapshot = next(borrower.chunk).snapshot | {"device": "CUDA"}
    lending.hear(scheduler, run, borrower.folder, snapshot, b"").result(DEADLINE)
    borrower.give_back()
    wait_until(lambda: run.snapshot[1]["device"] == "CPU")


def test_who_lost_the_desk_ends_at_once(scheduler, tmp_path):
    run = opened(scheduler)  # which trains nothing, and so is lent to nobody
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    assert not borrower.is_lent
    (tmp_path / "desk").rmdir()
    assert borrower.pull() is None


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_a_button_acts_at_once_and_the_weights_come_after(scheduler, tmp_path, action):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    getattr(scheduler, action)(run).result(DEADLINE)
    wanted = {"pause": "paused", "stop": "stopped"}[action]
    assert run.state == wanted
    news = borrower.finish()
    assert len(news) <= 2  # what was under way, and the content
    assert (run.state, run.loan, run.resumed) == (wanted, None, ())
    assert run.trainer.step == read_checkpoint(news[-1].content).records[-1].step
    assert run.steps_done == news[-1].snapshot["step"]
    let_it_turn(scheduler)
    assert run.trainer.step == run.steps_done


def test_a_change_ends_the_chunk_and_holds_after_it(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    for speed, rate in ((2, 0.03), (2, 0.02)):  # two changes in one chunk
        changed = settings_of(ENDLESS) | {"speed": speed + 1, "learning_rate": rate}
        scheduler.adjust(run, configure(changed, ENDLESS))
        let_it_turn(scheduler, 1)
    news = borrower.finish()
    assert len(news) <= 2
    assert (run.config.scene.speed, run.config.learning_rate) == (3, 0.02)
    last = news[-1].snapshot["step"]
    assert {(c.name, c.step) for c in run.trainer.changes} == {
        ("speed", last),
        ("learning_rate", last),
    }
    wait_until(lambda: run.steps_done > last)


def test_a_step_is_done_here_from_what_came_back(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    stepped(scheduler, run, ENDLESS)
    last = borrower.finish()[-1].snapshot["step"]
    wait_until(lambda: run.steps_done == last + 1)
    let_it_turn(scheduler)
    assert (run.state, run.steps_done) == ("paused", last + 1)


@pytest.mark.parametrize("then", ["reset", "train"])
def test_what_comes_back_of_another_training_is_thrown_away(scheduler, tmp_path, then):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    if then == "train":
        scheduler.stop(run).result(DEADLINE)
    getattr(scheduler, then)(run, settings_of(small(seed=5))).result(DEADLINE)
    assert run.loan is None
    assert len(borrower.finish()) <= 2  # it hears of that, too
    assert not borrower.is_lent
    assert run.config.seed == 5
    if then == "reset":
        assert (run.state, run.trainer.step) == ("idle", 0)
    else:
        wait_until(lambda: is_over(run))
        assert facts(run.trainer.records) == alone(small(seed=5))


def test_the_shelf_keeps_what_has_come_and_a_death_costs_what_has_not(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    brought = next(news for news in iter(borrower.pull, None) if news.content)
    borrower.pull()
    step = read_checkpoint(brought.content).records[-1].step
    assert read_checkpoint(scheduler.save(run).result(DEADLINE)).records[-1].step == step
    borrower.give_back(died=True)
    assert (run.resumed, run.state) == ((step,), "training")
    wait_until(lambda: run.steps_done > step)


def test_a_borrower_of_whom_nothing_is_heard_has_lost_the_run(serve, tmp_path):
    scheduler = serve(lent_seconds=0.2)
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    wait_until(lambda: run.loan is None)
    assert len(run.resumed) == 1
    step = run.steps_done
    assert len(borrower.finish()) <= 1  # it was told
    assert not borrower.is_lent
    wait_until(lambda: run.steps_done > step)


def test_the_sequence_that_viewers_choose_is_drawn_elsewhere(scheduler, tmp_path):
    run = begun(scheduler)
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    scheduler.look(run, 3)
    pictures = (news.snapshot["picture"] for news in iter(borrower.pull, None))
    assert next(p for p in pictures if p["sample"] == 3)


def test_a_drawing_is_continued_here_meanwhile(scheduler, tmp_path):
    run = begun(scheduler, endless_of("digits"))
    borrower = Borrower(scheduler, run, tmp_path / "desk")
    borrower.pull()
    scheduler.draw(run, [255] * 56 * 56, 0)
    wait_until(lambda: run.picture and run.picture.sample is None)
    borrower.pull()
    let_it_turn(scheduler)
    assert run.snapshot[1]["picture"]["sample"] is None
