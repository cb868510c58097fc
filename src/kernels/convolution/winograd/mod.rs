//! Winograd's way, F(2x2, 3x3), for the most frequent convolution of all: 3x3 in two dimensions,
//! stride 1, many channels. Four outputs take 16 products for each channel instead of 36; in
//! exchange, inputs, weights and outputs are transformed by additions.
//!
//! Every transform reads and writes a *tile*: 4x4 inputs, 2x2 outputs. Its 16 *points* are what is
//! multiplied. Only this smallest of Winograd's ways is taken: its factors are 0, 1 and 1/2, and
//! its rounding is that of the direct sum. The next one, F(4x4, 3x3), would lose two digits.

mod cut;
mod gradient;
mod sum;
mod transform;

use std::ops::Range;

pub(super) use gradient::run as weight_gradient;
pub(super) use sum::run as sum;

use self::cut::Cut;
use super::plan::{AxisPlan, Plan};
use crate::kernels::vector::LANES;

/// Points of a tile.
const POINTS: usize = 16;

/// Floats of the transformed inputs of a chunk of tiles that are aimed at: a quarter of a megabyte.
const CHUNK_FLOATS: usize = 1 << 16;

/// Channels, of either side, below which the transforms cost more than they save.
const CHANNELS_MIN: usize = 16;

/// Tiles of a whole call below which transforming the weights costs more than it saves.
const TILES_MIN: usize = 64;

/// Whether a plan is of the kind, and large enough to gain.
pub(super) fn suits(plan: &Plan) -> bool {
    let [depth, height, width] = &plan.axes;
    let flat = depth.source == 1 && depth.destination == 1 && plan.kernel[0] == 1;
    if !flat || !depth.phases.iter().all(|phase| phase.taps.iter().all(|tap| tap.offset == 0)) {
        return false;
    }
    if order(height).is_none() || order(width).is_none() {
        return false;
    }
    let [rows, columns] = [height.destination, width.destination];
    let tiles = rows.div_ceil(2) * columns.div_ceil(2);
    plan.source_channels >= CHANNELS_MIN
        && plan.destination_channels >= CHANNELS_MIN
        && plan.batch.saturating_mul(tiles) >= TILES_MIN
        // Tiles that reach beyond the output are summed for nothing.
        && 3 * tiles <= rows * columns
}

/// The kernel's indices in the order of what they read, for three taps side by side.
fn order(axis: &AxisPlan) -> Option<[usize; 3]> {
    let [phase] = &axis.phases[..] else { return None };
    let mut taps = <[_; 3]>::try_from(&phase.taps[..]).ok()?;
    taps.sort_by_key(|tap| tap.offset);
    let side_by_side = (0..3).all(|at| taps[at].offset == taps[0].offset + at as isize);
    (side_by_side && axis.source_step == 1 && phase.step == 1).then(|| taps.map(|tap| tap.index))
}

/// How a destination is cut into tiles, those into strips and those into chunks.
struct Tiles {
    cut: Cut,
    /// Tile rows of a destination, and of a strip.
    rows: usize,
    strip: usize,
    /// Tiles of a row.
    columns: usize,
    /// Tiles of a chunk.
    chunk: usize,
    /// Each tile of a strip: its place in a cut, from that of its chunk's first tile on.
    relative: Vec<usize>,
    /// Floats of one channel of a chunk's inputs at one point, and of all channels.
    line: usize,
    point: usize,
    /// Sizes of the destination.
    height: usize,
    width: usize,
}

/// A run of tiles side by side.
struct Segment {
    /// The first one's number in its chunk.
    first: usize,
    /// Destinations from the first to the last that there is.
    width: usize,
    /// Coordinates of its first destination.
    row: usize,
    column: usize,
}

impl Tiles {
    fn new(plan: &Plan) -> Tiles {
        let [height, width] = [plan.axes[1].destination, plan.axes[2].destination];
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let channels = plan.source_channels;
        let strip = Cut::rows(plan, rows, columns);
        let most = (CHUNK_FLOATS / (POINTS * channels)).clamp(24, 96);
        // As equal as can be.
        let chunk = (strip * columns).div_ceil((strip * columns).div_ceil(most));
        let place = |tile: usize| tile / columns * (columns + 1) + tile % columns;
        let relative = |tile: usize| place(tile) - place(tile / chunk * chunk);
        // A row of tiles is followed by one place that belongs to none.
        let line = (chunk + chunk / columns + 2).next_multiple_of(LANES);
        let relative: Vec<usize> = (0..strip * columns).map(relative).collect();
        debug_assert!(relative.iter().all(|&place| place < line));
        Tiles {
            cut: Cut::new(plan, strip, columns),
            rows,
            strip,
            columns,
            chunk,
            relative,
            line,
            point: super::window::spread(line * channels),
            height,
            width,
        }
    }

    fn strips(&self) -> usize {
        self.rows.div_ceil(self.strip)
    }

    /// The chunks of a strip, as tiles of it.
    fn chunks(&self, strip: usize) -> impl Iterator<Item = Range<usize>> {
        let rows = self.strip.min(self.rows - strip * self.strip);
        let tiles = rows * self.columns;
        (0..tiles).step_by(self.chunk).map(move |first| first..(first + self.chunk).min(tiles))
    }

    /// The place of a strip's tile in a cut.
    fn place(&self, tile: usize) -> usize {
        tile / self.columns * (self.columns + 1) + tile % self.columns
    }

    /// Places of a chunk, from its first tile to its last.
    fn places(&self, chunk: &Range<usize>) -> usize {
        self.place(chunk.end - 1) - self.place(chunk.start) + 1
    }

    /// The runs of a chunk.
    fn segments(&self, strip: usize, chunk: &Range<usize>) -> impl Iterator<Item = Segment> {
        let (columns, width, chunk) = (self.columns, self.width, chunk.clone());
        let rows = chunk.start / columns..chunk.end.div_ceil(columns);
        let first_row = strip * self.strip;
        rows.map(move |row| {
            let start = chunk.start.max(row * columns);
            let end = chunk.end.min((row + 1) * columns);
            let column = 2 * (start - row * columns);
            Segment {
                first: start - chunk.start,
                width: (2 * (end - start)).min(width - column),
                row: 2 * (first_row + row),
                column,
            }
        })
    }
}
