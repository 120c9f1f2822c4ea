"""What tests of evaluations watch: splits that are read, networks that are trained."""

from torch import nn


class Spy:
    """A split that remembers what was read of it."""

    def __init__(self, split):
        self.split, self.labels, self.seen = split, split.labels, []

    def __len__(self):
        return len(self.split)

    def counts(self):
        return self.split.counts()

    def on(self, device):
        return self

    def read(self, indices):
        self.seen += indices.tolist()
        return self.split.read(indices)


def untouched(progress):
    """A report of progress that is made of nothing but what is kept: nothing is trained."""
    assert progress.event == "kept", "it trained"


def outcomes(report):
    """What the networks of a report reach, without the time that it takes."""
    return [
        (row.name, trial.seed, trial.accuracy, trial.loss)
        for row in report.rows
        for trial in row.trials
    ]


def linear(*, channels, size, classes):
    """A network that is not one of d3data's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, classes))
