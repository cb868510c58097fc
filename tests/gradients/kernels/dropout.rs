//! Masks of a dropout: kernel against body, to the bit.

use onnxd::autodiff::functions::dropout::dropout_mask;

use super::call::Call;
use crate::numbers::ints;

fn call(shape: &[usize], draw: i64) -> Call {
    Call::of(dropout_mask)
        .floats(shape)
        .tensor(ints(&[], &[draw]))
        .attribute("node", 3i64)
        .attribute("scale", 1.25f32)
        .tolerance(0.0)
}

#[test]
fn masks_are_the_bodys() {
    for (seed, threshold) in [(0, 1_717_986_918), (2_147_483_646, 1_073_741_824), (5, 0)] {
        for shape in [&[][..], &[7], &[3, 0], &[2, 5, 3], &[40, 1000]] {
            let with = |call: Call| call.attribute("seed", seed).attribute("threshold", threshold);
            with(call(shape, 1)).check();
            with(call(shape, 1 << 40)).check();
        }
    }
    let open = call(&[4, 3], 9).attribute("seed", 1i64).attribute("threshold", 1_000_000_000i64);
    open.open().check();
}

#[test]
fn what_does_not_fit_is_refused() {
    let of = |draw: i64, threshold: i64| {
        call(&[3], draw).attribute("seed", 1i64).attribute("threshold", threshold)
    };
    of(1, 1 << 31).refused("threshold is 2147483648");
    of(-1, 5).refused("input 1 is -1");
}
