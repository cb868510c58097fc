//! Products of matrices.

use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::unbroadcast::unbroadcast;
use crate::onnx::build::AttributeValue;
use crate::tensor::Dimension;

pub(super) const RULES: &[Entry] = &[exact("MatMul", matmul), exact("Gemm", gemm)];

/// `A·B` has `[g·Bᵀ, Aᵀ·g]`, in the shapes that a product of stacks of matrices has: a vector is a
/// matrix of one row on the left, of one column on the right.
fn matmul<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, a, b) = (c.gradient(), c.input(0), c.input(1));
    let (a_shape, b_shape) = (c.input_dimensions(0), c.input_dimensions(1));
    if let [.., k] = a_shape
        && let [_, n] = b_shape
        && a_shape.len() > 1
        && is_solid(k)
        && is_solid(n)
    {
        return linear(c, k, n);
    }
    let one = Dimension::Fixed(1);
    let mut missing = Vec::new();
    let (a, a_full) = match a_shape {
        [k] => {
            missing.push(-2);
            (a.unsqueeze(&[0]), vec![one.clone(), k.clone()])
        }
        _ => (a, a_shape.to_vec()),
    };
    let (b, b_full) = match b_shape {
        [k] => {
            missing.push(-1);
            (b.unsqueeze(&[1]), vec![k.clone(), one])
        }
        _ => (b, b_shape.to_vec()),
    };
    // Counted in the answer with both put back.
    let rank = (c.output_rank(0) + missing.len()) as i64;
    let put_back: Vec<i64> = missing.iter().map(|axis| axis + rank).collect();
    let g = g.unsqueeze(&put_back);
    let y_stack: Vec<Dimension> = match missing.as_slice() {
        [] => c.output_dimensions(0)[..c.output_rank(0) - 2].to_vec(),
        [_] => c.output_dimensions(0)[..c.output_rank(0) - 1].to_vec(),
        _ => Vec::new(),
    };
    let stacked = |matrix: &[Dimension]| [&y_stack[..], &matrix[matrix.len() - 2..]].concat();
    let da = unbroadcast(g.matmul(turned(b, b_full.len())), &stacked(&a_full), &a_full);
    let db = unbroadcast(turned(a, a_full.len()).matmul(g), &stacked(&b_full), &b_full);
    let da = if a_shape.len() == 1 { da.squeeze(&[0]) } else { da };
    let db = if b_shape.len() == 1 { db.squeeze(&[1]) } else { db };
    vec![Some(da), Some(db)]
}

/// A size that is known and not zero: what is left of a shape can be found by dividing by it.
fn is_solid(dimension: &Dimension) -> bool {
    matches!(dimension, Dimension::Fixed(1..))
}

/// Any stack of rows times one matrix is one product of two matrices.
fn linear<'g>(c: &Call<'g, '_>, k: &Dimension, n: &Dimension) -> Gradients<'g> {
    let (g, a, b) = (c.gradient(), c.input(0), c.input(1));
    let rows = |value: Expr<'g>, width: &Dimension| match width {
        Dimension::Fixed(width) if c.input_rank(0) > 2 => {
            value.reshape(c.emitter().ints(&[-1, *width as i64]))
        }
        _ => value,
    };
    let (g, a) = (rows(g, n), rows(a, k));
    let da = product((g, false), (b, true), 1.0);
    let da = if c.input_rank(0) > 2 { da.reshape(c.input_shape(0)) } else { da };
    vec![Some(da), Some(product((a, true), (g, false), 1.0))]
}

fn turned(matrices: Expr<'_>, rank: usize) -> Expr<'_> {
    let rank = rank as i64;
    let order: Vec<i64> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
    matrices.transpose(&order)
}

/// The product of two matrices, each turned or not, times a number.
fn product<'g>(left: (Expr<'g>, bool), right: (Expr<'g>, bool), alpha: f64) -> Expr<'g> {
    let mut attributes = Vec::new();
    if left.1 {
        attributes.push(("transA", 1.into()));
    }
    if right.1 {
        attributes.push(("transB", 1.into()));
    }
    if alpha != 1.0 {
        attributes.push(("alpha", AttributeValue::Float(alpha as f32)));
    }
    left.0.call_with("Gemm", &[right.0], attributes)
}

/// `α A'·B' + β C`, where a prime says that the matrix may be turned.
fn gemm<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, a, b) = (c.gradient(), c.input(0), c.input(1));
    let (alpha, beta) = (c.float("alpha", 1.0), c.float("beta", 1.0));
    let (turns_a, turns_b) = (c.int("transA", 0) != 0, c.int("transB", 0) != 0);
    let da = match turns_a {
        false => product((g, false), (b, !turns_b), alpha),
        true => product((b, turns_b), (g, true), alpha),
    };
    let db = match turns_b {
        false => product((a, !turns_a), (g, false), alpha),
        true => product((g, true), (a, turns_a), alpha),
    };
    let dc = c.optional_input(2).map(|_| {
        let g = if beta == 1.0 { g } else { g * beta };
        unbroadcast(g, c.output_dimensions(0), c.input_dimensions(2))
    });
    vec![Some(da), Some(db), dc]
}
