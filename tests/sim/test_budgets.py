"""Term budgets at run time: one accelerator, one simulation, one network at several budgets."""

import hashlib

import numpy as np
import pytest
from termac.compile import compile_graph
from termac.compress import quantize
from termac.compress.terms.allowance import Allowance
from termac.compress.terms.network import fit_terms
from termac.device.compare import check_cycles, compare
from termac.examples import datasets
from termac.frontend import load_onnx
from termac.graph import golden
from termac_sim import device

from tests.sim.random_layers import SHORT_CONFIGS
from tests.sim.test_networks import MODELS

BUDGETS = {
    "term": (Allowance(16), Allowance(12), Allowance(8)),
    "term_pair": (Allowance(8, 3), Allowance(6, 2), Allowance(4, 1)),
}


@pytest.mark.parametrize("cell", BUDGETS)
def test_a_budget_is_another_program_for_the_same_verilog(cell):
    pytest.importorskip("sklearn")
    config = next(config for config in SHORT_CONFIGS if config.cell == cell)
    data = datasets.digits()
    model = load_onnx(MODELS / "digits.onnx")
    graph = quantize(model, data.train.images[:200])
    images, cycles, accuracies, sources = [], [], [], set()
    for allowance in BUDGETS[cell]:
        fitted = fit_terms(
            model, graph, data.train.images[:24], lanes=config.lanes, allowance=allowance,
            shared=cell == "term",
        )  # fmt: skip
        image = compile_graph(fitted.graph, config)
        sources.add(hashlib.sha256(device.core_verilog(image.config).encode()).hexdigest())
        x = golden.quantize_input(fitted.graph, data.test.images)
        y = golden.run(fitted.graph, x, outputs_only=True)[fitted.graph.output]
        accuracies.append((y.reshape(len(x), -1).argmax(axis=1) == data.test.labels).mean())
        images.append((image, x[:2]))
        cycles.append(image.cycles)
    assert len(sources) == 1
    results = device.run_images(device.build_core(config), images, tensors=True)
    for (image, x), result in zip(images, results, strict=True):
        compare(image, result, golden.run(image.graph, x))
        check_cycles(image, result)
        assert result.total_cycles.tolist() == [image.cycles] * len(x)
    assert cycles[0] > cycles[1] > cycles[2], "fewer terms, fewer cycles"
    assert accuracies[0] >= 0.97
    assert np.diff(accuracies).max() <= 0.02, "a smaller budget does not help"
    assert len({tuple(result.outputs.ravel()) for result in results}) == len(results)
