from __future__ import annotations

from pathlib import Path

from PIL import Image

from beholder.duplicates.facts import facts
from beholder.quality.audit import audit
from beholder.quality.checks import Evidence
from beholder.sources import scan
from beholder.sources.digest import digested


def test_files_that_cannot_be_read_are_found_with_the_reason(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes(b"")
    (leaves / "rust" / "01.png").write_bytes((leaves / "rust" / "01.png").read_bytes()[:200])
    (leaves / "rust" / "02.png").write_text("a letter")
    pictures = digested(scan(leaves))
    found = audit(Evidence(pictures, facts(pictures)), names=["unreadable"])
    assert {row.picture: row.suggestion for row in found.rows} == {f"rust/0{k}.png": "drop" for k in range(3)}
    said = " ".join(row.verdict for row in found.rows)
    assert all(code in said for code in ("(empty)", "(truncated)", "(not-a-picture)"))


def test_a_name_that_says_another_format_is_found(leaves: Path) -> None:
    Image.open(leaves / "rust" / "00.png").save(leaves / "rust" / "photo.jpg", "PNG")
    Image.open(leaves / "rust" / "00.png").save(leaves / "rust" / "fine.JPEG", "JPEG")
    pictures = digested(scan(leaves))
    found = audit(Evidence(pictures, facts(pictures)), names=["extension"])
    assert [(row.picture, row.verdict, row.suggestion) for row in found.rows] == [
        ("rust/photo.jpg", "named .jpg, but it is PNG", "keep")
    ]
