//! Convolutions: one to three dimensions, and all their attributes.

use onnxd::autodiff::functions::convolution;

use crate::case::Case;

fn conv(x: &[usize], w: &[usize]) -> Case {
    Case::of("Conv").floats(x).floats(w)
}

#[test]
fn conv_in_one_to_three_dimensions() {
    conv(&[2, 3, 7], &[4, 3, 3]).floats(&[4]).check();
    conv(&[2, 3, 5, 6], &[4, 3, 3, 2]).floats(&[4]).check();
    conv(&[1, 2, 3, 4, 5], &[2, 2, 2, 3, 2]).floats(&[2]).check();
    conv(&[2, 3, 4, 4], &[2, 3, 1, 1]).check();
}

#[test]
fn conv_with_steps_that_do_not_fill_the_input() {
    for stride in [2i64, 3] {
        for size in [6, 7, 8] {
            conv(&[1, 2, size, 7], &[2, 2, 3, 2])
                .attribute("strides", [stride, 2])
                .attribute("pads", [1, 0, 1, 2])
                .check();
        }
    }
    conv(&[1, 1, 9], &[1, 1, 2]).attribute("strides", [4]).check();
    conv(&[1, 2, 7, 7], &[2, 2, 1, 1]).attribute("strides", [2, 2]).check();
}

#[test]
fn conv_with_gaps() {
    conv(&[2, 2, 9, 8], &[2, 2, 3, 2])
        .attribute("dilations", [2, 3])
        .attribute("strides", [2, 1])
        .attribute("pads", [2, 1, 0, 1])
        .check();
    conv(&[1, 1, 11], &[2, 1, 3])
        .attribute("dilations", [3])
        .attribute("strides", [2])
        .attribute("pads", [2, 3])
        .check();
}

#[test]
fn conv_in_groups() {
    conv(&[2, 4, 5, 5], &[6, 2, 3, 3]).floats(&[6]).attribute("group", 2).check();
    let depthwise = || conv(&[2, 3, 5, 5], &[3, 1, 3, 3]).attribute("group", 3);
    depthwise().check();
    depthwise().attribute("strides", [2, 2]).attribute("pads", [1, 1, 1, 1]).check();
    conv(&[1, 2, 6], &[4, 1, 2]).attribute("group", 2).attribute("dilations", [2]).check();
}

#[test]
fn conv_with_padding_that_follows_from_sizes() {
    for padding in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        for (size, stride) in [(6, 1i64), (7, 2), (6, 2), (8, 3)] {
            conv(&[1, 2, size, 5], &[2, 2, 3, 2])
                .attribute("auto_pad", padding)
                .attribute("strides", [stride, 1])
                .check();
        }
    }
}

#[test]
fn conv_over_open_sizes() {
    for size in [6, 7, 8, 9] {
        let case = || conv(&[1, 2, size, size], &[2, 2, 3, 4]).attribute("strides", [3, 1]);
        case().attribute("pads", [1, 0, 2, 1]).open(size).check();
        case().attribute("auto_pad", "SAME_UPPER").open(size).refused("padding depends on a size");
    }
    let same = conv(&[2, 2, 6, 6], &[2, 2, 3, 2]).attribute("auto_pad", "SAME_UPPER");
    same.open(6).check();
    conv(&[5, 2, 6], &[2, 2, 3]).open(5).check();
    transposed(&[2, 3, 4], &[3, 2, 3]).attribute("strides", [2]).open(4).check();
}

#[test]
fn conv_as_a_function_of_ours() {
    let function = convolution::conv(17);
    let attributes = |case: Case| {
        case.attribute("strides", [2, 1])
            .attribute("pads", [1, 0, 1, 1])
            .attribute("dilations", [1, 2])
            .attribute("group", 2)
            .attribute("kernel_shape", [3, 2])
    };
    let case = || Case::of_function("Conv", function.clone()).floats(&[1, 4, 6, 5]);
    attributes(case().floats(&[2, 2, 3, 2])).check();
    attributes(case().floats(&[2, 2, 3, 2]).floats(&[2])).check();
}

fn transposed(x: &[usize], w: &[usize]) -> Case {
    Case::of("ConvTranspose").floats(x).floats(w)
}

#[test]
fn conv_transpose() {
    transposed(&[2, 3, 4], &[3, 2, 3]).floats(&[2]).check();
    transposed(&[2, 3, 4, 3], &[3, 2, 3, 2])
        .floats(&[2])
        .attribute("strides", [2, 3])
        .attribute("pads", [1, 0, 1, 1])
        .check();
    transposed(&[1, 2, 2, 3, 2], &[2, 2, 2, 2, 3]).attribute("strides", [2, 1, 2]).check();
}

#[test]
fn conv_transpose_with_more_at_the_end() {
    transposed(&[1, 2, 4, 3], &[2, 2, 3, 3])
        .attribute("strides", [2, 3])
        .attribute("output_padding", [1, 2])
        .attribute("pads", [1, 1, 1, 1])
        .check();
}

#[test]
fn conv_transpose_in_groups_and_with_gaps() {
    transposed(&[2, 4, 3, 3], &[4, 3, 2, 2]).floats(&[6]).attribute("group", 2).check();
    transposed(&[2, 3, 3, 3], &[3, 1, 3, 3])
        .attribute("group", 3)
        .attribute("dilations", [2, 1])
        .attribute("strides", [1, 2])
        .check();
}

#[test]
fn conv_transpose_of_a_wanted_size() {
    for padding in ["SAME_UPPER", "SAME_LOWER"] {
        for kernel in [2, 3, 4] {
            transposed(&[1, 2, 4, 3], &[2, 2, kernel, 3])
                .attribute("auto_pad", padding)
                .attribute("strides", [2, 1])
                .coarsely()
                .check();
        }
    }
    transposed(&[1, 2, 4], &[2, 2, 3])
        .attribute("strides", [2])
        .attribute("output_shape", [8])
        .coarsely()
        .check();
    transposed(&[1, 2, 4], &[2, 2, 2]).attribute("auto_pad", "VALID").check();
}
