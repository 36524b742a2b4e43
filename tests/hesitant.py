"""A method that is planned for every layer, and finds of some of them, after a pass, that it will not do."""

from dataclasses import replace
from functools import partial

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.sketch import Sketch

WHY = "K is more than it can tell"


class Hesitant(Covariance):
    """Sums of which all is known after a first pass. ``unfit``: by layer, the samples after which it is."""

    def __init__(self, *arguments, unfit, **sizes):
        super().__init__(*arguments, **sizes)
        self.unfit = unfit

    def end_pass(self, progress=None):
        super().end_pass(progress)
        if self.samples >= self.unfit.get(self.precision.layer, float("inf")):
            raise Unfit(WHY)

    def satisfied(self, options):
        return self.precision.layer not in self.unfit


def hesitate(monkeypatch, unfit, passes=2, always=False):
    """Let it stand for sketches; ``always``: also where layers were unfit before."""
    usual = Sketch.candidate

    def candidate(layer, setting):
        if setting.exact and not always:
            return usual(layer, setting)
        offer = Covariance.candidate(layer, setting)
        make = partial(Hesitant, *offer.make.args, unfit=unfit, **offer.make.keywords)
        return replace(offer, method="sketch", exact=False, operations=1.0, passes=passes, make=make)

    monkeypatch.setattr(Sketch, "candidate", candidate)
