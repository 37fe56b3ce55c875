"""Every rule of a configuration at its bound: the last that holds, the first that does not."""

from dataclasses import asdict, fields, replace
from importlib import resources

import pytest
from termac.arch import Config, load_config, preset_names
from termac.arch.config import _RULES
from termac.errors import ConfigError, did_you_mean

GOOD = Config(
    name="good", rows=16, columns=16, lanes=8, segments=8, activation_depth=64, weight_depth=64,
    parameter_depth=16, program_depth=128, tap_depth=64,
)  # fmt: skip
NUMBERS = [field.name for field in fields(Config) if field.name not in ("name", "cell")]

# Key, changes that hold, changes that do not, what the message says.
CASES = [
    ("cell", {"cell": "term"}, {"cell": "nand"}, "one of 'bit_plane', 'bit_serial', 'term', 'term"),
    ("cell", {"cell": "bit_serial"}, {"cell": ["term"]}, "one of 'bit_plane'"),
    ("lanes", {"lanes": 16}, {"lanes": 12}, "1, 2, 4, 8 or 16"),
    ("lanes", {"lanes": 4, "rows": 8}, {"lanes": 32}, "1, 2, 4, 8 or 16"),
    ("segments", {"segments": 4}, {"segments": 2}, "4 or 8"),
    ("segments", {"segments": 8}, {"segments": 16}, "4 or 8"),
    ("shared_rows", {"shared_rows": 8}, {"shared_rows": 3}, "1, 2, 4 or 8, and at most segments=8"),
    ("shared_rows", {"segments": 4, "shared_rows": 4}, {"segments": 4, "shared_rows": 8},
     "1, 2, 4 or 8, and at most segments=4"),
    ("rows", {"rows": 8}, {"rows": 12}, "a multiple of segments=8"),
    ("columns", {"columns": 24, "rows": 24}, {"columns": 20}, "a multiple of segments=8"),
    ("rows", {"rows": 256, "columns": 128, "weight_depth": 128},
     {"rows": 264, "columns": 128}, "at most 256"),
    ("columns", {"columns": 128, "rows": 128, "weight_depth": 128},
     {"columns": 136, "rows": 136, "weight_depth": 136}, "at most 128"),
    ("lanes", {"lanes": 4, "columns": 16, "rows": 8}, {"lanes": 2, "columns": 16, "rows": 8},
     r"such that lanes\*columns/segments \(now 4 bytes, a memory word\) is a multiple of seg"),
    ("rows", {"rows": 8}, {"rows": 24}, "a multiple or a divisor of the 16 bytes of a memory word"),
    ("rows", {"columns": 8, "rows": 64}, {"columns": 8, "rows": 128},
     r"such that a byte bank is written at most segments=8 times a vector \(now 16: 16 words"),
    ("activation_depth", {"activation_depth": 1 << 16}, {"activation_depth": (1 << 16) + 1},
     "at most 65536"),
    ("weight_depth", {"weight_depth": 1 << 20}, {"weight_depth": (1 << 20) + 1}, "at most 1048576"),
    ("parameter_depth", {"parameter_depth": 1 << 16}, {"parameter_depth": (1 << 16) + 1},
     "at most 65536"),
    ("accumulator_depth", {"accumulator_depth": 1 << 10}, {"accumulator_depth": (1 << 10) + 1},
     "at most 1024"),
    ("program_depth", {"program_depth": 1 << 16}, {"program_depth": (1 << 16) + 1},
     "at most 65536"),
    ("tap_depth", {"tap_depth": 1 << 16}, {"tap_depth": (1 << 16) + 1}, "at most 65536"),
    ("weight_depth", {"weight_depth": 16}, {"weight_depth": 15}, r"at least one tile \(columns\)"),
    ("tap_depth", {"tap_depth": 8}, {"tap_depth": 7}, r"at least one pass \(segments\)"),
    ("activation_depth", {"activation_depth": 2}, {"activation_depth": 1}, "at least 2"),
    ("accumulator_depth", {"accumulator_depth": 2}, {"accumulator_depth": 1}, "at least 2"),
    ("parameter_depth", {"parameter_depth": 8}, {"parameter_depth": 7}, "at least segments"),
    ("program_depth", {"program_depth": 64}, {"program_depth": 63}, "at least 64"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "holds", "breaks", "message"), CASES)
def test_rules_hold_up_to_their_bound(key, holds, breaks, message):
    replace(GOOD, **holds)
    with pytest.raises(ConfigError, match=rf"config 'good': {key} must be {message}.*, not "):
        replace(GOOD, **breaks)


def test_every_rule_has_a_case():
    """The messages of the cases are those of all rules: none is left out of CASES."""
    reached = set()
    for _, _, breaks, _ in CASES:
        with pytest.raises(ConfigError):
            replace(GOOD, **breaks)
        broken = object.__new__(Config)
        for name, value in {**asdict(GOOD), **breaks}.items():
            object.__setattr__(broken, name, value)
        reached.add(next(i for i, rule in enumerate(_RULES) if not rule.holds(broken)))
    assert reached == set(range(len(_RULES)))


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("wrong", [0, -8, 8.0, True, "8", None])
def test_numbers_are_positive_integers(key, wrong):
    with pytest.raises(ConfigError, match=rf"{key} must be a positive integer, not {wrong!r}"):
        replace(GOOD, **{key: wrong})


def test_what_follows_from_the_numbers():
    wide = replace(GOOD, rows=8, columns=32)
    assert (wide.word_bytes, wide.banks, wide.drains, wide.unit) == (32, 4, 1, 8)
    assert (wide.words_per_tile, wide.tiles_per_word) == (1, 4)
    tall = replace(GOOD, rows=64, columns=8, lanes=8)
    assert (tall.word_bytes, tall.banks, tall.drains, tall.cells) == (8, 1, 8, 512)
    assert (tall.words_per_tile, tall.tiles_per_word, tall.bank_writes) == (8, 1, 8)
    assert [replace(GOOD, lanes=n).lane_width for n in (8, 16)] == [3, 4]


def test_the_digest_names_everything_but_the_name():
    assert replace(GOOD, name="other").digest == GOOD.digest
    assert GOOD.hash32 == int(GOOD.digest[:8], 16)
    changed = {replace(GOOD, **{key: 2 * getattr(GOOD, key)}).digest for key in NUMBERS if (
        key not in ("segments", "rows")
    )}  # fmt: skip
    assert len(changed | {GOOD.digest}) == len(NUMBERS) - 1


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_by_name_and_as_files(name, tmp_path):
    config = load_config(name)
    assert config.name == name
    text = resources.files("termac.arch").joinpath("presets", f"{name}.toml").read_text()
    (tmp_path / "copy.toml").write_text(text)
    copy = load_config(tmp_path / "copy.toml")
    assert (copy.name, copy.digest) == ("copy", config.digest)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tny", "tiny"), ("sqare", "square"), ("TERM_PAIR", "term-pair"), ("ecp5", "ecp5-85f")],
)
def test_names_close_to_a_preset_are_suggested(name, meant):
    with pytest.raises(ConfigError, match=rf"'{name}' \(did you mean '{meant}'\?\); presets: bit"):
        load_config(name)


def test_far_names_get_the_list_alone():
    with pytest.raises(ConfigError, match=r"no preset and no file named 'zzz'; presets: bit"):
        load_config("zzz")
    assert did_you_mean("zzz", ["tiny", "term"]) == ""


def toml(**changes):
    values = {**asdict(GOOD), **changes}
    return "".join(
        f"{key} = {value!r}\n" for key, value in values.items() if value is not None
    ).replace("True", "true")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": 8}, r"unknown key 'row' \(did you mean 'rows'\?\); known: name, cell, rows, "),
        ({"Activation_Depth": 8}, r"'Activation_Depth' \(did you mean 'activation_depth'\?\)"),
        ({"zzz": 8}, r"unknown key 'zzz'; known: name"),
        ({"rows": None}, r"missing key 'rows'"),
        ({"tap_depth": None}, r"missing key 'tap_depth'"),
        ({"rows": "16"}, r"rows must be of type int"),
        ({"lanes": 8.0}, r"lanes must be of type int"),
        ({"columns": True}, r"columns must be of type int"),
        ({"cell": 3}, r"cell must be of type str"),
        ({"name": 3}, r"name must be of type str"),
    ],
)
def test_keys_of_a_file(tmp_path, changes, message):
    path = tmp_path / "mine.toml"
    path.write_text(toml(**changes))
    with pytest.raises(ConfigError, match=rf"mine.toml: .*{message}"):
        load_config(path)


def test_keys_with_a_default_may_be_left_out(tmp_path):
    path = tmp_path / "mine.toml"
    left = dict.fromkeys(("name", "cell", "segments", "shared_rows", "accumulator_depth"))
    path.write_text(toml(**left))
    assert load_config(path) == replace(GOOD, name="mine")
