//! Sizes and places along an axis: numbers while they are known, computed ones where an axis is
//! open.

use std::ops::{Add, Sub};

use super::emitter::Emitter;
use super::expr::Expr;

/// One size, place or width.
#[derive(Clone, Copy, Debug)]
pub enum Size<'g> {
    Known(i64),
    /// A vector of one 64-bit integer.
    Computed(Expr<'g>),
}

impl<'g> Size<'g> {
    pub fn known(self) -> Option<i64> {
        match self {
            Size::Known(size) => Some(size),
            Size::Computed(_) => None,
        }
    }

    /// A vector of this one size.
    pub fn vector(self, emitter: &'g Emitter) -> Expr<'g> {
        match self {
            Size::Known(size) => emitter.ints(&[size]),
            Size::Computed(vector) => vector,
        }
    }

    /// A vector of several.
    pub fn vector_of(emitter: &'g Emitter, sizes: &[Size<'g>]) -> Expr<'g> {
        let known: Option<Vec<i64>> = sizes.iter().map(|size| size.known()).collect();
        if let Some(known) = known {
            return emitter.ints(&known);
        }
        let parts: Vec<Expr> = sizes.iter().map(|size| size.vector(emitter)).collect();
        Expr::concat(&parts, 0)
    }

    pub fn at_least(self, least: i64) -> Size<'g> {
        self.combine(Size::Known(least), "Max", i64::max)
    }

    pub fn at_most(self, most: Size<'g>) -> Size<'g> {
        self.combine(most, "Min", i64::min)
    }

    fn combine(self, other: Size<'g>, operator: &str, known: fn(i64, i64) -> i64) -> Size<'g> {
        match (self, other) {
            (Size::Known(a), Size::Known(b)) => Size::Known(known(a, b)),
            (Size::Computed(a), b) => Size::Computed(a.call(operator, &[b.vector(a.emitter())])),
            (a, Size::Computed(b)) => Size::Computed(a.vector(b.emitter()).call(operator, &[b])),
        }
    }
}

impl<'g> Add for Size<'g> {
    type Output = Size<'g>;

    fn add(self, other: Size<'g>) -> Size<'g> {
        match (self, other) {
            (Size::Known(0), size) | (size, Size::Known(0)) => size,
            (a, b) => a.combine(b, "Add", i64::wrapping_add),
        }
    }
}

impl<'g> Sub for Size<'g> {
    type Output = Size<'g>;

    fn sub(self, other: Size<'g>) -> Size<'g> {
        match other {
            Size::Known(0) => self,
            other => self.combine(other, "Sub", i64::wrapping_sub),
        }
    }
}
