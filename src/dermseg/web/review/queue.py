"""The queue of a review: a folder's masks, the least sure first, and a person's decisions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock

from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.run import row_as_left
from dermseg.errors import ImageError, UsageError
from dermseg.imaging.mask_files import write_mask
from dermseg.imaging.photographs import image_size
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import counted, say, track
from dermseg.storage.decisions import Reader, digest_of
from dermseg.storage.files import occupied, writing
from dermseg.storage.journal import JOURNAL, Entry, read_journal
from dermseg.storage.stores import LocalStore
from dermseg.storage.tables import defused
from dermseg.web.errors import ProblemError
from dermseg.web.review.decisions import item_of, write_decisions
from dermseg.web.review.items import Decision, Item, Remark
from dermseg.web.uploads import read_drawn


class Review:
    """The queue: every mask of a folder that `dermseg segment` filled, and what became of it.

    Decisions stand in the reader's table beside the masks, whole after each, so that a review
    stops and goes on at any time; those about other photographs, `others`, stay as they are. One
    that was about another mask, since made again, holds no longer; `reopened` counts these.
    Corrected masks go to a folder of their own, the reader's: the model's stay as they are, and
    segmenting again does not undo a person's work. `without` counts photographs that have no mask,
    or one that cannot be read.
    """

    def __init__(
        self,
        items: Iterable[Item],
        reader: Reader,
        others: Sequence[Mapping[str, str]] = (),
        reopened: int = 0,
        without: int = 0,
    ) -> None:
        self.reader = reader
        self.masks = reader.masks
        self.reopened = reopened
        self.without = without
        self.corrected = reader.corrected
        self.items = sorted(items, key=lambda item: item.order)
        self._others = others
        self._lock = Lock()

    @classmethod
    @contextmanager
    def open(
        cls, photographs: Sequence[Path], masks: Path, segmenter: Segmenter, reader: str = ""
    ) -> Iterator["Review"]:
        """Lock a folder of masks for the length of the block, and yield its review.

        `photographs` are files or folders; `reader` is who reviews, where there are several. Says
        on standard error what is to be looked at again, and what is not shown. Raises UsageError if
        there is no such folder, if another process works in it, or if it holds no mask of the
        photographs.
        """
        jobs = find_jobs(photographs, without=(masks,))
        if not masks.is_dir():
            raise UsageError(f"{masks}: no such folder of masks")
        with occupied(masks):
            found = track(jobs, "Ordering", len(jobs))
            review = cls.load(found, masks, segmenter, reader)
            if review.reopened:
                again = counted(review.reopened, "decision")
                say(f"{again} about masks that have changed since: look again")
            if review.without:
                lacking = counted(review.without, "photograph")
                say(f"{lacking} without a mask that can be read: not shown")
            yield review

    @classmethod
    def load(
        cls, jobs: Iterable[Job], masks: Path, segmenter: Segmenter, name: str = ""
    ) -> "Review":
        """Return the review of `jobs` by a reader, continued where an earlier one stopped.

        Raises UsageError if no photograph has a mask, DataError for a damaged decisions.csv.
        """
        masks = masks.resolve()
        reader = Reader(masks, name)
        known = reader.rows()
        noted = read_journal(masks / JOURNAL)
        items, reopened, without = [], 0, 0
        for job in jobs:
            if job.refusal or not (masks / job.mask).is_file():
                without += 1
                continue
            entry = noted.get(job.mask.as_posix())
            job = _of_the_frame(job, entry)
            photograph = job.name.as_posix()
            key = photograph if photograph in known else defused(photograph)
            row = known.pop(key, None)
            item = None if row is None else item_of(job, row, reader.table)
            decision: Decision = "" if item is None else item.decision
            remark = Remark() if item is None else item.remark
            current = item is not None and item.digest == digest_of(masks / job.mask)
            stands = current
            if decision == "corrected":  # which stays right when the model's mask is made again
                stands = (reader.corrected / job.mask).is_file()
            if decision and not stands:
                decision, remark, reopened = "", Remark(), reopened + 1
            if item is None or not current:
                mask = job.mask.as_posix()
                try:
                    made = row_as_left(entry, LocalStore(masks), mask)
                    item = Item.of(job, masks, made, segmenter)
                except ImageError:
                    without += 1
                    if row is not None:
                        known[key] = row
                    continue
            items.append(replace(item, decision=decision, remark=remark))
        if not items:
            raise UsageError(f"{masks}: holds no mask of these photographs; segment first")
        review = cls(items, reader, list(known.values()), reopened, without)
        review._write()
        return review

    def version(self, number: int) -> str:
        """Return what changes with the mask that counts, its photograph, and its decision."""
        item, corrected = self.items[number], 0
        if item.decision == "corrected":
            with suppress(OSError):
                corrected = self.mask_path(item).stat().st_mtime_ns
        facts = (item.job.name.as_posix(), item.digest, item.decision, item.remark, corrected)
        known = repr(facts).encode(errors="surrogateescape")
        return blake2b(known, digest_size=8).hexdigest()

    def _check_seen(self, number: int, seen: str | None) -> None:
        """Raise ProblemError if a person has `seen` another version than the one that is there."""
        if seen is not None and seen != self.version(number):
            detail = "this mask or its decision has changed since it was shown: reload the page"
            raise ProblemError(412, "changed-meanwhile", detail)

    def decide(
        self,
        number: int,
        decision: Decision,
        seen: str | None = None,
        remark: Remark | None = None,
    ) -> None:
        """Write down a decision; "" takes it back. Raises OutputError if it cannot be written.

        To accept a corrected mask is to leave it; any other decision throws the correction away.
        The seconds of a `remark` are added to those before; without one the last remark stays.
        Raises ProblemError if the person has `seen` another version of it, unless that is None.
        """
        with self._lock:
            self._check_seen(number, seen)
            before = self.items[number]
            keeps = before.decision == "corrected" and decision == "accepted"
            self._decide(number, "corrected" if keeps else decision, remark)
            if before.decision == "corrected" and not keeps:
                path = self.corrected / before.job.mask
                with writing(path):
                    path.unlink(missing_ok=True)

    def _decide(self, number: int, decision: Decision, remark: Remark | None = None) -> None:
        before = self.items[number]
        if remark is None:
            remark = before.remark
        else:
            remark = replace(remark, seconds=before.remark.seconds + remark.seconds)
        self.items[number] = replace(before, decision=decision, remark=remark)
        try:
            self._write()
        except BaseException:
            self.items[number] = before
            raise

    def correct(self, number: int, mask: bytes, seen: str | None = None) -> None:
        """Write a corrected mask, an image of the mask's size, and the decision.

        Raises ImageError for another size, OutputError if it cannot be written, and ProblemError as
        `decide` does.
        """
        item = self.items[number]
        drawn = read_drawn(mask, image_size(self.masks / item.job.mask))
        with self._lock:
            self._check_seen(number, seen)
            write_mask(self.corrected / item.job.mask, drawn)
            self._decide(number, "corrected")

    def mask_path(self, item: Item) -> Path:
        """Return the file of the mask that counts."""
        folder = self.corrected if item.decision == "corrected" else self.masks
        return folder / item.job.mask

    def _write(self) -> None:
        write_decisions(self.reader.table, self.items, self._others)


def _of_the_frame(job: Job, entry: Entry | None) -> Job:
    """Return the job of the frame that was segmented, where its file has several."""
    frame = entry.row.get("frame") if entry else None
    return replace(job, frame=frame) if isinstance(frame, int) else job
