"""The registers as ports: what the register file and the blocks that have the values share."""

from amaranth.hdl import Shape
from amaranth.lib.wiring import In, Out
from termac.arch.registers import REGISTERS, Access

__all__ = ["register_ports", "register_texts"]


def register_ports(config):
    """Ports through which the registers exchange values with the rest of the accelerator.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Returns
    -------
    dict from name to :class:`amaranth.lib.wiring.Member`
        As the register file sees them: what the host writes is Out, what it reads is In. Names,
        widths and reset values follow from :data:`termac.arch.registers.REGISTERS`.
    """
    ports = {}
    for register in REGISTERS.values():
        if register.is_constant:
            continue
        resets = register.unpack(register.reset_value(config))
        for field in register.fields.fields:
            name, width = register.port(field), field.width
            if name in ports and Shape.cast(ports[name].shape).width >= width:
                continue  # a flag that says whether the other is not 0
            if register.access is Access.READ_ONLY:
                ports[name] = In(register.values or width)
            else:
                ports[name] = Out(width, init=resets[field.name])
    return ports


def register_texts():
    """What the documentation says of the registers that are one port, by the port's name."""
    return {
        register.port(field): register.doc
        for register in REGISTERS.values()
        for field in register.fields.fields
        if len(register.fields.fields) == 1 and not register.is_constant
    }
