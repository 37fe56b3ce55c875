"""What the backdoor puts into the memories of the core, without a simulation."""

import numpy as np
import pytest
from termac.arch.memory_map import MemoryMap
from termac.compile import compile_graph
from termac.errors import InputError
from termac_sim.device import run_images
from termac_sim.host import memory_contents

from tests.sim.random_layers import SHORT_CONFIGS
from tests.sw.random_graphs import random_graph, random_input, split_into_terms


def written(image, blocks):
    """Words by memory and address, as a backdoor writes the blocks."""
    memory_map = MemoryMap(image.config)
    found = {}
    for block in blocks:
        region, first = memory_map.entry(block.address)
        entries = region.entries(block.words)
        for path, words in memory_contents(image.config, region.name, entries).items():
            memory = found.setdefault(path, {})
            assert not set(memory) & set(range(first, first + len(words)))
            memory |= dict(enumerate(words, first))
    return found


@pytest.mark.parametrize("config", SHORT_CONFIGS, ids=lambda config: config.name)
def test_memories_of_the_core_hold_the_image(config):
    image = compile_graph(split_into_terms(random_graph(2), config, 2), config)
    found = written(image, [block for blocks in image.blocks().values() for block in blocks])
    wanted = {"sequencer.words": image.program.tolist(), "engine.taps": image.taps.tolist()}
    for g in range(config.drains):
        rows = image.weights[:, g * config.segments : (g + 1) * config.segments].tolist()
        wanted[f"weights_{g}.words"] = [
            sum(weight << config.weight_width * j for j, weight in enumerate(row)) for row in rows
        ]
        values = {name: column[:, g].tolist() for name, column in image.parameters.items()}
        wanted[f"drain_{g}.accumulator.biases"] = [bias % (1 << 32) for bias in values["bias"]]
        wanted[f"drain_{g}.accumulator.scales"] = [
            multiplier | shift << 31
            for multiplier, shift in zip(values["multiplier"], values["shift"], strict=True)
        ]
    assert found == {path: dict(enumerate(words)) for path, words in wanted.items()}


@pytest.mark.parametrize("config", SHORT_CONFIGS, ids=lambda config: config.name)
def test_banks_hold_the_bytes_of_their_lanes(config):
    image = compile_graph(split_into_terms(random_graph(2), config, 2), config)
    words = image.store_input(random_input(image.graph, 1))
    blocks = MemoryMap(config).pack_activations(words, 3)
    wanted = {
        f"bank_{bank}.words": {
            3 + index: int.from_bytes(
                bytes(word[bank * config.lanes : (bank + 1) * config.lanes].tolist()), "little"
            )
            for index, word in enumerate(words)
        }
        for bank in range(config.banks)
    }
    assert len(words) == image.input.words
    assert written(image, blocks) == wanted
    np.testing.assert_array_equal(
        MemoryMap(config).unpack_activations(blocks[0].words).view(np.uint8), words
    )


@pytest.mark.parametrize("wrong", ["a batch less", "none", "a line less"])
def test_inputs_are_refused_before_anything_is_simulated(tmp_path, wrong):
    image = compile_graph(random_graph(2), SHORT_CONFIGS[1])
    x = random_input(image.graph, 1)[None]
    given = {"a batch less": x[0], "none": x[:0], "a line less": x[:, 1:]}[wrong]
    with pytest.raises(InputError, match=r"input must be a batch|shape must be"):
        run_images(tmp_path, [(image, given)])
