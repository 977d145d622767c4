//! Comma-separated values, for spreadsheets.
//!
//! Invariant: no cell is a formula, whatever a name in it begins with.

/// A document of rows, the first of which is the header; none is an empty cell.
pub fn csv(rows: impl IntoIterator<Item = Vec<Option<String>>>) -> Vec<u8> {
    let mut document = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                document.push(b',');
            }
            document.extend_from_slice(written(cell.as_deref().unwrap_or("")).as_bytes());
        }
        document.extend_from_slice(b"\r\n");
    }
    document
}

/// A cell; what a spreadsheet would compute has an apostrophe before it (OWASP, "CSV Injection").
fn written(cell: &str) -> String {
    let is_number = cell
        .strip_prefix(['-', '+'])
        .unwrap_or(cell)
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let computes = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let cell = if computes { format!("'{cell}") } else { cell.to_owned() };
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_it_says_and_no_formula() {
        let row = |cells: &[Option<&str>]| cells.iter().map(|cell| cell.map(str::to_owned)).collect();
        let written = csv([
            row(&[Some("a"), Some("b")]),
            row(&[Some("-1.5"), None]),
            row(&[Some("=1+1"), Some("x,\"y\"")]),
            row(&[Some("-a"), Some("two\nlines")]),
        ]);
        let expected = "a,b\r\n-1.5,\r\n'=1+1,\"x,\"\"y\"\"\"\r\n'-a,\"two\nlines\"\r\n";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
    }
}
