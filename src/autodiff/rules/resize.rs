//! Resampling: along each axis the output is a fixed sum of the input's places, and so is the way
//! back. Places are computed in 32-bit floats, as engines compute them, so that what is rounded is
//! rounded alike.

use super::{Entry, Gradients, exact};
use crate::autodiff::axis_map::AxisMap;
use crate::autodiff::call::Call;
use crate::onnx::graph::attribute;
use crate::tensor::DataType;

pub(super) const RULES: &[Entry] = &[exact("Resize", resize)
    .unless(|node| {
        let smooth = attribute(node, "antialias").and_then(|flag| flag.i) == Some(1);
        smooth.then_some("it smooths (antialias)")
    })
    .unless_known(|c| resamplings(c).err())];

fn resize<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let rank = c.input_rank(0);
    let method = Method::of(c);
    let mut g = c.gradient();
    for resampling in resamplings(c).expect("looked at before the walk") {
        let map = method.map(&resampling);
        if !map.is_identity() {
            g = map.backwards(g, resampling.axis, rank);
        }
    }
    vec![Some(g)]
}

/// What happens to one axis.
struct Resampling {
    axis: usize,
    from: usize,
    to: usize,
    scale: f32,
    /// The part of the axis that is shown, where the operator crops: 0 to 1 is all of it.
    region: (f32, f32),
}

/// Those axes that may change.
fn resamplings(c: &Call) -> Result<Vec<Resampling>, &'static str> {
    let rank = c.input_rank(0);
    let axes: Vec<usize> = match c.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| c.axis(axis, rank) as usize).collect(),
        None => (0..rank).collect(),
    };
    let scales = floats(c, 2, "its scales are computed, expected constants")?;
    let crops = c.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
    let regions = match crops {
        true => floats(c, 1, "its region is computed, expected constants")?.unwrap_or_default(),
        false => Vec::new(),
    };
    let mut resamplings = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let scale = scales.as_ref().map(|scales| scales[index]);
        let region = match (regions.get(index), regions.get(index + axes.len())) {
            (Some(&start), Some(&end)) => (start, end),
            _ => (0.0, 1.0),
        };
        let same = c.input_dimensions(0)[axis] == c.output_dimensions(0)[axis];
        if same && scale.is_none_or(|scale| scale == 1.0) && region == (0.0, 1.0) {
            continue;
        }
        let known = |size: Option<i64>| size.map(|size| size as usize);
        let from = known(c.input_size(0, axis as i64).known());
        let to = known(c.output_size(0, axis as i64).known());
        let (Some(from), Some(to)) = (from, to) else {
            return Err("the sizes of the axes that it resizes are not known");
        };
        let scale = scale.unwrap_or(to as f32 / from as f32);
        resamplings.push(Resampling { axis, from, to, scale, region });
    }
    if scales.is_none() {
        keep_aspect(c, &axes, &mut resamplings)?;
    }
    Ok(resamplings)
}

/// Where sizes are bounds within which the shape is kept, all axes have one scale.
fn keep_aspect(
    c: &Call,
    axes: &[usize],
    resamplings: &mut [Resampling],
) -> Result<(), &'static str> {
    let policy = c.text("keep_aspect_ratio_policy", "stretch");
    if policy == "stretch" {
        return Ok(());
    }
    let sizes = c.constant_ints(3).ok_or("its sizes are computed, expected constants")?;
    let ratio = |(&axis, &size): (&usize, &i64)| {
        c.input_size(0, axis as i64).known().map(|from| size as f32 / from as f32)
    };
    let ratios: Option<Vec<f32>> = axes.iter().zip(&sizes).map(ratio).collect();
    let ratios = ratios.ok_or("the sizes of the axes that it resizes are not known")?;
    let (least, most) = (f32::INFINITY, f32::NEG_INFINITY);
    let scale = match policy.as_str() {
        "not_larger" => ratios.into_iter().fold(least, f32::min),
        _ => ratios.into_iter().fold(most, f32::max),
    };
    resamplings.iter_mut().for_each(|resampling| resampling.scale = scale);
    Ok(())
}

/// An input of floats; `None` where it is left out or empty, which means the same here.
fn floats(
    c: &Call,
    index: usize,
    computed: &'static str,
) -> Result<Option<Vec<f32>>, &'static str> {
    if c.optional_input(index).is_none() || c.input_sizes(index).as_deref() == Some(&[0]) {
        return Ok(None);
    }
    let tensor = c.constant(index).ok_or(computed)?;
    let values = match tensor.data_type() {
        DataType::Float64 => tensor.bytes().map(|bytes| {
            let chunks = bytes.chunks_exact(8);
            let value = |chunk: &[u8]| f64::from_le_bytes(chunk.try_into().expect("eight bytes"));
            chunks.map(|chunk| value(chunk) as f32).collect()
        }),
        _ => tensor.to_f32(),
    };
    values.ok_or(computed).map(Some)
}

/// How places between the input's are read.
struct Method {
    mode: String,
    coordinates: String,
    nearest: String,
    /// The steepness of the cubic.
    cubic: f64,
    exclude_outside: bool,
}

impl Method {
    fn of(c: &Call) -> Method {
        Method {
            mode: c.text("mode", "nearest"),
            coordinates: c.text("coordinate_transformation_mode", "half_pixel"),
            nearest: c.text("nearest_mode", "round_prefer_floor"),
            cubic: c.float("cubic_coeff_a", -0.75),
            exclude_outside: c.int("exclude_outside", 0) == 1,
        }
    }

    fn map(&self, resampling: &Resampling) -> AxisMap {
        let from = resampling.from;
        let made_of = |place: usize| {
            let at = self.coordinate(place as f32, resampling);
            let outside = at < 0.0 || at > (from as f32 - 1.0);
            match self.mode.as_str() {
                // What lies outside of a cropped region is a constant.
                _ if outside && self.coordinates == "tf_crop_and_resize" => Vec::new(),
                "linear" => linear(at, from),
                "cubic" => self.cubic(at, from),
                _ => vec![(self.nearest(at, from), 1.0)],
            }
        };
        AxisMap { from, made_of: (0..resampling.to).map(made_of).collect() }
    }

    /// Where a place of the output lies on the input's axis.
    fn coordinate(&self, place: f32, resampling: &Resampling) -> f32 {
        let &Resampling { from, to, scale, region: (start, end), .. } = resampling;
        let (from, to) = (from as f32, to as f32);
        match self.coordinates.as_str() {
            "asymmetric" => place / scale,
            "align_corners" if to == 1.0 => 0.0,
            "align_corners" => place * (from - 1.0) / (to - 1.0),
            "pytorch_half_pixel" if to <= 1.0 => 0.0,
            "tf_half_pixel_for_nn" => (place + 0.5) / scale,
            "tf_crop_and_resize" if to > 1.0 => {
                start * (from - 1.0) + place * (end - start) * (from - 1.0) / (to - 1.0)
            }
            "tf_crop_and_resize" => 0.5 * (start + end) * (from - 1.0),
            "half_pixel_symmetric" => {
                let adjustment = to / (scale * from);
                from / 2.0 * (1.0 - adjustment) + (place + 0.5) / scale - 0.5
            }
            _ => (place + 0.5) / scale - 0.5,
        }
    }

    fn nearest(&self, at: f32, from: usize) -> usize {
        let rounded = match self.nearest.as_str() {
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            "round_prefer_ceil" => at.round(),
            _ if at == at.floor() + 0.5 => at.floor(),
            _ => at.round(),
        };
        within(rounded as i64, from)
    }

    fn cubic(&self, at: f32, from: usize) -> Vec<(usize, f64)> {
        let (a, left) = (self.cubic, at.floor());
        let t = f64::from(at - left);
        let near = |t: f64| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
        let far = |t: f64| ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
        let parts = weights.iter().enumerate();
        let parts = parts.map(|(index, &weight)| (left as i64 - 1 + index as i64, weight));
        if !self.exclude_outside {
            return parts.map(|(place, weight)| (within(place, from), weight)).collect();
        }
        let inside: Vec<(i64, f64)> =
            parts.filter(|(place, _)| (0..from as i64).contains(place)).collect();
        let total: f64 = inside.iter().map(|(_, weight)| weight).sum();
        inside.iter().map(|&(place, weight)| (place as usize, weight / total)).collect()
    }
}

fn linear(at: f32, from: usize) -> Vec<(usize, f64)> {
    let at = at.clamp(0.0, from as f32 - 1.0);
    let left = at.floor();
    let right = f64::from(at - left);
    match right {
        0.0 => vec![(left as usize, 1.0)],
        _ => vec![(left as usize, 1.0 - right), (left as usize + 1, right)],
    }
}

/// The place, or the nearest one that there is.
fn within(place: i64, from: usize) -> usize {
    place.clamp(0, from as i64 - 1) as usize
}
