//! Channels whose values follow each other within an image: one channel after the other.

use super::pieces::Pieces;
use super::{Affine, Flow, GROUP, Slope};
use crate::kernels::moments::Moments;
use crate::kernels::sums::Sums;

/// Elements that are measured at once: they are read twice, so they must stay in the nearest
/// cache; short parts of images are put together up to the first number, long ones cut at the
/// second.
const RUN_MINIMUM: usize = 1024;
const RUN_MAXIMUM: usize = 4096;

#[inline(always)]
pub(super) fn measure(x: Pieces<'_>, inner: usize) -> [Moments; GROUP] {
    let mut all = [Moments::default(); GROUP];
    let images = RUN_MINIMUM.div_ceil(inner);
    for (channel, moments) in all.iter_mut().enumerate().take(x.channels(inner)) {
        let x = x.channel(channel, inner);
        if images > 1 {
            let runs = x.runs_of_images(images);
            runs.for_each(|run| *moments = moments.merged(Moments::of(run.iter())));
        } else {
            let runs = x.iter().flat_map(|x| x.chunks(RUN_MAXIMUM));
            runs.for_each(|run| *moments = moments.merged(Moments::of(std::iter::once(run))));
        }
    }
    all
}

#[inline(always)]
pub(super) fn normalize(
    x: Pieces<'_>,
    y: &mut [&mut [f32]],
    inner: usize,
    affine: &[Affine; GROUP],
) {
    for (x, y) in x.iter().zip(y) {
        let channels = x.chunks_exact(inner).zip(y.chunks_exact_mut(inner));
        for ((x, y), Affine { subtracted, factor, added }) in channels.zip(affine) {
            for (x, y) in x.iter().zip(y) {
                *y = (x - subtracted) * factor + added;
            }
        }
    }
}

#[inline(always)]
pub(super) fn gather(
    dy: Pieces<'_>,
    x: Pieces<'_>,
    inner: usize,
    means: &[f32; GROUP],
) -> [Flow; GROUP] {
    let mut flows = [Flow::default(); GROUP];
    let channels = flows.iter_mut().zip(means).enumerate().take(x.channels(inner));
    for (channel, (flow, mean)) in channels {
        let mut sums = Sums::new();
        let (dy, x) = (dy.channel(channel, inner), x.channel(channel, inner));
        for (dy, x) in dy.iter().zip(x.iter()) {
            sums.add2(dy, x, |dy, x| [dy, dy * (x - mean)]);
        }
        let [plain, along] = sums.totals();
        *flow = Flow { plain, along };
    }
    flows
}

#[inline(always)]
pub(super) fn spread(
    (dy, x): (Pieces<'_>, Pieces<'_>),
    dx: &mut [&mut [f32]],
    inner: usize,
    slopes: &[Slope; GROUP],
) {
    for ((dy, x), dx) in dy.iter().zip(x.iter()).zip(dx) {
        let channels = dy.chunks_exact(inner).zip(x.chunks_exact(inner));
        let channels = channels.zip(dx.chunks_exact_mut(inner)).zip(slopes);
        for (((dy, x), dx), Slope { mean, plain, along, factor }) in channels {
            for ((dy, x), dx) in dy.iter().zip(x).zip(dx) {
                *dx = (dy - plain - (x - mean) * along) * factor;
            }
        }
    }
}
