//! Products of matrices.

use crate::case::Case;

fn matmul(a: &[usize], b: &[usize]) {
    Case::of("MatMul").floats(a).floats(b).check();
}

#[test]
fn matmul_of_matrices() {
    matmul(&[2, 3], &[3, 4]);
    matmul(&[1, 3], &[3, 1]);
    matmul(&[1, 1], &[1, 5]);
}

#[test]
fn matmul_of_vectors() {
    // tract has no product of two vectors.
    Case::of("MatMul").floats(&[3]).floats(&[3]).on_onnxruntime().check();
    matmul(&[3], &[3, 4]);
    matmul(&[2, 3], &[3]);
    matmul(&[3], &[2, 3, 4]);
    matmul(&[2, 4, 3], &[3]);
}

#[test]
fn matmul_of_stacks() {
    matmul(&[2, 3, 4], &[4, 2]);
    matmul(&[2, 2, 3, 4], &[4, 2]);
    matmul(&[5, 2, 3], &[5, 3, 4]);
    matmul(&[2, 1, 2, 3], &[4, 3, 2]);
    matmul(&[2, 3], &[4, 3, 2]);
    matmul(&[1, 2, 3], &[4, 3, 2]);
}

#[test]
fn matmul_of_nothing() {
    matmul(&[0, 3], &[3, 4]);
    matmul(&[2, 0], &[0, 4]);
    matmul(&[0, 2, 3], &[3, 4]);
}

#[test]
fn gemm() {
    Case::of("Gemm").floats(&[2, 3]).floats(&[3, 4]).check();
    for turned in 0..4i64 {
        let (a, b) = (turned & 1, turned >> 1);
        Case::of("Gemm")
            .floats(if a == 1 { &[3, 2] } else { &[2, 3] })
            .floats(if b == 1 { &[4, 3] } else { &[3, 4] })
            .floats(&[2, 4])
            .attribute("transA", a)
            .attribute("transB", b)
            .attribute("alpha", 0.5f32)
            .attribute("beta", 1.5f32)
            .on_onnxruntime()
            .and_tract()
            .check();
    }
}

#[test]
fn gemm_repeats_what_it_adds() {
    for shape in [&[4][..], &[1, 4], &[2, 1], &[1, 1], &[1], &[]] {
        Case::of("Gemm").floats(&[2, 3]).floats(&[3, 4]).floats(shape).check();
    }
}

#[test]
fn gemm_of_nothing() {
    Case::of("Gemm").floats(&[0, 3]).floats(&[3, 4]).floats(&[4]).check();
}
