//! What is dropped in training: a mask that follows from numbers alone, so that a run repeats on
//! any engine and any number of threads, and goes on where it was stopped.

use super::{Signature, float_attribute, function, int_attribute};
use crate::autodiff::emitter::Emitter;
use crate::autodiff::expr::Expr;
use crate::onnx::proto::FunctionProto;
use crate::tensor::DataType;

/// The prime that all is counted by: products of two numbers below it are exact in 64 bits.
pub const MODULUS: i64 = (1 << 31) - 1;

/// What separates the numbers that are mixed into a key; any would do.
pub const ROUNDS: [i64; 3] = [0x1b87_3593, 0x4c95_7f2d, 0x2545_f491];

/// `DropoutMask(x, draw; seed, node, threshold, scale) → mask`, of the shape and type of `x`, of
/// which no value is read. An element is `scale` where its number is below `threshold`, else 0;
/// numbers are spread evenly below [`MODULUS`]. `seed` and `node` are below it, too.
///
/// Elements are counted and then enciphered: a fifth power is a permutation modulo this prime, and
/// two of them behind secret sums leave nothing of the order.
pub fn dropout_mask(opset: i64) -> FunctionProto {
    let signature = Signature {
        name: "DropoutMask",
        inputs: ["x", "draw"],
        outputs: ["mask"],
        attributes: &["seed", "node", "threshold", "scale"],
    };
    function(opset, &signature, |emitter, [x, draw]| {
        let number = |value: i64| emitter.ints(&[value]);
        let attribute = |name: &str| int_attribute(emitter, name);
        let modulo = number(MODULUS);
        let draw = draw.call_typed("Mod", &[modulo], vec![], DataType::Int64);
        let [begin, middle, end] = ROUNDS.map(number);
        let key = permuted(attribute("seed"), begin);
        let key = permuted(permuted(key, attribute("node")), draw);
        let first = permuted(key, middle);
        let second = permuted(first, end);
        let counted = permuted(permuted(places(emitter, x), first), second);
        let kept = counted.less(attribute("threshold"));
        let flat = kept.select(float_attribute(x, "scale"), 0.0);
        [flat.reshape_exactly(x.shape())]
    })
}

/// The numbers of all elements, in their order.
fn places<'g>(emitter: &'g Emitter, x: Expr<'g>) -> Expr<'g> {
    let count = x.shape().call_with("ReduceProd", &[], vec![("keepdims", 0.into())]);
    let number = |value: f64| emitter.scalar(DataType::Int64, value);
    number(0.0).call("Range", &[count, number(1.0)])
}

/// `-(x + key)⁵`. The sign stays: tract makes a square of `s·s`, which it lacks in integers.
fn permuted<'g>(x: Expr<'g>, key: Expr<'g>) -> Expr<'g> {
    let modulo = x.emitter().ints(&[MODULUS]);
    let reduced = |value: Expr<'g>| value.call("Mod", &[modulo]);
    let sum = reduced(x + key);
    let turned = |value: Expr<'g>| modulo - value;
    let square = reduced(sum * turned(sum));
    reduced(reduced(square * turned(square)) * sum)
}
