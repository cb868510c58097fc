//! Classes against answers, and figures by class.

use std::fmt::Write;

use super::text::{escaped, number, percent};

/// A matrix of more classes is not drawn; the figures by class still are.
const MOST_DRAWN: usize = 40;

/// Both tables; `counts` has a row per target's class and a column per answer.
pub fn confusion(counts: &[Vec<u64>], classes: &[String]) -> String {
    let name =
        |class: usize| classes.get(class).map_or_else(|| class.to_string(), |name| escaped(name));
    let mut html = String::new();
    if counts.len() <= MOST_DRAWN {
        matrix(&mut html, counts, &name);
    }
    by_class(&mut html, counts, &name);
    html
}

fn matrix(html: &mut String, counts: &[Vec<u64>], name: &dyn Fn(usize) -> String) {
    html.push_str(
        "<h3>Confusion matrix</h3><p>A row per class of the target, a column per answer; darker \
         is a larger share of the row.</p><table class=\"confusion\"><tr><th></th>",
    );
    for class in 0..counts.len() {
        let _ = write!(html, "<th>{}</th>", name(class));
    }
    html.push_str("</tr>");
    for (class, row) in counts.iter().enumerate() {
        let total: u64 = row.iter().sum();
        let _ = write!(html, "<tr><th>{}</th>", name(class));
        for (answer, &count) in row.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            let kind = if class == answer { "right" } else { "wrong" };
            let _ = write!(html, "<td class=\"{kind}\" style=\"--share:{share:.3}\">{count}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

fn by_class(html: &mut String, counts: &[Vec<u64>], name: &dyn Fn(usize) -> String) {
    html.push_str(
        "<h3>By class</h3><table><tr><th>class</th><th>samples</th><th>precision</th>\
         <th>recall</th><th>F1</th></tr>",
    );
    for (class, row) in counts.iter().enumerate() {
        let right = row[class] as f64;
        let samples: u64 = row.iter().sum();
        let answers: u64 = counts.iter().map(|row| row[class]).sum();
        let (precision, recall) = (right / answers as f64, right / samples as f64);
        let f1 = 2.0 * right / (answers + samples) as f64;
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            name(class),
            number(samples as f64),
            percent(precision),
            percent(recall),
            percent(f1)
        );
    }
    html.push_str("</table>");
}
