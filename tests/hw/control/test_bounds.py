"""Every named error at its exact bound, on every cell; the log's end; programs that are stopped."""

import pytest
from termac.arch.registers import LOG_ENTRIES, ErrorCode
from termac.arch.timing import END_OVERHEAD, PROGRAM_OVERHEAD, layer_cycles, program_cycles

from tests.hw.control.bound_cases import cases, watched
from tests.hw.control.bounds import CELLS, CONFIGS, Case, good, run_cases


@pytest.mark.parametrize("name", CONFIGS)
def test_the_last_legal_value_runs_and_the_next_is_a_named_error(name):
    config = CONFIGS[name]
    programs = cases(config)
    codes = {case.code for case in programs}
    assert codes >= {ErrorCode.GEOMETRY, ErrorCode.ADDRESS}
    assert (codes >= {ErrorCode.CONFIG, ErrorCode.OPCODE}) == (name in CELLS)
    assert (ErrorCode.BUDGET in codes) == (config.cell != "bit_plane")
    assert len(run_cases(config, programs)) == len(programs)


def test_64_layers_are_logged_and_no_more():
    config = CONFIGS["bit_plane"]
    layers = [good(config, vectors=1 + n % 3) for n in range(LOG_ENTRIES)]
    case = Case("beyond", [*layers, good(config, vectors=4)], layer=LOG_ENTRIES + 1)
    found = run_cases(config, [case], log=LOG_ENTRIES)[case.name]
    ends, end = [], PROGRAM_OVERHEAD
    for layer in layers:
        end += layer_cycles(config, layer.timing)
        ends.append(end)
    assert found.log == ends


@pytest.mark.parametrize("name", CELLS)
def test_the_watchdog_stops_a_program_in_the_last_cycle_that_it_allows(name):
    programs = watched(CONFIGS[name])
    assert len(run_cases(CONFIGS[name], programs)) == len(programs)


def test_outputs_that_were_not_written_are_an_error_of_their_layer():
    """No program gets there; so the drains' report is driven here."""
    config = CONFIGS["bit_plane"]
    programs = []
    for layer in (0, 2):
        layers = [good(config)] * 3
        programs.append(Case(f"overrun {layer}", layers, ErrorCode.OVERRUN, layer, overrun=layer))
        programs.append(Case(f"after {layer}", layers, layer=3))
    assert len(run_cases(config, programs)) == 4


@pytest.mark.parametrize("name", ["bit_plane", "term", "term_pair"])
def test_a_program_that_is_stopped_anywhere_leaves_nothing_behind(name):
    """The watchdog stops a layer of several passes and chunks; a short program follows at once."""
    config = CONFIGS[name]
    wide = {"vectors": 7, "out_width": 7, "in_width": 7, "passes": 2, "row_tiles": 2}
    long, short = [good(config, **wide)], [good(config, in_origin=30, out_base=110)]
    whole = program_cycles(config, [layer.timing for layer in long])
    programs = []
    for limit in (*range(1, 6), *range(6, whole - 1, max(1, whole // 9)), whole - 2, whole - 1):
        layer = int(limit > whole - END_OVERHEAD)  # the layer is through, END is being fetched
        name = f"stopped by {limit}"
        programs.append(Case(name, long, ErrorCode.WATCHDOG, layer, watchdog=limit))
        programs.append(Case(f"after {limit}", short, layer=1))
    for limit in (whole, whole + 1, 0):
        programs.append(Case(f"within {limit}", long, layer=1, watchdog=limit))
    assert len(run_cases(config, programs)) == len(programs)
