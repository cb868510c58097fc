//! From lines to lanes and back: a line is one channel's neighbours, lanes are the channels of one
//! place after the other's.

use std::ops::Range;

use crate::kernels::vector::{LANES, Vector};

/// Puts lines into lanes of `lanes` channels: as many places as `to` has room for. Channels that
/// have no line are zeros.
#[inline(always)]
pub(super) fn from_lines<'a, V: Vector>(
    line: impl Fn(usize) -> &'a [f32],
    channels: usize,
    lanes: usize,
    to: &mut [f32],
) {
    let places = to.len() / lanes;
    for first in (0..lanes).step_by(LANES) {
        let mut lines: [&[f32]; LANES] = [&[]; LANES];
        for (channel, from) in lines.iter_mut().enumerate().take(channels.saturating_sub(first)) {
            *from = &line(first + channel)[..places];
        }
        for place in (0..places).step_by(LANES) {
            let to = &mut to[place * lanes + first..];
            if place + LANES <= places {
                let mut rows = [V::splat(0.0); LANES];
                for (row, line) in rows.iter_mut().zip(&lines) {
                    if let Some(line) = line.get(place..place + LANES) {
                        // SAFETY: the slice has a vector's length.
                        *row = unsafe { V::load(line.as_ptr()) };
                    }
                }
                for (row, to) in V::transpose(rows).into_iter().zip(to.chunks_mut(lanes)) {
                    // SAFETY: the slice has a vector's length.
                    unsafe { row.store(to[..LANES].as_mut_ptr()) };
                }
            } else {
                for (at, to) in (place..places).zip(to.chunks_mut(lanes)) {
                    for (to, line) in to.iter_mut().zip(&lines) {
                        *to = line.get(at).copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }
}

/// Writes the places in `range` of lanes to a line for each of `channels`.
#[inline(always)]
pub(super) fn to_lines<'a, V: Vector>(
    from: &[f32],
    range: Range<usize>,
    lanes: usize,
    channels: usize,
    line: impl Fn(usize) -> &'a mut [f32],
) {
    let from = &from[range.start * lanes..range.end * lanes];
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let mut lines: [&mut [f32]; LANES] = Default::default();
        for (channel, to) in lines.iter_mut().enumerate().take(count) {
            *to = &mut line(first + channel)[..range.len()];
        }
        for place in (0..range.len()).step_by(LANES) {
            let from = &from[place * lanes + first..];
            if place + LANES <= range.len() {
                let mut rows = [V::splat(0.0); LANES];
                for (row, from) in rows.iter_mut().zip(from.chunks(lanes)) {
                    // SAFETY: the slice has a vector's length.
                    *row = unsafe { V::load(from[..LANES].as_ptr()) };
                }
                for (row, to) in V::transpose(rows).into_iter().zip(&mut lines).take(count) {
                    // SAFETY: the slice has a vector's length.
                    unsafe { row.store(to[place..place + LANES].as_mut_ptr()) };
                }
            } else {
                for (at, from) in (place..range.len()).zip(from.chunks(lanes)) {
                    for (to, from) in lines.iter_mut().zip(from).take(count) {
                        to[at] = *from;
                    }
                }
            }
        }
    }
}
