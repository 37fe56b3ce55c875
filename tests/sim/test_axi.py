"""The accelerator through its AXI ports alone, with independent bus masters."""

import numpy as np
import pytest
from termac.compile import compile_graph
from termac.image import save_image
from termac_sim import device

from tests.sim.random_layers import CONFIGS, SHORT_CONFIGS
from tests.sw.random_graphs import Builder, random_input

pytest.importorskip("cocotbext.axi")

TESTS = (
    "host_loads_runs_and_reads",
    "memories_are_closed_while_busy",
    "registers_tell_the_truth",
    "bad_programs_end_in_named_errors",
    "watchdog_and_program_address",
)


def network(config):
    """Small, but with several layers, a residual, pooling and more than one row tile."""
    build = Builder(np.random.default_rng(3), (7, 6, 5))
    build.conv(config.rows + 3, stride=(2, 1), bits=6)
    start = build.last
    build.conv(config.rows + 3, bits=7, density=0.5)
    build.add(build.last, start)
    build.max_pool((2, 2), (2, 2))
    build.dense(10)
    return build.graph("axi")


def run(config, tests, tmp_path):
    image = compile_graph(network(config), config)
    assert any("add2" in layer.nodes for layer in image.layers)
    save_image(image, tmp_path / "image")
    inputs = np.stack([random_input(image.graph, seed) for seed in range(2)])
    np.save(tmp_path / "inputs.npy", inputs)
    result = device.run_bench(
        device.build_core(config),
        "termac_sim.benches.axi",
        parameters={"image": str(tmp_path / "image"), "inputs": str(tmp_path / "inputs.npy")},
        test_filter="|".join(tests),
    )
    assert sorted(case.name for case in result.cases) == sorted(tests)
    assert {case.status for case in result.cases} == {"passed"}


@pytest.mark.parametrize("test", TESTS)
def test_axi(test, tmp_path):
    run(CONFIGS[0], [test], tmp_path)


@pytest.mark.parametrize("test", TESTS[:2])
def test_axi_with_counts_that_are_no_powers_of_two(test, tmp_path):
    run(CONFIGS[1], [test], tmp_path)


@pytest.mark.parametrize(
    "config", [c for c in SHORT_CONFIGS if c.cell != "bit_plane"], ids=lambda config: config.name
)
def test_every_cell_names_its_errors(config, tmp_path):
    run(config, [TESTS[3]], tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config", CONFIGS[1:], ids=lambda config: config.name)
def test_axi_on_every_shape(config, tmp_path):
    run(config, TESTS, tmp_path)
