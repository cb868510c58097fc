//! Broadcasting undone: the gradient of what was repeated is the sum over its repetitions.

use super::expr::Expr;
use crate::tensor::Dimension;

/// The sum of `gradient`, of shape `from`, over what broadcasting a value of shape `to` repeated.
/// An open dimension is taken to be none of the repeated ones unless the value has a 1 there.
pub fn unbroadcast<'g>(gradient: Expr<'g>, from: &[Dimension], to: &[Dimension]) -> Expr<'g> {
    let added = from.len().saturating_sub(to.len());
    let repeated = |axis: &usize| {
        to[*axis] == Dimension::Fixed(1) && from[axis + added] != Dimension::Fixed(1)
    };
    let leading: Vec<i64> = (0..added as i64).collect();
    let repeated: Vec<i64> = (0..to.len()).filter(repeated).map(|axis| axis as i64).collect();
    gradient.sum(&leading, false).sum(&repeated, true)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::autodiff::emitter::Emitter;
    use crate::tensor::DataType;

    fn nodes(from: &[Dimension], to: &[Dimension]) -> Vec<String> {
        let emitter = Emitter::new("", 17, HashSet::new());
        unbroadcast(emitter.value("g", DataType::Float32), from, to);
        let written = emitter.into_written();
        written.nodes.iter().map(|node| node.op_type().to_owned()).collect()
    }

    #[test]
    fn only_what_was_repeated_is_summed() {
        let batch = || Dimension::Named("batch".to_owned());
        let fixed = Dimension::Fixed;
        assert_eq!(nodes(&[batch(), fixed(3)], &[batch(), fixed(3)]), Vec::<String>::new());
        assert_eq!(nodes(&[batch(), fixed(3)], &[fixed(3)]), ["ReduceSum"]);
        assert_eq!(nodes(&[batch(), fixed(3)], &[fixed(1), fixed(3)]), ["ReduceSum"]);
        let (from, to) = ([batch(), fixed(2), fixed(3)], [fixed(2), fixed(1)]);
        assert_eq!(nodes(&from, &to), ["ReduceSum", "ReduceSum"]);
        assert_eq!(nodes(&[fixed(1), fixed(1)], &[fixed(1)]), ["ReduceSum"]);
    }
}
