//! The gradient of looking rows up: kernel against body.

use onnxd::autodiff::functions::embedding::embedding_gradient;

use super::call::Call;
use crate::numbers::{ints, short_ints};

#[test]
fn rows_that_are_looked_up_several_times_add_up() {
    let call = || Call::of(embedding_gradient).attribute("rows", 5i64);
    call().floats(&[4, 3]).tensor(ints(&[4], &[1, -1, 1, 0])).check();
    call().floats(&[4, 3]).tensor(short_ints(&[4], &[1, -1, 1, 0])).check();
    call().floats(&[3]).tensor(ints(&[], &[2])).check();
    call().floats(&[2, 3]).tensor(ints(&[2, 3], &[0, 1, 2, 2, 1, 2])).check();
    let indices = || ints(&[2, 3], &[4, 4, 4, -5, 0, 3]);
    call().floats(&[2, 3, 4, 2]).tensor(indices()).check();
    call().floats(&[2, 3, 4, 2]).tensor(indices()).open().check();
}

#[test]
fn no_index_outside_the_table() {
    let call = Call::of(embedding_gradient).attribute("rows", 5i64);
    call.floats(&[2, 3]).tensor(ints(&[2], &[0, 5])).refused("index 5 at position 1");
}

/// On two threads, without a kernel: sums of hundreds of rows in another order have other bits.
#[test]
fn the_body_adds_up_in_the_same_order_every_time() {
    let indices: Vec<i64> = (0..4096).map(|position| position * 7919 % 10).collect();
    let call = Call::of(embedding_gradient).attribute("rows", 10i64);
    call.floats(&[4096, 64]).tensor(ints(&[4096], &indices)).assert_body_repeats(20);
}
