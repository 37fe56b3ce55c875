"""Reading Verilator's coverage counts and reporting them."""

from tests.sim.rtl_coverage import Point, merge, read_points, totals, write_report

RECORDS = (
    "# SystemC::Coverage-3\n"
    "C '\x01t\x02line\x01page\x02v_line/a\x01f\x02/x/a.v\x01l\x022\x01n\x023\x01o\x02block"
    "\x01h\x02TOP.a0' 4\n"
    "C '\x01t\x02line\x01page\x02v_line/a\x01f\x02/x/a.v\x01l\x022\x01n\x023\x01o\x02block"
    "\x01h\x02TOP.a1' 0\n"
    "C '\x01t\x02toggle\x01page\x02v_toggle/a\x01f\x02/x/a.v\x01l\x023\x01n\x021"
    "\x01o\x02b[0]:0->1\x01h\x02TOP.a0' 0\n"
)


def test_instances_and_runs_add_up():
    counts = read_points(RECORDS.encode())
    line, bit = Point("line", 2, 3, "block"), Point("toggle", 3, 1, "b[0]:0->1")
    assert counts == {line: 4, bit: 0}
    assert merge([counts, counts]) == {line: 8, bit: 0}
    assert totals(counts) == {"line": (1, 1), "toggle": (0, 1)}
    assert totals(counts)["line"].percent == 100


def test_report_marks_what_was_missed(tmp_path):
    source = tmp_path / "a.v"
    source.write_text("module a;\n  always\n  reg b;\nendmodule\n")
    write_report(tmp_path / "report", source, read_points(RECORDS.encode()))
    annotated = (tmp_path / "report" / "annotated.v").read_text().splitlines()
    assert [line[:9] for line in annotated] == [" " * 9, " 00000004", "%00000000", " " * 9]
    assert (tmp_path / "report" / "missed.txt").read_text() == "a:3: toggle b[0]:0->1\n"
    info = (tmp_path / "report" / "coverage.info").read_text()
    assert "DA:2,4\nDA:3,0\nend_of_record" in info
