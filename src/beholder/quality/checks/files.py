"""Files that cannot be read, and files whose extension does not match their content."""

from __future__ import annotations

import numpy as np

from beholder.duplicates.facts import suffix_of
from beholder.quality.checks import Check, Evidence, Marks

SUFFIXES = {
    "JPEG": {"jpg", "jpeg", "jpe", "jfif", "jif", "mpo"},
    "MPO": {"jpg", "jpeg", "jpe", "jfif", "mpo"},
    "PNG": {"png", "apng"},
    "GIF": {"gif"},
    "WEBP": {"webp"},
    "TIFF": {"tif", "tiff"},
    "BMP": {"bmp", "dib"},
    "AVIF": {"avif"},
    "JPEG2000": {"jp2", "j2k", "j2c", "jpc", "jpf", "jpx"},
    "PPM": {"ppm", "pgm", "pbm", "pnm", "pfm"},
    "HEIF": {"heic", "heif", "hif"},
    "DICOM": {"dcm", "dicom"},
}
"""Format by the first bytes → the extensions that it goes by."""

WHY = {
    "empty": "the file has no bytes",
    "truncated": "the file ends too early: it was cut off",
    "not-a-picture": "the file is no picture of a known format",
    "damaged": "the file is damaged",
}


def unreadable(evidence: Evidence) -> Marks:
    """Score 1 for what cannot be decoded, with its reason."""
    codes = evidence.facts["error"]
    words = {}
    for row in np.flatnonzero(codes != b"").tolist():
        code = codes[row].decode()
        words[row] = f"{WHY.get(code, 'it cannot be read')} ({code})"
    return Marks((codes != b"").astype(np.float64), words=words)


def extension(evidence: Evidence) -> Marks:
    """Score 1 where the file's name ends like another format than the file's first bytes say."""
    facts, scores, words = evidence.facts, np.zeros(len(evidence.facts)), {}
    for row, (code, key) in enumerate(zip(facts["format"], evidence.pictures.keys, strict=True)):
        known, suffix = SUFFIXES.get(code.decode()), suffix_of(key)
        if known and suffix and suffix not in known:
            scores[row] = 1.0
            words[row] = f"named .{suffix}, but it is {code.decode()}"
    return Marks(scores, words=words)


UNREADABLE = Check(
    unreadable,
    limit=1.0,
    sentence="it cannot be read",
    hint="fetch it again, or leave it out",
    group="files",
    suggestion="drop",
)
EXTENSION = Check(
    extension,
    limit=1.0,
    sentence="its name ends like another format",
    hint="rename it: Beholder goes by the content, other programs by the name",
    group="files",
)
