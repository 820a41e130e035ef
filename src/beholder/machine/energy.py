"""Joules that the processor has used, where the machine counts them and lets this user read it (Linux, RAPL)."""

from __future__ import annotations

from pathlib import Path

ZONES = Path("/sys/class/powercap")


def joules(zones: Path = ZONES) -> dict[str, float] | None:
    """Return what each package of the processor has counted, name → joules; None where nothing can be read."""
    found = {}
    for zone in sorted(zones.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:  # packages; what lies below them is counted in them
            try:
                found[zone.name] = int((zone / "energy_uj").read_text()) / 1e6
            except (OSError, ValueError):
                return None
    return found or None


def spent(before: dict[str, float] | None, after: dict[str, float] | None, zones: Path = ZONES) -> float | None:
    """Return the joules between two readings; a counter that began anew in between is taken on from its range."""
    if before is None or after is None or set(before) != set(after):
        return None
    total = 0.0
    for name, value in after.items():
        used = value - before[name]
        if used < 0:
            try:
                used += int((zones / name / "max_energy_range_uj").read_text()) / 1e6
            except (OSError, ValueError):
                return None
        total += used
    return total
