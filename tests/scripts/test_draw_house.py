"""The picture of the house shows every room that there is, and no import that climbs."""

from draw_house import arrows, main, rooms

from tests.places import ROOT


def test_every_folder_and_file_is_a_room():
    drawn = {room.module for room in rooms()}
    for folder, package in (("sw", "termac"), ("hw", "termac_hw")):
        for entry in (ROOT / folder / package).iterdir():
            is_room = entry.suffix == ".py" or (entry / "__init__.py").exists()
            if is_room and entry.stem != "__init__":
                assert f"{package}.{entry.stem}" in drawn
    assert "termac_sim" in drawn


def test_imports_lead_down():
    every = rooms()
    height = {room.module: room.y for room in every}
    found = arrows(every)
    assert found["termac.compile", "termac.image"] > 0
    for importer, imported in found:
        if importer.split(".")[0] == imported.split(".")[0]:
            assert height[importer] > height[imported]


def test_the_picture_in_the_documentation_has_every_room(tmp_path):
    main(["--output", str(tmp_path / "house.svg")], standalone_mode=False)
    fresh, kept = (tmp_path / "house.svg").read_text(), (ROOT / "sw" / "house.svg").read_text()
    for room in rooms():
        assert f">{room.name}</text>" in fresh
        assert f">{room.name}</text>" in kept, "run python scripts/draw_house.py"
