//! Pools: one to three dimensions, and all their attributes.

use crate::case::Case;

fn pool(operator: &'static str, shape: &[usize], kernel: &[i64]) -> Case {
    Case::of(operator).floats(shape).attribute("kernel_shape", kernel)
}

/// The calls that all pools are tried with.
fn all_kinds(operator: &'static str, opset: i64) -> Vec<Case> {
    let pool = |shape: &[usize], kernel: &[i64]| pool(operator, shape, kernel).opset(opset);
    let mut cases = vec![
        pool(&[2, 3, 7], &[2]),
        pool(&[2, 3, 6, 5], &[3, 2]),
        pool(&[1, 2, 3, 4, 5], &[2, 3, 2]).attribute("strides", [1, 1, 2]),
        pool(&[2, 2, 7, 7], &[2, 2]).attribute("strides", [2, 2]),
        pool(&[1, 2, 7, 8], &[3, 3]).attribute("strides", [2, 2]).attribute("pads", [1, 1, 1, 1]),
        pool(&[1, 2, 7, 8], &[2, 1]).attribute("strides", [3, 2]),
    ];
    for padding in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let same = pool(&[1, 2, 7, 6], &[3, 2]).attribute("strides", [2, 1]);
        cases.push(same.attribute("auto_pad", padding));
    }
    cases
}

fn ceil(operator: &'static str, opset: i64) -> Vec<Case> {
    let pool = |shape: &[usize], kernel: &[i64]| {
        pool(operator, shape, kernel).opset(opset).attribute("ceil_mode", 1)
    };
    vec![
        pool(&[1, 2, 7, 8], &[3, 3]).attribute("strides", [3, 2]),
        pool(&[1, 2, 7, 8], &[3, 3]).attribute("strides", [2, 2]).attribute("pads", [1, 1, 1, 1]),
    ]
}

fn dilated(operator: &'static str, opset: i64) -> Case {
    pool(operator, &[1, 2, 8, 7], &[2, 3])
        .opset(opset)
        .attribute("dilations", [3, 2])
        .attribute("strides", [1, 2])
        .attribute("pads", [1, 0, 0, 2])
}

#[test]
fn max_pool() {
    for case in all_kinds("MaxPool", 17).into_iter().chain(ceil("MaxPool", 17)) {
        case.check();
    }
    dilated("MaxPool", 17).check();
}

#[test]
fn max_pool_never_chooses_padding() {
    Case::of("MaxPool")
        .floats_in(&[1, 2, 5, 5], -3.0, -1.0)
        .attribute("kernel_shape", [3, 3])
        .attribute("pads", [1, 1, 1, 1])
        .check();
}

#[test]
fn pools_of_open_sizes() {
    let max = || pool("MaxPool", &[2, 3, 7, 7], &[3, 2]).attribute("strides", [2, 2]);
    max().open(7).check();
    max().open(2).check();
    max().attribute("auto_pad", "SAME_UPPER").open(7).check();
    for operator in ["AveragePool", "LpPool"] {
        pool(operator, &[1, 2, 7, 7], &[3, 2]).open(7).refused("windows depend on a size");
    }
    pool("AveragePool", &[4, 3, 7, 7], &[3, 2]).open(4).check();
    for operator in ["GlobalAveragePool", "GlobalMaxPool"] {
        Case::of(operator).floats(&[2, 3, 5, 5]).open(5).check();
        Case::of(operator).floats(&[2, 3, 5, 5]).open(2).check();
    }
}

#[test]
fn max_pool_that_tells_places() {
    for order in [0i64, 1] {
        Case::of("MaxPool")
            .floats(&[2, 2, 5, 4])
            .attribute("kernel_shape", [2, 2])
            .attribute("storage_order", order)
            .outputs(2)
            .using(&[0])
            .check();
    }
}

#[test]
fn of_equal_elements_the_first_has_the_gradient() {
    let x = [1.0, 3.0, 3.0, 0.0, 2.0, 2.0];
    // Windows 1 3 3, 3 3 0, 3 0 2 and 0 2 2.
    let w = Case::weights(0, 4);
    let pool = Case::of("MaxPool").values(&[1, 1, 6], &x).attribute("kernel_shape", [3]);
    pool.expect(&[vec![0.0, w[0] + w[1], w[2], 0.0, w[3], 0.0]]);
    let w = Case::weights(0, 1)[0];
    let pool = Case::of("GlobalMaxPool").values(&[1, 1, 6], &x);
    pool.expect(&[vec![0.0, w, 0.0, 0.0, 0.0, 0.0]]);
}

#[test]
fn average_pool() {
    for case in all_kinds("AveragePool", 17) {
        case.check();
    }
    for case in all_kinds("AveragePool", 17) {
        case.attribute("count_include_pad", 1).check();
    }
    for case in ceil("AveragePool", 19) {
        case.check();
    }
    for case in ceil("AveragePool", 19) {
        case.attribute("count_include_pad", 1).check();
    }
    dilated("AveragePool", 19).check();
}

#[test]
fn lp_pool() {
    for case in all_kinds("LpPool", 17) {
        case.coarsely().check();
    }
    for p in [1i64, 2, 3] {
        let lp = pool("LpPool", &[1, 2, 5, 5], &[2, 3]);
        lp.attribute("p", p).attribute("strides", [1, 2]).coarsely().check();
    }
}

#[test]
fn global_pools() {
    for operator in ["GlobalAveragePool", "GlobalMaxPool"] {
        for shape in [&[2, 3, 5][..], &[2, 3, 4, 5], &[1, 2, 3, 2, 3], &[2, 3, 1, 1]] {
            Case::of(operator).floats(shape).check();
        }
    }
    for p in [1i64, 2, 3] {
        Case::of("GlobalLpPool").floats(&[2, 3, 4, 2]).attribute("p", p).coarsely().check();
    }
}
