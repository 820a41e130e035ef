"""Run by the python of the peers: hashes by imagehash and the sets of CleanVision, of a folder, as one line of JSON.

PEERS_PYTHON bench/peer_twins.py FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path


def main() -> None:
    import imagehash
    from cleanvision import Imagelab
    from PIL import Image

    folder = Path(sys.argv[1])
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
    found: dict[str, object] = {"names": names}
    seconds = {}
    for name in ("phash", "dhash"):
        began = time.perf_counter()
        found[name] = [str(getattr(imagehash, name)(Image.open(folder / key))) for key in names]
        seconds[name] = time.perf_counter() - began
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        lab = Imagelab(data_path=str(folder))
        lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    seconds["CleanVision"] = time.perf_counter() - began
    sets = [group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info[kind]["sets"]]
    found["CleanVision"] = [[str(Path(path).relative_to(folder)) for path in group] for group in sets]
    found["seconds"] = seconds
    print(json.dumps(found))


if __name__ == "__main__":
    main()
