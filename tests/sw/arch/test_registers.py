import pytest
from termac.arch import load_config
from termac.arch.registers import (
    COUNTERS,
    ERROR_TEXT,
    LOG_ENTRIES,
    REGISTER_ADDRESS_WIDTH,
    REGISTERS,
    Access,
    ErrorCode,
)


def test_offsets_are_aligned_distinct_and_ascending():
    offsets = [register.offset for register in REGISTERS.values()]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 1 << REGISTER_ADDRESS_WIDTH for offset in offsets)


def test_every_register_and_field_is_documented_and_fits():
    config = load_config("tiny")
    for name, register in REGISTERS.items():
        assert register.name == name == name.upper()
        assert register.doc.endswith(".")
        assert register.fields.width <= 32
        assert all(field.doc and field.width for field in register.fields.fields)
        assert register.reset_value(config) < 1 << register.fields.width


def test_counters_are_registers_of_32_bits():
    for name in COUNTERS:
        register = REGISTERS[name.upper()]
        (field,) = register.fields.fields
        assert (register.access, field.width) == (Access.READ_ONLY, 32)
        assert register.port(field) == name


def test_pack_and_unpack():
    status = REGISTERS["STATUS"]
    assert status.pack(busy=1) == 1
    assert status.pack(done=1, error=1) == 6
    assert status.unpack(2) == {"busy": 0, "done": 1, "error": 0}
    with pytest.raises(ValueError, match=r"status.busy is 2, must be within 0..1"):
        status.pack(busy=2)
    with pytest.raises(KeyError, match="status has no field 'ready'"):
        status.pack(ready=1)


def test_resets():
    one, other = load_config("tiny"), load_config("square")
    assert REGISTERS["CONFIG_HASH"].reset_value(one) == one.hash32
    assert REGISTERS["CONFIG_HASH"].reset_value(other) == other.hash32
    assert REGISTERS["WATCHDOG"].reset_value(one) == 0xFFFF_FFFF


def test_fields_hold_what_the_hardware_has():
    assert set(ERROR_TEXT) == set(ErrorCode)
    assert max(ErrorCode) <= REGISTERS["ERROR"].fields["code"].limits[1]
    assert REGISTERS["ERROR"].values is ErrorCode
    assert REGISTERS["LOG_INDEX"].fields["value"].limits[1] == LOG_ENTRIES - 1
    assert REGISTERS["CONTROL"].access is Access.PULSE
