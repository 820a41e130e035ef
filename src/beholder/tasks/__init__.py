"""What a net is trained for: one value for each task, and the one table that names them.

Everything that differs from task to task is a field of `Task` (tasks/task.py); no other package asks which task it is.
"""

from __future__ import annotations

from beholder.base.errors import UsageError
from beholder.base.records import Pictures
from beholder.base.registry import Registry, attribute
from beholder.tasks.task import Task

TASKS = Registry(
    "task",
    {
        "single": "beholder.tasks.single:SINGLE",
        "multi": "beholder.tasks.multi:MULTI",
        "ordinal": "beholder.tasks.ordinal:ORDINAL",
    },
)


BOXES = ("detect", "crops")
"""Names of what is done with boxes, which no value of a `Task` stands for: their answers are none of labels."""


def named(name: str) -> Task:
    """Return a task by its name, or one of your own as `module:name`, whose code is run.

    Raises `UsageError` for a name that is not known, and for what is no task.
    """
    found = attribute(name) if ":" in name else TASKS.load(name, of=Task)
    if not isinstance(found, Task):
        hint = "name a beholder.tasks.task.Task, such as dataclasses.replace(SINGLE, …) of beholder.tasks.single"
        raise UsageError(f"'{name}' is no task, but a {type(found).__name__}", code="no-task", hint=hint)
    return found


def check(name: str, *, trust: bool) -> None:
    """Raise `UsageError` for a task that is not known, or one of `module:name` unless its code is trusted."""
    if ":" in name and not trust:
        hint = "--trust (trust=True) runs its code; trust no bundle of others"
        raise UsageError(f"its task '{name}' is code that is not part of Beholder", code="untrusted", hint=hint)
    if name not in ("auto", *BOXES):
        named(name)


def asked(name: str, pictures: Pictures) -> str:
    """Return the name of a task, where "auto" is what the labels say: multi where a picture may carry several, else single."""
    return ("multi" if pictures.multi else "single") if name == "auto" else name
