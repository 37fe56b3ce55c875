"""Words of a term-pair array with what they are worth, and a row of it to drive."""

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch.cells import DATA_TERMS, TERMS
from termac.terms import encode
from termac_hw.array.row import RowGroup
from termac_hw.cells import cell_kind
from termac_hw.cells.term_encoder import UNUSED
from termac_hw.cells.term_pair import Feeder, RowEnd


def largest(values, count, encoding="naf"):
    """Terms (lane, exponent, sign) of a group, largest first, at most ``count``."""
    digits = encode(np.asarray(values), encoding)
    places = [(lane, place) for place in reversed(range(9)) for lane in range(len(values))]
    terms = [(lane, place, int(digits[lane, place])) for lane, place in places]
    return [term for term in terms if term[2]][:count]


def data_word(values, count):
    """What an encoder makes of the activations of a column, and what they are worth then."""
    word, worth = 0, []
    for lane, value in enumerate(values):
        terms = largest([value], count)
        worth.append(sum(sign << exponent for _, exponent, sign in terms))
        packed = [exponent | (sign < 0) << 4 for _, exponent, sign in terms]
        packed += [UNUSED] * (DATA_TERMS - len(packed))
        for index, term in enumerate(packed):
            word |= term << 5 * (DATA_TERMS * lane + index)
    return word, worth


def weight_words(layout, values, count):
    """What a cell stores for the weights of a group, and what they are worth then."""
    terms = largest(values, count)
    worth = [0] * len(values)
    for lane, exponent, sign in terms:
        worth[lane] += sign << exponent
    words = [
        layout.pack_one(lane=lane, negative=sign < 0, exponent=exponent, used=1)
        for lane, exponent, sign in terms
    ]
    unused = layout.pack_one(lane=0, negative=1, exponent=7, used=0)
    return words + [unused] * (count - len(words)), worth


class Chain(wiring.Component):
    """Feeders, one group of rows and their row ends."""

    def __init__(self, config):
        self.config = config
        self.feeders = [Feeder(config) for _ in range(config.columns)]
        self.group = RowGroup(config)
        self.ends = [RowEnd(config) for _ in range(config.shared_rows)]
        super().__init__({"terms": In(range(TERMS + 1)), "lanes": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.group = self.group
        width = cell_kind("term_pair").lane_bundle_width(self.config)
        for column, feeder in enumerate(self.feeders):
            m.submodules[f"feeder_{column}"] = feeder
            bundle = self.group.lanes_in[column * width : (column + 1) * width]
            m.d.comb += [bundle.eq(feeder.lanes), feeder.terms.eq(self.terms)]
        for row, end in enumerate(self.ends):
            m.submodules[f"end_{row}"] = end
            m.d.comb += end.sum.eq(self.group.sums[row])
        return m
