//! Columns as Go's tabwriter lays them out, for scripts cut them apart at tabs.

const TAB: usize = 8;

/// Rows of equally many cells; each column is as wide as its widest cell and one more, up to the next tab stop.
pub(super) fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let length = |text: &String| text.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or_default())
        .map(|widest| (widest + 1).div_ceil(TAB) * TAB)
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column] - length(cell);
                text.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB)));
            }
        }
        text.push('\n');
    }
    text
}

/// A column by the name of its field, and what stands in it.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// The columns that are wanted, with or without their heads.
pub(super) fn select<T>(
    items: &[T],
    fields: &str,
    known: &[Column<T>],
    has_legend: bool,
) -> Result<String, String> {
    if fields.is_empty() {
        return Err("Must define output format".to_owned());
    }
    let wanted: Vec<&str> = fields.split(',').map(str::trim).collect();
    let mut columns = Vec::new();
    for field in &wanted {
        let Some((_, of)) = known.iter().find(|(name, _)| name == field) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(format!("Invalid key in output format: {field:?}\nhint: {}", names.join(",")));
        };
        columns.push(of);
    }
    let mut rows = Vec::new();
    if has_legend {
        rows.push(wanted.iter().map(|field| field.to_uppercase()).collect());
    }
    rows.extend(items.iter().map(|item| columns.iter().map(|of| of(item)).collect::<Vec<_>>()));
    Ok(lay_out(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_at_tab_stops() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["UNIT", "MACHINE", "ACTIVE"]), row(["a.service", "1234567", "-"])];
        assert_eq!(lay_out(&rows), "UNIT\t\tMACHINE\tACTIVE\na.service\t1234567\t-\n");
        // One character more, and the column needs another stop.
        let rows = [row(["UNIT", "MACHINE", "ACTIVE"]), row(["a.service", "12345678", "-"])];
        assert_eq!(lay_out(&rows), "UNIT\t\tMACHINE\t\tACTIVE\na.service\t12345678\t-\n");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let known: &[Column<u8>] = &[("unit", |n| n.to_string())];
        assert_eq!(select(&[7], "unit", known, false).unwrap(), "7\n");
        assert_eq!(select(&[7], "unit", known, true).unwrap(), "UNIT\n7\n");
        let error = select(&[7], "unit,bogus", known, true).unwrap_err();
        assert_eq!(error, "Invalid key in output format: \"bogus\"\nhint: unit");
        assert_eq!(select(&[7], "", known, true).unwrap_err(), "Must define output format");
    }
}
