"""Lending a run to another process, which computes it faster for a while.

The run stays what it is: its viewers, its buttons and its place on the shelf are here. It is not
computed here meanwhile, and every few seconds it is brought up to what the other process has
reached; so a borrower that dies costs no more than that.
"""

from concurrent.futures import Future

from convlstm.files.reading import read_checkpoint
from convlstm.server.keeping import content_of, note_of
from convlstm.server.loan import Loan
from convlstm.server.opening import trainer_of
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler


def lend(scheduler: Scheduler, run: Run, folder: str) -> Future:
    """Lay a run on a desk, if it trains; the future says whether it lies there.

    Args:
        scheduler: its owner.
        run: it.
        folder: of the desk.
    """

    def job() -> bool:
        if run.loan or run.state != "training":
            return False
        run.interrupt()
        loan = Loan(folder, run.sample)
        loan.desk.lay(note_of(run), content_of(run))
        run.loan = loan
        return True

    return scheduler.call(job)


def hear(
    scheduler: Scheduler, run: Run, folder: str, snapshot: dict[str, object], content: bytes
) -> Future:
    """Take in news of a lent run; the future says whether that loan still holds.

    Args:
        scheduler: its owner.
        run: it.
        folder: of the desk.
        snapshot: what its viewers are to be told.
        content: its checkpoint, where there is a new one, else empty.
    """

    def job() -> bool:
        if run.loan is None or run.loan.folder != folder:
            return False
        run.loan.hear(snapshot)
        if content:
            device = scheduler.device
            run.take_over(trainer_of(read_checkpoint(content), device, anywhere=True))
        run.version += 1
        if run.is_wanted_back:
            run.loan.desk.end()
        else:
            run.loan.show(run.sample)
        return True

    return scheduler.call(job)


def take_back(scheduler: Scheduler, run: Run, folder: str, *, died: bool) -> Future:
    """Compute a run here again, from the last content that came.

    Args:
        scheduler: its owner.
        run: it.
        folder: of the desk; another loan's is left alone.
        died: whether what computed it has died.
    """

    def job() -> None:
        if run.loan and run.loan.folder == folder:
            run.come_back(died=died)

    return scheduler.call(job)
