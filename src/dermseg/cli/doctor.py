"""Find the faults of a data set before training."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import say, show
from dermseg.progress import counted
from dermseg.settings import MaskFrame


def doctor(
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    predictions: Path | None = None,
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    mask_frame: MaskFrame | None = None,
    fix: Path | None = None,
    splits: str = "",
    group: str = "",
) -> int:
    """Find the faults of a data set that would stop a training or mislead it.

    It lists different sizes of photograph and mask; masks that do not lie along the stored pixels
    of photographs that EXIF turns; masks that are empty, full, inverted, in pieces or not binary;
    damaged files, near-duplicates, and patients or lesions on both sides of a split; and, with
    --predictions, the masks that are most likely wrong. It counts the masks of each style of
    outline, and lists those that fit neither.

    Example: dermseg doctor ISIC-2017/ -o findings/ --predictions run/

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for doctor.csv and doctor.png, a contact sheet.
    predictions
        Folder that `dermseg train` filled with --fold or --protocol: its out-of-fold predictions
        are compared with the masks.
    allow_resized
        Do not list photographs whose size is not their mask's (thumbnails).
    mask_frame
        How masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
    fix
        Folder for clean copies of the masks: one channel of 8 bits, 0 and 255, along the
        photographs' pixels as stored.
    splits
        A split of your own, as in `dermseg train`: patients, lesions and near-duplicates on both
        sides are listed. A split in the data's tables or folders is found without this option.
    group
        A column of the tables beside the data, as in `dermseg train`: images with the same value on
        both sides are listed too.
    """
    from dermseg.data import doctor as room
    from dermseg.data.doctor import REMEDIES, examine, report
    from dermseg.training.run_folder import read_held_out

    maps = read_held_out(predictions) if predictions else {}
    examination = examine(
        data,
        maps,
        allow_resized=allow_resized,
        splits=splits,
        mask_frame=mask_frame,
        group=group,
    )
    findings = examination.findings
    for line in examination.passed_over:
        say(f"skipped: {line}")
    for line in filter(None, (examination.unlabelled, examination.renumbered)):
        say(line)
    for finding in findings:
        show(f"{finding.image}: {finding.kind}: {finding.detail}")
    odd = {finding.image for finding in findings}
    images = odd.union(pair.image_id for pair in examination.pairs)
    show(f"{counted(len(findings), 'finding')} in {len(odd)} of {counted(len(images), 'image')}")
    kinds = Counter(finding.kind for finding in findings)
    for kind, count in kinds.most_common():
        show(f"  {count} {kind}: {REMEDIES[kind]}")
    styles = [f"{count} {style}" for style, count in examination.styles.most_common()]
    show(f"outlines: {', '.join(styles)}")
    if output is not None:
        report(examination.pairs, findings, output, maps)
    if fix is not None:
        written = room.fix(data, fix, mask_frame)
        show(f"{counted(written, 'mask')} in {fix}, with values 0 and 255; outlines are unchanged")
    return 0
