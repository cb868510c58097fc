//! Operators that make each place along an axis of a few places of their input, in the same way
//! everywhere: strides, reflections, interpolation. And the way back.

use super::expr::Expr;

/// A linear map along one axis, in numbers.
pub struct AxisMap {
    /// How long the axis is in the input.
    pub from: usize,
    /// For each place of the output the places of the input it is made of, and what each of them
    /// counts for.
    pub made_of: Vec<Vec<(usize, f64)>>,
}

/// Sums of that many picked elements are still cheaper than a product of matrices.
const MAX_PICKS: usize = 4;

impl AxisMap {
    /// Every place of the output is one of the input.
    pub fn of_places(from: usize, places: impl Iterator<Item = usize>) -> AxisMap {
        AxisMap { from, made_of: places.map(|place| vec![(place, 1.0)]).collect() }
    }

    /// Whether the output is the input.
    pub fn is_identity(&self) -> bool {
        let stays = |(place, parts): (usize, &Vec<(usize, f64)>)| *parts == [(place, 1.0)];
        self.from == self.made_of.len() && self.made_of.iter().enumerate().all(stays)
    }

    /// The input's gradient, from that of the output, `g` of that rank.
    pub fn backwards<'g>(&self, g: Expr<'g>, axis: usize, rank: usize) -> Expr<'g> {
        match self.by_picks(g, axis, rank) {
            Some(gradient) => gradient,
            None => self.by_matrix(g, axis, rank),
        }
    }

    /// The same as a sum of picked elements, where few meet at any place and all count once.
    pub fn by_picks<'g>(&self, g: Expr<'g>, axis: usize, rank: usize) -> Option<Expr<'g>> {
        let mut uses: Vec<Vec<usize>> = vec![Vec::new(); self.from];
        for (place, parts) in self.made_of.iter().enumerate() {
            for &(source, weight) in parts {
                if weight != 1.0 {
                    return None;
                }
                uses[source].push(place);
            }
        }
        let most = uses.iter().map(Vec::len).max().unwrap_or(0).max(1);
        if most > MAX_PICKS {
            return None;
        }
        let even = uses.iter().all(|places| places.len() == most);
        // Places that take nothing take the zero behind the last one.
        let zero = self.made_of.len() as i64;
        let picked_from = if even { g } else { pad_end(g, axis, rank) };
        let picks: Vec<Expr> = (0..most)
            .map(|turn| {
                let place = |places: &Vec<usize>| places.get(turn).map_or(zero, |&at| at as i64);
                let indices: Vec<i64> = uses.iter().map(place).collect();
                picked_from.pick(&indices, axis as i64)
            })
            .collect();
        let (&first, rest) = picks.split_first().expect("there is at least one turn");
        Some(rest.iter().fold(first, |sum, &pick| sum + pick))
    }

    fn by_matrix<'g>(&self, g: Expr<'g>, axis: usize, rank: usize) -> Expr<'g> {
        let to = self.made_of.len();
        let mut matrix = vec![0.0; to * self.from];
        for (place, parts) in self.made_of.iter().enumerate() {
            for &(source, weight) in parts {
                matrix[place * self.from + source] += weight;
            }
        }
        if axis + 2 == rank {
            // From the left it needs no transposing of the value.
            let mut transposed = vec![0.0; to * self.from];
            for (index, weight) in matrix.iter().enumerate() {
                transposed[index % self.from * to + index / self.from] = *weight;
            }
            let matrix = g.emitter().floats(g.data_type(), &[self.from, to], &transposed);
            return matrix.matmul(g);
        }
        let matrix = g.emitter().floats(g.data_type(), &[to, self.from], &matrix);
        let mut order: Vec<i64> = (0..rank as i64).collect();
        order.swap(axis, rank - 1);
        g.transpose(&order).matmul(matrix).transpose(&order)
    }
}

/// One more place at an axis's end, of zeros.
fn pad_end(value: Expr<'_>, axis: usize, rank: usize) -> Expr<'_> {
    let mut pads = vec![0; 2 * rank];
    pads[rank + axis] = 1;
    value.call("Pad", &[value.emitter().ints(&pads)])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::autodiff::emitter::Emitter;
    use crate::tensor::DataType;

    fn nodes(map: &AxisMap, axis: usize) -> Vec<String> {
        let emitter = Emitter::new("gradient/", 17, HashSet::new());
        map.backwards(emitter.value("g", DataType::Float32), axis, 3);
        let written = emitter.into_written();
        written.nodes.iter().map(|node| node.op_type().to_owned()).collect()
    }

    #[test]
    fn few_that_meet_are_picked_and_added() {
        let places = |places: &[usize]| AxisMap::of_places(4, places.iter().copied());
        assert_eq!(nodes(&places(&[3, 2, 1, 0]), 0), ["Gather"]);
        assert_eq!(nodes(&places(&[0, 1, 2, 3]), 0), ["Slice"]);
        assert_eq!(nodes(&places(&[0, 2]), 0), ["Pad", "Gather"]);
        let twice = places(&[0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(nodes(&twice, 0), ["Gather", "Gather", "Add"]);
    }

    #[test]
    fn others_are_a_matrix_product() {
        let many = AxisMap::of_places(2, [0, 0, 0, 0, 0, 1].into_iter());
        assert_eq!(nodes(&many, 1), ["MatMul"]);
        assert_eq!(nodes(&many, 2), ["MatMul"]);
        assert_eq!(nodes(&many, 0), ["Transpose", "MatMul", "Transpose"]);
        let mean = AxisMap { from: 2, made_of: vec![vec![(0, 0.5), (1, 0.5)]] };
        assert_eq!(nodes(&mean, 2), ["MatMul"]);
    }
}
