//! Rotary embedding: pairs of elements turned by an angle that depends on their place.

use super::Outputs;
use super::pieces::{split, split_equally};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::tensor::Dimension;

/// `[x₁·cos - x₂·sin, x₁·sin + x₂·cos]`, of the first elements of each head; the rest stays.
pub(super) fn rotary<'g>(c: &Call<'g, '_>) -> Result<Outputs<'g>, String> {
    let emitter = c.emitter();
    let flat = c.input_rank(0) == 3;
    let Some(Dimension::Fixed(last)) = c.input_dimensions(0).last() else {
        return Err("the width of its heads is not known".to_owned());
    };
    let heads = if flat { c.int("num_heads", 0) } else { 1 };
    if heads <= 0 {
        return Err("it does not say how many heads its last axis is of".to_owned());
    }
    let width = *last as i64 / heads;
    let turned = match c.int("rotary_embedding_dim", 0) {
        0 => width,
        some => some,
    };
    let x = c.input(0);
    let x = if flat { x.reshape(emitter.ints(&[0, 0, heads, width])) } else { x };
    // Heads are behind the places where they were cut off the last axis, else before them.
    let angle = |input: usize| {
        let cache = c.input(input);
        let cache = match c.optional_input(3) {
            Some(places) => cache.call_with("Gather", &[places], vec![("axis", 0.into())]),
            None => cache,
        };
        cache.unsqueeze(&[if flat { 2 } else { 1 }])
    };
    let (cos, sin) = (angle(1), angle(2));
    let parts = match turned < width {
        true => split(x, 3, &[turned, width - turned]),
        false => vec![x],
    };
    let interleaved = c.int("interleaved", 0) != 0;
    let pairs = match interleaved {
        true => {
            let pairs = parts[0].reshape(emitter.ints(&[0, 0, 0, turned / 2, 2]));
            split_equally(pairs, 4, 2).into_iter().map(|part| part.squeeze(&[4])).collect()
        }
        false => split_equally(parts[0], 3, 2),
    };
    let (one, two) = (pairs[0], pairs[1]);
    let made = [one * cos - two * sin, one * sin + two * cos];
    let made = match interleaved {
        true => Expr::concat(&made.map(|part| part.unsqueeze(&[4])), 4)
            .reshape(emitter.ints(&[0, 0, 0, turned])),
        false => Expr::concat(&made, 3),
    };
    let whole = match parts.get(1) {
        Some(&rest) => Expr::concat(&[made, rest], 3),
        None => made,
    };
    let whole = if flat { whole.reshape(emitter.ints(&[0, 0, -1])) } else { whole };
    Ok(vec![Some(whole)])
}
