"""Sequencer, loader and engine wired as in the core, and programs for them."""

import random

from amaranth.hdl import Elaboratable, Module
from amaranth.lib.wiring import connect
from termac.arch import DESCRIPTOR, HEADER, PASS, TAP, Opcode
from termac.arch.timing import LayerTiming
from termac_hw.control.descriptor import connect_fields
from termac_hw.control.engine import Engine
from termac_hw.control.loader import Loader
from termac_hw.control.sequencer import Sequencer

__all__ = ["Control", "Layer", "program", "random_layer"]


class Control(Elaboratable):
    """The three control blocks without the data path."""

    def __init__(self, config):
        self.loader, self.engine = Loader(config), Engine(config)
        fields = {*Engine.FIELDS, *Loader.fields(config)}
        self.sequencer = Sequencer(config, fields)

    def elaborate(self, platform):
        m = Module()
        sequencer, loader, engine = self.sequencer, self.loader, self.engine
        m.submodules.sequencer = sequencer
        m.submodules.loader = loader
        m.submodules.engine = engine
        connect(m, sequencer.control, engine.control, loader.control)
        connect(m, loader.passes, engine.passes)
        connect_fields(m, sequencer.descriptor, engine.layer)
        connect_fields(m, sequencer.descriptor, loader.layer)
        m.d.comb += [
            sequencer.record_address.eq(loader.record_address),
            loader.record.eq(sequencer.record),
            sequencer.running.eq(engine.running),
            sequencer.finished.eq(engine.finished),
            sequencer.address_error.eq(engine.address_error | loader.address_error),
        ]
        if sequencer.config.kind.terms:
            m.d.comb += loader.ended.eq(engine.ended)
        return m


class Layer:
    """A layer: descriptor fields by name, pass records and taps as dicts."""

    def __init__(self, fields, passes, taps):
        self.fields, self.passes, self.taps = fields, passes, taps

    @property
    def timing(self):
        f = self.fields
        return LayerTiming(
            row_tiles=f["row_tiles"], vectors=f["vectors"],
            last=[bool(p["sum_last"]) for p in self.passes],
            terms=f.get("terms", 0), time=f["time"], last_time=f["last_time"],
            residual=bool(f["residual"]),
        )  # fmt: skip


def random_layer(config, rng: random.Random) -> Layer:
    """A layer whose addresses all lie inside the memories."""
    segments = config.segments
    height, width, blocks = rng.randint(1, 6), rng.randint(1, 6), rng.randint(1, 2)
    stride_y, stride_x = rng.randint(1, 3), rng.randint(1, 3)
    out_width, out_height = rng.randint(1, 5), rng.randint(1, 5)
    planes = rng.randint(1, 8)
    residual = rng.randrange(2)
    passes = [
        {
            "weights": rng.randrange(0, 2 * config.columns),
            "sum_first": rng.randrange(2), "sum_last": rng.randrange(2),
            "pool_first": rng.randrange(2), "pool_last": rng.randrange(2),
        }
        for _ in range(rng.randint(1, 3))
    ]  # fmt: skip
    taps = []
    for _ in range(len(passes) * segments):
        dy, dx, block = rng.randint(-2, 2), rng.randint(-2, 2), rng.randrange(blocks)
        offset = (dy * width + dx) * blocks + block
        taps.append({"offset": offset, "dy": dy, "dx": dx, "valid": rng.random() < 0.9})
    origin_y, origin_x = rng.randint(-2, 0), rng.randint(-2, 0)
    base = 20
    fields = {
        "opcode": Opcode.LAYER, "beats": planes, "time": max(planes, segments) + rng.randrange(2),
        "last_time": max(planes, segments + config.words_per_tile) + rng.randrange(2),
        "align": 8 - rng.randint(1, 8), "residual": residual,
        "row_tiles": rng.randint(1, 3), "passes": len(passes),
        "vectors": out_width * out_height, "out_width": out_width,
        "in_height": height, "in_width": width, "pad": rng.randint(-128, 127),
        "origin_y": origin_y, "origin_x": origin_x, "stride_y": stride_y, "stride_x": stride_x,
        "in_origin": base + (origin_y * width + origin_x) * blocks, "in_step": stride_x * blocks,
        "in_wrap": (stride_y * width - stride_x * (out_width - 1)) * blocks, "in_tile": 0,
        "weights": rng.randrange(8), "weights_tile": rng.randrange(64),
        "parameters": segments * rng.randrange(4),
        "out_blocks": rng.randint(1, 3), "out_base": 100,
        "residual_origin": 200, "residual_step": rng.randint(1, 2), "residual_wrap": 3,
        "residual_low": 0, "residual_high": rng.randint(0, 3),
    }  # fmt: skip
    return Layer(fields, passes, taps)


def program(config, layers):
    """Program words and tap words of a list of layers; tables follow the records."""
    words = [HEADER.pack_one(opcode=Opcode.HEADER, config=config.hash32 & ((1 << 28) - 1))]
    records_at = 1 + len(layers) * len(DESCRIPTOR) + 1
    records, taps = [], []
    for layer in layers:
        fields = dict(layer.fields)
        fields["records"] = records_at + len(records)
        fields["taps"] = len(taps)
        records += [PASS.pack_one(**p) for p in layer.passes]
        taps += [TAP.pack_one(**tap) for tap in layer.taps]
        fields["table"] = 0
        words += [
            word.pack_one(**{f.name: fields[f.name] for f in word.fields if f.name in fields})
            for word in DESCRIPTOR
        ]
    words.append(HEADER.pack_one(opcode=Opcode.END))
    return words + records, taps
