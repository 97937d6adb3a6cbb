from pathlib import Path

from smlmbatch.analyse import columns
from smlmbatch.analyse.columns import DESCRIPTOR_COLUMNS, FIELD_COLUMNS, ROI_COLUMNS, table_of_columns
from smlmbatch.analyse.tables import read_tables, write_tables


def test_documentation_is_generated():
    text = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    assert text == table_of_columns(), "run: python -m smlmbatch.analyse.columns > docs/tables.md"


def test_every_column_of_the_files_is_described(made, tmp_path):
    write_tables(made.study(tmp_path, n_locs=500), fingerprint="f")
    for table in read_tables(tmp_path):
        for column in table.schema:
            kind = str(column.type).replace("element: ", "").replace("item: ", "").replace(f" ('{column.name}')", "")
            assert any(line.startswith(f"| `{column.name}` | {kind} |") for line in table_of_columns().splitlines()), column


def test_columns_say_their_unit_and_meaning():
    for name, column in (*FIELD_COLUMNS.items(), *ROI_COLUMNS.items(), *DESCRIPTOR_COLUMNS.items()):
        assert column.text.endswith("."), name
        ending = next(
            (
                unit
                for suffix, unit in (("_per_um2", "1/um2"), ("_um2", "um2"), ("_nm2", "nm2"), ("_um", "um"), ("_nm", "nm"))
                if name.endswith(suffix)
            ),
            None,
        )
        assert ending is None or column.unit == ending, name
    assert not set(ROI_COLUMNS) & set(columns.DESCRIPTORS)
