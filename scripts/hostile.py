"""Files that are meant to break a reader: the corpus of test_hostile.py, and random damage."""

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

HEIGHT, WIDTH = 60, 80


def picture(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """Return a dark disc on light skin."""
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot((rows - height / 2) / height, (columns - width / 2) / width) < 0.25
    pixels = np.where(inside[..., None], (110, 60, 50), (225, 185, 165)).astype(np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return a picture as a file of some form."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """Return how a PNG file begins."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def good_files() -> dict[str, bytes]:
    """Return images that must be segmented: forms, modes and names of all kinds."""
    image = picture()
    grey = image.convert("L")
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "rgb.jpg": encoded(image, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "grey.jpg": encoded(grey, "JPEG"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "profile.jpg": encoded(image, "JPEG", icc_profile=profile),
        "damaged-profile.jpg": encoded(image, "JPEG", icc_profile=b"not a profile" * 9),
        "upper.JPG": encoded(image, "JPEG"),
        "long-suffix.jpeg": encoded(image, "JPEG"),
        "rgb.png": encoded(image, "PNG"),
        "rgba.png": encoded(image.convert("RGBA"), "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "grey-alpha.png": encoded(grey.convert("LA"), "PNG"),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "palette-transparent.png": encoded(image.convert("P"), "PNG", transparency=0),
        "one-bit.png": encoded(image.convert("1"), "PNG"),
        "sixteen-bit.png": encoded(sixteen, "PNG"),
        "rgb.bmp": encoded(image, "BMP"),
        "palette.bmp": encoded(image.convert("P"), "BMP"),
        "rgb.tif": encoded(image, "TIFF"),
        "lzw.tiff": encoded(image, "TIFF", compression="tiff_lzw"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "sixteen-bit.tif": encoded(sixteen, "TIFF"),
        "pages.tif": encoded(image, "TIFF", save_all=True, append_images=[grey.convert("RGB")]),
        "rgb.webp": encoded(image, "WEBP"),
        "lossless-alpha.webp": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "one-pixel.png": encoded(picture(1, 1), "PNG"),
        "thin.png": encoded(picture(1, 10_000), "PNG"),
        "tall.png": encoded(picture(10_000, 1), "PNG"),
        "portrait.jpg": encoded(picture(90, 50), "JPEG"),
        "black.png": encoded(Image.new("RGB", (64, 48)), "PNG"),
        "white.png": encoded(Image.new("RGB", (64, 48), (255, 255, 255)), "PNG"),
        "png-called.jpg": encoded(image, "PNG"),
        "jpeg-called.png": encoded(image, "JPEG"),
        "with spaces in it.jpg": encoded(image, "JPEG"),
        "new\nline.jpg": encoded(image, "JPEG"),
        "меланома-皮膚-🙂.jpg": encoded(image, "JPEG"),
        "=1+1.jpg": encoded(image, "JPEG"),
        "-dash.jpg": encoded(image, "JPEG"),
        "semi;colon,comma'quote\".jpg": encoded(image, "JPEG"),
        "two.dots.jpg": encoded(image, "JPEG"),
    }
    for orientation in range(1, 10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"orientation-{orientation}.jpg"] = encoded(image, "JPEG", exif=exif.tobytes())
    return files


def bad_files() -> dict[str, bytes]:
    """Return files that cannot be segmented: each must cost one clear line."""
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    tiff, webp = encoded(picture(), "TIFF"), encoded(picture(), "WEBP")
    floats = Image.fromarray(np.random.default_rng(0).random((20, 30)).astype(np.float32))
    wide = Image.fromarray(np.full((20, 30), 70_000, np.int32))
    bomb = zlib.compress(b"\0" * 1000)
    return {
        "empty.jpg": b"",
        "one-byte.png": b"\x89",
        "text.jpg": b"this is not a photograph\n" * 20,
        "html.png": b"<!doctype html><title>404</title>",
        "zeros.jpg": b"\0" * 5000,
        "noise.tif": random.Random(0).randbytes(5000),
        "half.jpg": jpeg[: len(jpeg) // 2],
        "header-only.jpg": jpeg[:30],
        "half.png": png[: len(png) // 2],
        "header-only.png": png_header(64, 48),
        "bad-checksum.png": png[:40] + bytes([png[40] ^ 255]) + png[41:],
        "half.tif": tiff[: len(tiff) // 2],
        "half.webp": webp[: len(webp) // 2],
        "half.bmp": encoded(picture(), "BMP")[:500],
        "zero-wide.png": png_header(0, 48) + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b""),
        "bomb.png": png_header(60_000, 60_000) + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b""),
        "huge.png": png_header(2**31 - 1, 2**31 - 1) + png_chunk(b"IDAT", bomb),
        "floating.tif": encoded(floats, "TIFF"),
        "thirty-two-bit.tif": encoded(wide, "TIFF"),
    }


def with_scans(jpeg: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    last = jpeg.rindex(b"\xff\xda")
    before = jpeg.count(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * (count - before + 1) + b"\xff\xd9"


def with_strips(count: int, form: str = "<", kind: int = 4) -> bytes:
    """Return a TIFF whose strips lie at so many places."""
    mark = b"II*\0" if form == "<" else b"MM\0*"
    tags = [(256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (273, kind, count, 200)]
    entries = b"".join(struct.pack(f"{form}HHII", *tag) for tag in tags)
    return mark + struct.pack(f"{form}IH", 8, len(tags)) + entries + bytes(8 * count)


def busy_files(many: int = 200_000) -> dict[str, bytes]:
    """Return small files of very many parts: a decoder takes long over each."""
    jpeg, tail = encoded(picture(), "JPEG"), encoded(picture(), "JPEG")[2:]
    scans = with_scans(encoded(picture(), "JPEG", progressive=True), 1500)
    last, data = scans.rindex(b"\xff\xda"), jpeg.index(b"\xff\xda") + 30
    header = struct.pack("<IHHI", 0, 0, 0, 1078)
    header += struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 0, 0)
    return {
        "scans": scans,
        "an end in a comment": scans[:last] + b"\xff\xfe\x00\x04\xff\xd9" + scans[last:],
        "segments": jpeg[:2] + b"\xff\xe0\x00\x02" * many + tail,
        "comments": jpeg[:2] + b"\xff\xfe\x00\x03x" * many + tail,
        "restarts": jpeg[:2] + b"\xff\xd0" * many + tail,
        "fill": jpeg[:2] + b"\xff" * many + tail,
        "junk": jpeg[:2] + b"\0" * many + tail,
        "nothing but junk": b"\xff\xd8\xff\xe0\x00\x02" + b"x" * many,
        "fill in the data": jpeg[:data] + b"\xff" * many + jpeg[data:],
        "chunks": png_header(64, 48) + png_chunk(b"tEXt", b"") * many,
        "empty chunks of pixels": png_header(64, 48) + png_chunk(b"IDAT", b"") * many,
        "chunks of WebP": encoded(picture(), "WEBP") + b"ABCD\0\0\0\0" * many,
        "strips": with_strips(many),
        "strips, big-endian": with_strips(many, ">"),
        "short strips": with_strips(many, kind=3),
        "run lengths": b"BM" + header + bytes(1024) + b"\1\5" * 2**22,
    }


def mutated(seed: int, originals: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return the suffix and bytes of a randomly damaged image: bits, runs, cuts, repetitions."""
    chance = random.Random(seed)
    suffix, original = chance.choice(originals)
    data = bytearray(original)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(data)) if data else 0
        if chance.random() < 0.5:
            place = min(place, chance.randrange(64))  # headers break more interestingly
        match chance.randrange(5):
            case 0 if data:
                data[place] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[place] = chance.choice((0, 255, 127, chance.randrange(256)))
            case 2:
                del data[place : place + chance.randrange(1, 64)]
            case 3:
                data[place:place] = data[place : place + chance.randrange(1, 64)]
            case _:
                data = data[: max(1, chance.randrange(len(data) + 1))]
    return suffix, bytes(data)


def write_all(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
