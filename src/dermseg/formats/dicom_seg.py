"""DICOM segmentations: a mask beside its photograph in a hospital's archive."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DA, DT, TM

from dermseg.errors import ImageError
from dermseg.imaging.containers import holds_picture
from dermseg.imaging.images import Mask
from dermseg.imaging.readers.dicom import LONGEST_VALUE, frame_number, pixel_spacing
from dermseg.masks.postprocess import Probability
from dermseg.storage.journal import Row

CATEGORY = CodedConcept("49755003", "SCT", "Morphologically Altered Structure")
TYPE = CodedConcept("95324001", "SCT", "Skin lesion")
REGION = CodedConcept("39937001", "SCT", "Skin")
ARTIFICIAL_INTELLIGENCE = CodedConcept("123109", "DCM", "Artificial Intelligence")
SERIES_NUMBERS = {"BINARY": 7001, "FRACTIONAL": 7002}
DESCRIPTIONS = {
    "BINARY": "Skin lesion, for research",
    "FRACTIONAL": "Probability of skin lesion, for research",
}
CERTAIN = 255
"""The value of a certain pixel in a FRACTIONAL segmentation."""
PERSON = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Who is shown and in which study: copied as it is, empty where the photograph does not say.

It is kept from the library, which logs what it finds unusual.
"""
REFERRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
PIXELS = Tag("PixelData")
PLACES = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient")
"""Where a photograph lies in space: no camera knows."""
DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
TIMES = ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime")
UNDATED, UNTIMED = "19000101", "000000"
"""Written for a photograph without a date: the standard demands one."""
logging.getLogger("pydicom").setLevel(logging.ERROR)  # its warnings quote what it finds unusual


@dataclass(frozen=True)
class Maker:
    """What made a mask: a model, the digest of its file, and the version of dermseg.

    `by_hand` says that a person drew or changed it.
    """

    model: str
    weights: str
    version: str
    by_hand: bool = False

    @classmethod
    def of(cls, row: Row, by_hand: bool = False) -> "Maker":
        """Return the maker in a row of the report."""
        return cls(str(row["model"]), str(row["weights"]), str(row["version"]), by_hand)


def write(
    photograph: bytes, mask: Mask | Probability, maker: Maker, frame: int | None = None
) -> bytes:
    """Return the segmentation of a photograph as the bytes of a DICOM file.

    The same photograph, mask and maker give the same bytes: UIDs are digests, and dates are the
    photograph's.

    Parameters
    ----------
    photograph
        The bytes of its DICOM file.
    mask
        Boolean (H, W), of the photograph's size; or the probability of lesion, float32, 0 to 1.
    maker
        What made the mask.
    frame
        The frame that was segmented, from 1; needed where the file has several.

    Returns
    -------
    bytes
        A file of SOP class Segmentation with one segment; it has a frame also where there is no
        lesion. Of a mask its type is BINARY, of a probability FRACTIONAL, 255 being certain.

    Raises
    ------
    ImageError
        The photograph is not DICOM, has another size, or lacks what a segmentation refers to; or
        it has several frames, and not the one that is meant.

    Notes
    -----
    The standard: https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_A.51.html
    """
    if not holds_picture(photograph):
        raise ImageError("not a DICOM photograph; a DICOM segmentation must refer to one")
    try:
        source = dcmread(BytesIO(photograph))
        _drop_large(source)
        if missing := [name for name in REFERRED if not source.get(name)]:
            raise ImageError(f"DICOM without {missing[0]}, to which a segmentation refers")
        frame = frame_number(source, frame)
        if (source.Rows, source.Columns) != mask.shape:
            size = f"{source.Rows} x {source.Columns}"
            raise ImageError(f"has {size} pixels, its mask {mask.shape[0]} x {mask.shape[1]}")
        made = _segmentation(source, mask, maker, frame)
    except ImageError:
        raise
    except Exception as error:  # it may quote what the file says of a patient
        raise ImageError(f"no segmentation can refer to it ({type(error).__name__})") from error
    buffer = BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


def _drop_large(source: Dataset) -> None:
    """Take out what would become millions of objects where the library copies it."""
    for tag in list(source.keys()):
        element = source.get_item(tag, keep_deferred=True)
        is_large = isinstance(element, RawDataElement) and element.length > LONGEST_VALUE
        if is_large and tag != PIXELS:
            del source[tag]


def _segmentation(
    source: Dataset, mask: Mask | Probability, maker: Maker, frame: int | None
) -> Segmentation:
    kind = "BINARY" if mask.dtype == np.bool_ else "FRACTIONAL"
    known = repr((maker, kind))
    date = _first(source, DATES, DA, ".") or UNDATED
    time = _first(source, TIMES, TM, ":") or UNTIMED
    kept = ("SOPClassUID", "NumberOfFrames", "SpecificCharacterSet")
    told = _take(source, (*PERSON, *kept, *PLACES))
    for name in PERSON:
        setattr(source, name, "")
    if not pixel_spacing(source):
        source.pop("PixelSpacing", None)
    # The library knows several frames only where they have a place in space.
    source.SOPClassUID = SecondaryCaptureImageStorage
    made = Segmentation(
        source_images=[source],
        pixel_array=mask[None],
        segmentation_type=kind,
        max_fractional_value=CERTAIN,
        segment_descriptions=[_lesion(source, maker)],
        series_instance_uid=_uid("series", source.SeriesInstanceUID, known),
        series_number=SERIES_NUMBERS[kind],
        sop_instance_uid=_uid(
            source.SOPInstanceUID, known, repr((frame, mask.shape)), np.ascontiguousarray(mask)
        ),
        instance_number=_instance_number(source),
        manufacturer="dermseg",
        manufacturer_model_name=f"dermseg {maker.model}",
        software_versions=maker.version,
        device_serial_number=maker.weights,
        content_label="LESION",
        content_description=DESCRIPTIONS[kind],
        series_description=DESCRIPTIONS[kind],
        content_date=date,
        content_time=time,
        pixel_measures=_measures(source),
        omit_empty_frames=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _complete(made, told, frame)
    return made


def _complete(made: Segmentation, told: dict[str, Any], frame: int | None) -> None:
    """Put in what was kept from the library, and digests and dates in place of its own."""
    for name in PERSON:
        setattr(made, name, told.get(name, ""))
    if "SpecificCharacterSet" in told:
        made.SpecificCharacterSet = told["SpecificCharacterSet"]
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = told["SOPClassUID"]
    if frame is not None:
        derived = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
        derived.SourceImageSequence[0].ReferencedFrameNumber = frame
    made.InstanceCreationDate, made.InstanceCreationTime = made.ContentDate, made.ContentTime
    made.PatientOrientation = ""
    for item in made.ContributingEquipmentSequence:
        item.ContributionDateTime = DT(f"{made.ContentDate}{made.ContentTime}")
    organization = _uid("dimensions", made.SOPInstanceUID)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _lesion(source: Dataset, maker: Maker) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(
        name=f"dermseg {maker.model}",
        version=f"{maker.version}, {maker.weights}",
        family=ARTIFICIAL_INTELLIGENCE,
    )
    return SegmentDescription(
        segment_number=1,
        segment_label="Lesion",
        segmented_property_category=CATEGORY,
        segmented_property_type=TYPE,
        algorithm_type="MANUAL" if maker.by_hand else "AUTOMATIC",
        algorithm_identification=None if maker.by_hand else algorithm,
        tracking_id="lesion",
        tracking_uid=_uid("lesion", source.SOPInstanceUID),
        anatomic_regions=[REGION],
    )


def _measures(source: Dataset) -> PixelMeasuresSequence | None:
    """Return the size of a pixel, where the photograph says it; readers demand a depth too."""
    spacing = source.get("PixelSpacing")
    return PixelMeasuresSequence(list(spacing), slice_thickness=spacing[0]) if spacing else None


def _take(source: Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    """Take attributes out of a data set and return their values."""
    taken = {name: source[name].value for name in names if name in source}
    for name in taken:
        delattr(source, name)
    return taken


def _first(source: Dataset, names: tuple[str, ...], kind: type[DA] | type[TM], mark: str) -> str:
    """Return the first date or time that is one, without the marks of old files; or nothing."""
    for name in names:
        value = str(source.get(name) or "").replace(mark, "")
        with suppress(ValueError):
            if kind(value):
                return value
    return ""


def _instance_number(source: Dataset) -> int:
    try:
        return int(source.get("InstanceNumber") or 1)
    except (TypeError, ValueError):
        return 1


def _uid(*parts: object) -> UID:
    """Return a UID that is a digest of what it stands for."""
    digest = blake2b(digest_size=16)
    for part in parts:
        content = bytes(part) if isinstance(part, np.ndarray) else str(part).encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return UID(f"2.25.{int.from_bytes(digest.digest(), 'big')}")
