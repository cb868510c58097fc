//! `Resize`, `Upsample` before it, and `RoiAlign`.

use super::arguments::trim;
use super::place::{Place, set, take, text};
use crate::onnx::OnnxError;
use crate::onnx::proto::NodeProto;

/// What `Upsample` and the first `Resize` did: places are counted from the corner, and rounded
/// down.
fn from_the_corner(node: &mut NodeProto, rounding: &str) {
    set(node, "coordinate_transformation_mode", "asymmetric");
    if text(node, "mode", "nearest") == "nearest" {
        set(node, "nearest_mode", rounding);
    }
}

pub(super) fn upsample(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    if let Some(scales) = take(node, "scales") {
        node.input.push(place.floats("scales", &scales.floats));
    }
    if node.input.len() != 2 {
        return Err(OnnxError::node(node, "it lacks its scales"));
    }
    node.op_type = Some("Resize".to_owned());
    from_the_corner(node, "floor");
    node.input.insert(1, String::new());
    Ok(())
}

/// The first `Resize` rounded down where it enlarged, and up where it made smaller.
pub(super) fn resize(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    let [_, scales] = &node.input[..] else {
        return Err(OnnxError::node(node, "it lacks its scales"));
    };
    let rounding = if text(node, "mode", "nearest") == "nearest" {
        let Some(scales) = place.argument(scales).and_then(|scales| scales.to_f32()) else {
            let reason = "its scales are computed: whether it rounds up or down is not known";
            return Err(OnnxError::node(node, reason));
        };
        let enlarges = scales.iter().all(|&scale| scale >= 1.0);
        let shrinks = scales.iter().all(|&scale| scale <= 1.0);
        match (enlarges, shrinks) {
            (true, _) => "floor",
            (_, true) => "ceil",
            _ => {
                let reason = "it makes one axis larger and another smaller, which rounded both \
                              ways and has no equivalent";
                return Err(OnnxError::node(node, reason));
            }
        }
    } else {
        "floor"
    };
    from_the_corner(node, rounding);
    node.input.insert(1, String::new());
    Ok(())
}

/// Regions and scales had to be given, empty where they were not meant.
pub(super) fn regions(node: &mut NodeProto, _: &mut Place<'_>) -> Result<(), OnnxError> {
    let mode = text(node, "coordinate_transformation_mode", "half_pixel");
    if mode == "tf_half_pixel_for_nn" {
        let nearest = text(node, "mode", "nearest") == "nearest";
        if !nearest || text(node, "nearest_mode", "round_prefer_floor") != "floor" {
            let reason = "coordinate_transformation_mode tf_half_pixel_for_nn, which has an \
                          equivalent only where nearest_mode is floor";
            return Err(OnnxError::node(node, reason));
        }
        // floor(p + 1/2) is p rounded, with halves upwards.
        set(node, "coordinate_transformation_mode", "half_pixel");
        set(node, "nearest_mode", "round_prefer_ceil");
    }
    if mode != "tf_crop_and_resize" && node.input.len() > 1 {
        node.input[1].clear();
    }
    let has_sizes = node.input.get(3).is_some_and(|sizes| !sizes.is_empty());
    if has_sizes {
        node.input[2].clear();
    }
    trim(node);
    Ok(())
}

/// The mode has become another where it is left out.
pub(super) fn roi_align(node: &mut NodeProto, _: &mut Place<'_>) -> Result<(), OnnxError> {
    set(node, "coordinate_transformation_mode", "output_half_pixel");
    Ok(())
}
