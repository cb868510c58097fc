//! Channels of one value per image: many channels side by side.

use super::pieces::Pieces;
use super::{Affine, Flow, GROUP, Slope};
use crate::kernels::moments::Moments;
use crate::kernels::sums::ColumnSums;

/// Two passes, as in [`Moments::of`], but channels side by side.
#[inline(always)]
pub(super) fn measure(x: Pieces<'_>) -> [Moments; GROUP] {
    let count = x.images() as f64;
    let mut sums = ColumnSums::<GROUP>::new();
    x.iter().for_each(|x| sums.add3(x, x, x, |x, _, _| x));
    let near = sums.totals().map(|sum| (sum / count) as f32);
    let (mut rest, mut squares) = (ColumnSums::<GROUP>::new(), ColumnSums::<GROUP>::new());
    x.iter().for_each(|x| {
        rest.add3(x, &near, x, |x, near, _| x - near);
        squares.add3(x, &near, x, |x, near, _| (x - near) * (x - near));
    });
    let (rest, squares) = (rest.totals(), squares.totals());
    std::array::from_fn(|channel| {
        Moments::around(near[channel], count, rest[channel], squares[channel])
    })
}

#[inline(always)]
pub(super) fn normalize(x: Pieces<'_>, y: &mut [&mut [f32]], affine: &[Affine; GROUP]) {
    // Side by side, so that a register is filled by one load.
    let subtracted = affine.map(|affine| affine.subtracted);
    let factors = affine.map(|affine| affine.factor);
    let added = affine.map(|affine| affine.added);
    for (x, y) in x.iter().zip(y) {
        let channels = x.iter().zip(y.iter_mut()).zip(&subtracted).zip(&factors).zip(&added);
        for ((((x, y), subtracted), factor), added) in channels {
            *y = (x - subtracted) * factor + added;
        }
    }
}

#[inline(always)]
pub(super) fn gather(dy: Pieces<'_>, x: Pieces<'_>, means: &[f32; GROUP]) -> [Flow; GROUP] {
    let mut plain = ColumnSums::<GROUP>::new();
    let mut along = ColumnSums::<GROUP>::new();
    for (dy, x) in dy.iter().zip(x.iter()) {
        plain.add3(dy, dy, dy, |dy, _, _| dy);
        along.add3(dy, x, means, |dy, x, mean| dy * (x - mean));
    }
    let (plain, along) = (plain.totals(), along.totals());
    std::array::from_fn(|channel| Flow { plain: plain[channel], along: along[channel] })
}

#[inline(always)]
pub(super) fn spread(
    (dy, x): (Pieces<'_>, Pieces<'_>),
    dx: &mut [&mut [f32]],
    slopes: &[Slope; GROUP],
) {
    let means = slopes.map(|slope| slope.mean);
    let plain = slopes.map(|slope| slope.plain);
    let along = slopes.map(|slope| slope.along);
    let factors = slopes.map(|slope| slope.factor);
    for ((dy, x), dx) in dy.iter().zip(x.iter()).zip(dx) {
        let values = dy.iter().zip(x).zip(dx.iter_mut());
        let channels = values.zip(&means).zip(&plain).zip(&along).zip(&factors);
        for ((((((dy, x), dx), mean), plain), along), factor) in channels {
            *dx = (dy - plain - (x - mean) * along) * factor;
        }
    }
}
