//! Elements written over others, or combined with them, by their places.

use super::indexing::whole_places;
use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::onnx::build::AttributeValue;

pub(super) const RULES: &[Entry] = &[
    exact("ScatterElements", |c| scatter(c, &Places::of_elements(c))),
    exact("ScatterND", |c| scatter(c, &Places::of_rows(c))),
];

/// Where the updates go.
struct Places<'g> {
    places: Expr<'g>,
    /// What picks from there, and what puts there.
    operators: [&'static str; 2],
    axis: Option<i64>,
}

impl<'g> Places<'g> {
    fn of_elements(c: &Call<'g, '_>) -> Places<'g> {
        let operators = ["GatherElements", "ScatterElements"];
        Places { places: c.input(1), operators, axis: Some(c.int("axis", 0)) }
    }

    fn of_rows(c: &Call<'g, '_>) -> Places<'g> {
        Places { places: whole_places(c), operators: ["GatherND", "ScatterND"], axis: None }
    }

    fn attributes(&self) -> Vec<(&'static str, AttributeValue)> {
        self.axis.map(|axis| ("axis", axis.into())).into_iter().collect()
    }

    /// For each update what is at its place.
    fn pick(&self, from: Expr<'g>) -> Expr<'g> {
        from.call_with(self.operators[0], &[self.places], self.attributes())
    }

    fn put(&self, onto: Expr<'g>, updates: Expr<'g>, reduction: &str) -> Expr<'g> {
        let mut attributes = self.attributes();
        if reduction != "none" {
            attributes.push(("reduction", reduction.into()));
        }
        onto.call_with(self.operators[1], &[self.places, updates], attributes)
    }
}

fn scatter<'g>(c: &Call<'g, '_>, places: &Places<'g>) -> Gradients<'g> {
    let g = c.gradient();
    let [data, updates] = match c.text("reduction", "none").as_str() {
        "add" => [g, places.pick(g)],
        "mul" => products(c, places),
        "min" | "max" => extremes(c, places),
        // What was written over gets nothing.
        _ => [places.put(g, c.zeros_like_input(2), "none"), places.pick(g)],
    };
    vec![Some(data), None, Some(updates)]
}

/// Each factor gets the product of the others. Zeros are counted, not divided by.
fn products<'g>(c: &Call<'g, '_>, places: &Places<'g>) -> [Expr<'g>; 2] {
    let (g, data, updates) = (c.gradient(), c.input(0), c.input(2));
    let ones = g.number(1.0).expand(c.input_shape(0));
    let is_zero = updates.equals(0.0);
    let solid = is_zero.select(updates.number(1.0), updates);
    let zeros = is_zero.cast(g.data_type());
    let zeros_there = places.pick(places.put(c.zeros_like_input(0), zeros, "add"));
    let others = places.pick(g * places.put(data, solid, "mul")) / solid;
    let alone = (zeros_there - zeros).equals(0.0);
    [g * places.put(ones, updates, "mul"), alone.gate(others)]
}

/// All that are as large as the result share its gradient.
fn extremes<'g>(c: &Call<'g, '_>, places: &Places<'g>) -> [Expr<'g>; 2] {
    let (g, y) = (c.gradient(), c.output(0));
    let is_data = c.input(0).equals(y).cast(g.data_type());
    let is_update = c.input(2).equals(places.pick(y)).cast(g.data_type());
    let share = g / places.put(is_data, is_update, "add");
    [share * is_data, places.pick(share) * is_update]
}
