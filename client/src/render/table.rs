//! Aligned tables that fit: where the width is short, the least important columns go first, then long cells are shortened;
//! where that is not enough, each row becomes a block of lines. What identifies a row is never cut. Pure.

use console::measure_text_width;

use super::text::{clean, shorten, wrap};

const GAP: usize = 2;
const NARROWEST: usize = 8;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// The highest rank is left out first; 0 never is.
    rank: u8,
    /// Its cells are never shortened.
    whole: bool,
}

/// A column of text.
pub(crate) const fn left(title: &'static str, rank: u8) -> Column {
    Column { title, right: false, rank, whole: false }
}

/// A column of numbers.
pub(crate) const fn right(title: &'static str, rank: u8) -> Column {
    Column { title, right: true, rank, whole: false }
}

/// A column that is always there and never shortened: what one copies.
pub(crate) const fn whole(title: &'static str) -> Column {
    Column { title, right: false, rank: 0, whole: true }
}

/// The lines of a table, titles first, each at most `width` columns where that is possible.
pub(crate) fn layout(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let natural: Vec<usize> = columns.iter().enumerate().map(|(at, c)| natural_width(at, c, &rows)).collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    while total(&shown, &natural) > width {
        let Some(last) =
            shown.iter().copied().filter(|at| columns[*at].rank > 0).max_by_key(|at| columns[*at].rank)
        else {
            break;
        };
        shown.retain(|at| *at != last);
    }
    let widths = shrunk(&shown, columns, natural, width);
    if total(&shown, &widths) > width && columns.iter().any(|c| c.whole) {
        return blocks(columns, &rows, width);
    }
    let titles: Vec<String> = columns.iter().map(|c| c.title.to_owned()).collect();
    std::iter::once(&titles).chain(&rows).map(|row| line(row, &shown, columns, &widths)).collect()
}

/// Each row as lines of its own, nothing left out; an empty line between them.
fn blocks(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let longest = columns.iter().map(|c| c.title.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            lines.push(String::new());
        }
        for (column, cell) in columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
            match column.whole {
                // Alone on its line: it is copied from there.
                true => lines.push(cell.clone()),
                false => lines.extend(wrap(&format!("  {:<longest$} ", column.title), cell, width)),
            }
        }
    }
    lines
}

fn natural_width(at: usize, column: &Column, rows: &[Vec<String>]) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| measure_text_width(cell));
    cells.chain([column.title.len()]).max().unwrap_or(0)
}

fn total(shown: &[usize], widths: &[usize]) -> usize {
    shown.iter().map(|at| widths[*at]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

fn shrunk(shown: &[usize], columns: &[Column], mut widths: Vec<usize>, width: usize) -> Vec<usize> {
    while total(shown, &widths) > width {
        let widest = shown
            .iter()
            .copied()
            .filter(|at| !columns[*at].right && !columns[*at].whole)
            .max_by_key(|at| widths[*at]);
        match widest {
            Some(at) if widths[at] > NARROWEST => widths[at] -= 1,
            _ => break,
        }
    }
    widths
}

fn line(row: &[String], shown: &[usize], columns: &[Column], widths: &[usize]) -> String {
    let mut text = String::new();
    for (n, at) in shown.iter().enumerate() {
        let cell = shorten(row.get(*at).map_or("", String::as_str), widths[*at]);
        let space = " ".repeat(widths[*at].saturating_sub(measure_text_width(&cell)));
        if n > 0 {
            text.push_str(&" ".repeat(GAP));
        }
        match columns[*at].right {
            true => text.extend([space.as_str(), &cell]),
            false => text.extend([cell.as_str(), &space]),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] =
        [left("SCHEMA", 0), left("OWNER", 2), right("TABLES", 0), right("OBJECTS", 3), right("SIZE", 1)];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        vec![
            row(["general", "app", "8", "40", "1.0 MiB"]),
            row([
                "a_schema_with_a_very_long_name_of_its_own_indeed_63_bytes_long",
                "owner",
                "12",
                "1,400",
                "8.0 KiB",
            ]),
        ]
    }

    #[test]
    fn every_line_fits_at_60_80_and_120() {
        for width in [60, 80, 120] {
            let lines = layout(&COLUMNS, &rows(), width);
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|l| measure_text_width(l) <= width), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn the_least_important_columns_go_first_then_cells_are_shortened() {
        let title = |width: usize| {
            layout(&COLUMNS, &rows(), width)[0].split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(title(120), "SCHEMA OWNER TABLES OBJECTS SIZE");
        assert_eq!(title(92), "SCHEMA OWNER TABLES SIZE");
        assert_eq!(title(80), "SCHEMA TABLES SIZE");
        assert_eq!(title(60), "SCHEMA TABLES");
        assert!(layout(&COLUMNS, &rows(), 60)[2].contains('…'));
    }

    #[test]
    fn what_is_copied_is_whole_at_any_width() {
        let id = "0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f";
        let columns = [whole("ID"), left("TARGET", 0), left("STATE", 1), left("SUMMARY", 3)];
        let row = [id, "a_target_with_a_long_name", "succeeded", "six schemas were reset and migrated"];
        let rows = vec![row.map(str::to_owned).to_vec(); 2];
        for width in [36, 40, 60, 100, 200] {
            let lines = layout(&columns, &rows, width);
            assert_eq!(lines.iter().filter(|line| line.contains(id)).count(), 2, "{width}: {lines:#?}");
            assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{width}: {lines:#?}");
        }
        let narrow = layout(&columns, &rows[..1], 40).join("\n");
        assert!(narrow.contains("SUMMARY six schemas were"), "{narrow}");
    }

    #[test]
    fn text_is_left_numbers_are_right_and_wide_characters_count_twice() {
        let rows = [vec!["名前".to_owned(), "7".to_owned()], vec!["x".to_owned(), "123".to_owned()]];
        let lines = layout(&[left("A", 0), right("N", 0)], &rows, 80);
        assert_eq!(lines, ["A       N", "名前    7", "x     123"]);
    }
}
