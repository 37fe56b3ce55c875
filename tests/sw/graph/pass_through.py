"""A graph that hands its input on, for tests of what goes in and comes out."""

from termac.graph import Graph, Shortcut, Tensor

__all__ = ["pass_through"]


def pass_through(
    *, bits=8, layout=(2, 3, 4), shape=(3, 4, 2), channels_first=True, scale=0.5, zero_point=1
):
    """Input ``x`` and output ``y`` of one shape, scale and zero point."""
    return Graph(
        name="g",
        tensors={name: Tensor(name, shape, scale, zero_point, bits) for name in "xy"},
        nodes=[Shortcut(name="y", input="x", stride=(1, 1), before=0, after=0)],
        input="x",
        output="y",
        input_layout=layout,
        output_layout=layout,
        channels_first=channels_first,
    )
