"""Losses, scores and rates of a run in TensorBoard: `python examples/to_tensorboard.py SOURCE`; `tensorboard --logdir runs`.

A sink is a function of one event; the numbers of an event are its fields. TensorBoard: pip install tensorboard.
"""

from __future__ import annotations

import sys

import beholder


def tensorboard(writer):
    def sink(event):
        step = event.fields.get("step", 0)
        for name, value in event.fields.items():
            if isinstance(value, (int, float)) and name != "step" and event.name in ("training", "epoch", "scores"):
                writer.add_scalar(f"{event.name}/{name}", value, step)

    return sink


if __name__ == "__main__":
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter("runs") as writer, beholder.listen(tensorboard(writer)):
        print(beholder.steps(sys.argv[1]).evaluation)
