//! `--write-out=table`: a drawn table, every cell at the right of its column, every title in its middle.

use super::{Answer, Columns, Format, Text};
use super::{hash_columns, health_columns, member_columns, status_columns};
use crate::exit::Failure;

pub(super) fn render(answer: &Answer) -> Result<Text, Failure> {
    let columns = match answer {
        Answer::Members(response) => member_columns(&response.members),
        Answer::Health(endpoints) => health_columns(endpoints),
        Answer::Status(endpoints) => status_columns(endpoints),
        Answer::HashKv(endpoints) => hash_columns(endpoints),
        _ => return Err(Format::Table.unsupported()),
    };
    let mut text = Text::default();
    draw(columns, &mut text);
    Ok(text)
}

fn draw((names, rows): Columns, text: &mut Text) {
    // The blank at the end of a list of alarms is none of the cell.
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.trim().to_owned()).collect()).collect();
    let titles: Vec<String> = names.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| rows.iter().chain([&titles]).map(|row| len(&row[column])).max().unwrap_or_default())
        .collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let cells: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}", cells.join(middle))
    };
    let line = |row: &[String], before: fn(usize) -> usize| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let space = width - len(cell);
            let before = before(space);
            format!(" {}{cell}{} │", " ".repeat(before), " ".repeat(space - before))
        });
        format!("│{}", cells.collect::<String>())
    };
    text.line(rule("┌", "┬", "┐"));
    text.line(line(&titles, |space| space / 2));
    if !rows.is_empty() {
        text.line(rule("├", "┼", "┤"));
    }
    rows.iter().for_each(|row| text.line(line(row, |space| space)));
    text.line(rule("└", "┴", "┘"));
}

fn len(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::{super::EndpointHealth, *};

    #[test]
    fn blanks_around_a_cell_are_none_of_it() {
        let error = Some("Active Alarm(s): NOSPACE ".to_owned());
        let endpoint = EndpointHealth { endpoint: "a:1".to_owned(), took: None, error };
        let text = render(&Answer::Health(vec![endpoint])).expect("it can be drawn");
        let expected = "\
┌──────────┬────────┬──────┬──────────────────────────┐
│ ENDPOINT │ HEALTH │ TOOK │          ERROR           │
├──────────┼────────┼──────┼──────────────────────────┤
│      a:1 │  false │      │ Active Alarm(s): NOSPACE │
└──────────┴────────┴──────┴──────────────────────────┘
";
        assert_eq!(text.out, expected.as_bytes());
    }
}
