//! The four transforms, of vectors of tiles or of channels: each along the columns, then along the
//! rows.
//!
//! Arrays are written out: the closures of `map` are not inlined, and what is not inlined is not
//! compiled for the level.

use crate::kernels::vector::Vector;

/// A tile's inputs to its points.
#[inline(always)]
pub(super) fn input<V: Vector>([a, b, c, d]: [[V; 4]; 4]) -> [[V; 4]; 4] {
    let [a, b, c, d] = turn([input_line(a), input_line(b), input_line(c), input_line(d)]);
    turn([input_line(a), input_line(b), input_line(c), input_line(d)])
}

#[inline(always)]
fn input_line<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
    [a.sub(c), b.add(c), c.sub(b), b.sub(d)]
}

/// A kernel's weights to its points.
#[inline(always)]
pub(super) fn weights<V: Vector>([a, b, c]: [[V; 3]; 3]) -> [[V; 4]; 4] {
    let (a, b, c) = (weights_line(a), weights_line(b), weights_line(c));
    turn([
        weights_line([a[0], b[0], c[0]]),
        weights_line([a[1], b[1], c[1]]),
        weights_line([a[2], b[2], c[2]]),
        weights_line([a[3], b[3], c[3]]),
    ])
}

#[inline(always)]
fn weights_line<V: Vector>([a, b, c]: [V; 3]) -> [V; 4] {
    let half = V::splat(0.5);
    let (outer, middle) = (a.add(c).mul(half), b.mul(half));
    [a, outer.add(middle), outer.sub(middle), c]
}

/// Points of sums to a kernel's weights: the transpose of [`weights`].
#[inline(always)]
pub(super) fn weights_back<V: Vector>([a, b, c, d]: [[V; 4]; 4]) -> [[V; 3]; 3] {
    let (a, b) = (weights_back_line(a), weights_back_line(b));
    let (c, d) = (weights_back_line(c), weights_back_line(d));
    let x = weights_back_line([a[0], b[0], c[0], d[0]]);
    let y = weights_back_line([a[1], b[1], c[1], d[1]]);
    let z = weights_back_line([a[2], b[2], c[2], d[2]]);
    [[x[0], y[0], z[0]], [x[1], y[1], z[1]], [x[2], y[2], z[2]]]
}

#[inline(always)]
fn weights_back_line<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 3] {
    let half = V::splat(0.5);
    let (outer, middle) = (b.add(c).mul(half), b.sub(c).mul(half));
    [a.add(outer), middle, outer.add(d)]
}

/// Points of sums to a tile's outputs.
#[inline(always)]
pub(super) fn output<V: Vector>([a, b, c, d]: [[V; 4]; 4]) -> [[V; 2]; 2] {
    let (a, b, c, d) = (output_line(a), output_line(b), output_line(c), output_line(d));
    let left = output_line([a[0], b[0], c[0], d[0]]);
    let right = output_line([a[1], b[1], c[1], d[1]]);
    [[left[0], right[0]], [left[1], right[1]]]
}

#[inline(always)]
fn output_line<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
    [a.add(b).add(c), b.sub(c).sub(d)]
}

/// A tile's gradients to its points: the transpose of [`output`].
#[inline(always)]
pub(super) fn gradient<V: Vector>([upper, lower]: [[V; 2]; 2]) -> [[V; 4]; 4] {
    let (upper, lower) = (gradient_line(upper), gradient_line(lower));
    turn([
        gradient_line([upper[0], lower[0]]),
        gradient_line([upper[1], lower[1]]),
        gradient_line([upper[2], lower[2]]),
        gradient_line([upper[3], lower[3]]),
    ])
}

#[inline(always)]
fn gradient_line<V: Vector>([a, b]: [V; 2]) -> [V; 4] {
    [a, a.add(b), a.sub(b), V::splat(0.0).sub(b)]
}

#[inline(always)]
fn turn<V: Vector>([a, b, c, d]: [[V; 4]; 4]) -> [[V; 4]; 4] {
    [
        [a[0], b[0], c[0], d[0]],
        [a[1], b[1], c[1], d[1]],
        [a[2], b[2], c[2], d[2]],
        [a[3], b[3], c[3], d[3]],
    ]
}
