//! Sums over indices.

use crate::case::Case;

fn einsum(equation: &'static str, shapes: &[&[usize]]) -> Case {
    let case = Case::of("Einsum").attribute("equation", equation);
    shapes.iter().fold(case, |case, shape| case.floats(shape))
}

#[test]
fn products_of_two() {
    einsum("ij,jk->ik", &[&[2, 3], &[3, 4]]).check();
    einsum("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 2]]).check();
    einsum("bhqd,bhkd->bhqk", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]).check();
    einsum("i,j->ij", &[&[3], &[4]]).check();
    einsum("ij,ij->ij", &[&[2, 3], &[2, 3]]).check();
    einsum("ij,ij->j", &[&[2, 3], &[2, 3]]).check();
    einsum("i,i->", &[&[3], &[3]]).check();
    einsum("bn,anm,bm->ba", &[&[2, 3], &[4, 3, 5], &[2, 5]]).check();
}

#[test]
fn one_operand() {
    einsum("ij->ji", &[&[2, 3]]).check();
    einsum("ijk->j", &[&[2, 3, 4]]).check();
    einsum("ij->", &[&[2, 3]]).on_onnxruntime().check();
}

#[test]
fn indices_that_one_operand_has_alone() {
    einsum("ij,k->i", &[&[2, 3], &[4]]).check();
    einsum("ij,k->k", &[&[2, 3], &[4]]).check();
    einsum("i,jk->", &[&[2], &[3, 4]]).on_onnxruntime().check();
    einsum("ijk,il->lj", &[&[2, 3, 4], &[2, 3]]).check();
}

#[test]
fn without_an_arrow() {
    einsum("ij,jk", &[&[2, 3], &[3, 4]]).check();
    einsum("ba", &[&[2, 3]]).check();
    einsum("i,i", &[&[3], &[3]]).check();
    einsum(" ij , jk -> ik ", &[&[2, 3], &[3, 4]]).on_onnxruntime().check();
}

#[test]
fn with_an_ellipsis() {
    einsum("...ij,...jk->...ik", &[&[2, 2, 2, 3], &[2, 2, 3, 4]]).check();
    einsum("...i->...", &[&[2, 3, 4]]).check();
    einsum("i...,i...->...", &[&[2, 3, 4], &[2, 3, 4]]).check();
    einsum("...ij,...jk", &[&[2, 2, 3], &[2, 3, 4]]).on_onnxruntime().check();
    einsum("...ij,jk->...ik", &[&[2, 2, 3], &[3, 4]]).check();
}

#[test]
fn sizes_of_one_meet_longer_ones() {
    einsum("...ij,...jk->...ik", &[&[1, 2, 3], &[2, 3, 4]]).on_onnxruntime().check();
    einsum("ij,ij->ij", &[&[2, 3], &[1, 3]]).on_onnxruntime().check();
    einsum("ij,ij->j", &[&[2, 3], &[1, 3]]).on_onnxruntime().check();
}

#[test]
fn a_diagonal_is_refused() {
    einsum("ii->i", &[&[3, 3]]).refused("one operand has an index twice");
}
