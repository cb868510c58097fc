//! Attention and rotary embedding, written out.

use crate::case::Case;
use crate::numbers::{bools, ints};

const BATCH: usize = 2;
const QUERIES: usize = 3;
const KEYS: usize = 4;
const WIDTH: usize = 4;

/// Query, key and value with an axis for heads, or with `flat` heads in the last one.
fn of(heads: usize, shared: usize, flat: bool) -> Case {
    let case = Case::of("Attention").opset(23).expanded().on_onnxruntime().and_tract();
    if !flat {
        return case
            .floats(&[BATCH, heads, QUERIES, WIDTH])
            .floats(&[BATCH, shared, KEYS, WIDTH])
            .floats(&[BATCH, shared, KEYS, WIDTH + 1]);
    }
    case.floats(&[BATCH, QUERIES, heads * WIDTH])
        .floats(&[BATCH, KEYS, shared * WIDTH])
        .floats(&[BATCH, KEYS, shared * (WIDTH + 1)])
        .attribute("q_num_heads", heads as i64)
        .attribute("kv_num_heads", shared as i64)
}

#[test]
fn heads() {
    for flat in [false, true] {
        of(2, 2, flat).check();
        of(4, 2, flat).check();
        of(3, 1, flat).check();
    }
    of(2, 2, true).attribute("scale", 0.3f32).check();
    of(2, 2, true).attribute("softcap", 0.8f32).check();
}

#[test]
fn masks() {
    let seen = |count: usize| -> Vec<bool> { (0..count).map(|place| place % 3 != 1).collect() };
    for shape in [&[QUERIES, KEYS][..], &[BATCH, 1, QUERIES, KEYS], &[BATCH, 2, QUERIES, KEYS]] {
        let count = shape.iter().product();
        of(2, 2, false).given(bools(shape, &seen(count))).check();
        of(2, 2, true).floats(shape).check();
    }
    let bounds: Vec<f64> = seen(QUERIES * KEYS)
        .iter()
        .map(|&seen| if seen { 0.5 } else { f64::NEG_INFINITY })
        .collect();
    of(2, 2, true).fixed(&[QUERIES, KEYS], &bounds).check();
    // A query that may look at nothing.
    let mut rest = vec![true; QUERIES * KEYS];
    rest[..KEYS].fill(false);
    of(2, 2, false).given(bools(&[QUERIES, KEYS], &rest)).check();
}

#[test]
fn causes_before_effects() {
    of(2, 2, false).attribute("is_causal", 1i64).check();
    of(4, 2, true).attribute("is_causal", 1i64).check();
}

#[test]
fn what_was_seen_before() {
    let past = || {
        of(2, 2, false)
            .left_out()
            .floats(&[BATCH, 2, 2, WIDTH])
            .floats(&[BATCH, 2, 2, WIDTH + 1])
            .outputs(3)
    };
    past().check();
    past().attribute("is_causal", 1i64).check();
}

#[test]
fn scores_as_an_output() {
    for mode in 0..4i64 {
        let scores = of(2, 2, false).floats(&[QUERIES, KEYS]).outputs(4).using(&[0, 3]);
        scores.attribute("softcap", 0.8f32).attribute("qk_matmul_output_mode", mode).check();
    }
}

#[test]
fn keys_that_count_and_windows() {
    let counted = || of(2, 2, false).opset(24).left_out().left_out().left_out();
    counted().given(ints(&[BATCH], &[3, 2])).check();
    counted().given(ints(&[BATCH], &[4, 3])).attribute("is_causal", 1i64).check();
    let window = of(2, 2, false).opset(25).attribute("left_window_size", 1i64);
    window.attribute("right_window_size", 0i64).check();
}

fn turned(shape: &[usize], angles: &[usize], flat: Option<i64>) -> Case {
    let case = Case::of("RotaryEmbedding").opset(23).expanded().on_onnxruntime().and_tract();
    let case = case.floats(shape).floats(angles).floats(angles);
    match flat {
        Some(heads) => case.attribute("num_heads", heads),
        None => case,
    }
}

#[test]
fn rotary_embedding() {
    let places = || ints(&[2, 3], &[0, 2, 4, 1, 3, 5]);
    for interleaved in [0i64, 1] {
        let with = |case: Case| case.attribute("interleaved", interleaved);
        with(turned(&[2, 2, 3, 8], &[6, 4], None)).given(places()).check();
        with(turned(&[2, 3, 16], &[6, 4], Some(2))).given(places()).check();
        with(turned(&[2, 2, 3, 8], &[2, 3, 4], None)).check();
        let part = with(turned(&[2, 3, 16], &[6, 2], Some(2))).given(places());
        part.attribute("rotary_embedding_dim", 4i64).check();
    }
}
