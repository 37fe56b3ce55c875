"""The gates of a bit-plane cell in Lattice ECP5 primitives.

The generated Verilog needs none of this. Read after it, with ``read_verilog -overwrite``, it takes
a cell (12-bit sums, yosys 0.70, LUT4 + 2 CCU2C) from 26 to 16 LUT-eq at 8 lanes and from 41 to 20
at 16; flip-flops stay 44 and 54.
"""

from termac.arch import Config

__all__ = ["ecp5_gates"]

_GATED_ADD = """\
// A CCU2C of INIT 96AA adds A and B where D is 1 and passes A where D is 0.
module termac_gated_add(addend, value, enable, total);
  localparam WIDTH = {width};
  localparam SLICES = (WIDTH + 1) / 2;
  input [WIDTH-1:0] addend;
  input [7:0] value;
  input enable;
  output [WIDTH-1:0] total;
  wire [2*SLICES-1:0] a = addend;
  wire [2*SLICES-1:0] b = {{{{2*SLICES-8{{value[7]}}}}, value}};
  wire [2*SLICES-1:0] sum;
  wire [SLICES:0] carry;
  assign carry[0] = 1'b0;
  assign total = sum[WIDTH-1:0];
  genvar i;
  generate for (i = 0; i < SLICES; i = i + 1) begin : slice
    CCU2C #(
      .INIT0(16'h96AA), .INIT1(16'h96AA), .INJECT1_0("NO"), .INJECT1_1("NO")
    ) add (
      .CIN(carry[i]), .COUT(carry[i+1]),
      .A0(a[2*i]), .B0(b[2*i]), .C0(1'b0), .D0(enable), .S0(sum[2*i]),
      .A1(a[2*i+1]), .B1(b[2*i+1]), .C1(1'b0), .D1(enable), .S1(sum[2*i+1])
    );
  end endgenerate
endmodule
"""

_SELECT = """
// Pairs of lanes in LUT4, pairs of those in PFUMX, the rest of the tree in L6MUX21.
module termac_select(lanes, lane, selected);
  localparam LANES = {lanes};
  input [LANES-1:0] lanes;
  input [{lane_width}-1:0] lane;
  output selected;
  wire [LANES-1:1] node;  // a heap: node n chooses between nodes 2n and 2n+1
  assign selected = node[1];
{nodes}endmodule
"""


def ecp5_gates(config: Config) -> str:
    """Verilog of ``termac_gated_add`` and ``termac_select`` for a configuration."""
    text = _GATED_ADD.format(width=config.sum_width)
    if config.lanes == 1:
        return text
    nodes = []
    for node in range(config.lanes - 1, 0, -1):
        level = config.lane_width - node.bit_length()  # 0: leaves
        low, high, select = f"node[{2 * node}]", f"node[{2 * node + 1}]", f"lane[{level}]"
        if level == 0:
            first = 2 * node - config.lanes
            nodes.append(
                f"  LUT4 #(.INIT(16'hCACA)) mux_{node} (.A(lanes[{first}]), "
                f".B(lanes[{first + 1}]), .C({select}), .D(1'b0), .Z(node[{node}]));\n"
            )
        elif level == 1:
            nodes.append(
                f"  PFUMX mux_{node} (.BLUT({low}), .ALUT({high}), .C0({select}), "
                f".Z(node[{node}]));\n"
            )
        else:
            nodes.append(
                f"  L6MUX21 mux_{node} (.D0({low}), .D1({high}), .SD({select}), "
                f".Z(node[{node}]));\n"
            )
    return text + _SELECT.format(
        lanes=config.lanes, lane_width=config.lane_width, nodes="".join(nodes)
    )
