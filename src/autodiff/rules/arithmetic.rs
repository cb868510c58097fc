//! Sums, products, powers.

use super::{Entry, Gradients, broadcast, exact, zero};
use crate::autodiff::call::Call;

pub(super) const RULES: &[Entry] = &[
    broadcast("Add", |c| vec![Some(c.gradient()), Some(c.gradient())]),
    broadcast("Sub", |c| vec![Some(c.gradient()), Some(-c.gradient())]),
    broadcast("Mul", |c| {
        let (g, a, b) = (c.gradient(), c.input(0), c.input(1));
        vec![Some(g * b), Some(g * a)]
    }),
    broadcast("Div", |c| {
        let (g, b, y) = (c.gradient(), c.input(1), c.output(0));
        vec![Some(g / b), Some(-(g * y / b))]
    }),
    broadcast("Pow", power),
    broadcast("Sum", |c| vec![Some(c.gradient()); c.input_count()]),
    broadcast("Mean", |c| vec![Some(c.gradient() / c.input_count() as f64); c.input_count()]),
    exact("Neg", |c| vec![Some(-c.gradient())]),
    exact("Reciprocal", |c| vec![Some(-(c.gradient() * c.output(0) * c.output(0)))]),
    zero("Mod"),
];

/// The base's derivative stays finite at zero; the exponent's is zero where the base is.
fn power<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, n, y) = (c.gradient(), c.input(0), c.input(1), c.output(0));
    let n = n.cast(x.data_type());
    let base = g * n * x.pow(n - 1.0);
    let safe = x.equals(0.0).select(x.number(1.0), x);
    vec![Some(base), Some(g * y * safe.ln())]
}
