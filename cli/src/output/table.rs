//! Tables as kubectl prints them: no borders, upper-case header, columns in a fixed order, three spaces
//! apart, a `-` where there is nothing. A table never wraps, so that `grep` and `awk` see one line for one
//! thing.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// Spaces between two columns.
const GAP: u16 = 3;

/// One column: its header, and the cell that a row's JSON gives.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) cell: fn(&Value) -> String,
}

/// A column; shorthand that keeps tables of columns readable.
pub(crate) const fn column(title: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { title, cell }
}

/// The table of `rows`; a header alone when there are none.
pub(crate) fn render(columns: &[Column], rows: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.title).collect::<Vec<_>>());
    for row in rows {
        table.add_row(columns.iter().map(|column| one_line(&(column.cell)(row))).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt()
}

fn one_line(cell: &str) -> String {
    match cell.trim() {
        "" => "-".to_owned(),
        text => text.replace(['\n', '\r', '\t'], " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::text;
    use serde_json::json;

    const COLUMNS: [Column; 3] = [
        column("NAME", |row| text(row, "name")),
        column("RUNNING", |row| text(row, "running")),
        column("REASON", |row| text(row, "reason")),
    ];

    #[test]
    fn columns_align_and_nothing_trails() {
        let rows = [
            json!({"name": "web", "running": 14}),
            json!({"name": "a-long-name", "running": 0, "reason": "a\nb"}),
        ];
        let expected = "\
NAME          RUNNING   REASON
web           14        -
a-long-name   0         a b";
        assert_eq!(render(&COLUMNS, &rows), expected);
        assert_eq!(render(&COLUMNS, &[]), "NAME   RUNNING   REASON");
    }
}
