//! Values in formulas: `g * (1.0 - y * y)` reads as it is written and leaves ONNX nodes behind.

use std::ops::{Add, Div, Mul, Neg, Sub};
use std::rc::Rc;

use super::emitter::Emitter;
use crate::onnx::build::AttributeValue;
use crate::tensor::DataType;

/// A value of the graph, in the forward part or the backward. Operators broadcast as ONNX's do;
/// numbers take the type of the value they meet.
#[derive(Clone, Copy, Debug)]
pub struct Expr<'g> {
    emitter: &'g Emitter,
    index: usize,
}

impl<'g> Expr<'g> {
    pub(super) fn new(emitter: &'g Emitter, index: usize) -> Expr<'g> {
        Expr { emitter, index }
    }

    pub fn emitter(self) -> &'g Emitter {
        self.emitter
    }

    pub fn name(self) -> Rc<str> {
        self.emitter.name_of(self.index)
    }

    pub fn data_type(self) -> DataType {
        self.emitter.data_type_of(self.index)
    }

    /// A number of this value's type.
    pub fn number(self, value: f64) -> Expr<'g> {
        self.emitter.scalar(self.data_type(), value)
    }

    /// An operator without attributes, whose answer has this value's type.
    pub fn call(self, operator: &str, others: &[Expr<'g>]) -> Expr<'g> {
        self.call_with(operator, others, vec![])
    }

    /// An operator with attributes, whose answer has this value's type.
    pub fn call_with(
        self,
        operator: &str,
        others: &[Expr<'g>],
        attributes: Vec<(&str, AttributeValue)>,
    ) -> Expr<'g> {
        self.call_typed(operator, others, attributes, self.data_type())
    }

    /// An operator whose answer has that type.
    pub fn call_typed(
        self,
        operator: &str,
        others: &[Expr<'g>],
        attributes: Vec<(&str, AttributeValue)>,
        data_type: DataType,
    ) -> Expr<'g> {
        let inputs: Vec<Option<Expr<'g>>> =
            std::iter::once(self).chain(others.iter().copied()).map(Some).collect();
        self.emitter.call(operator, &inputs, attributes, &[data_type])[0]
    }

    pub fn exp(self) -> Expr<'g> {
        self.call("Exp", &[])
    }

    pub fn ln(self) -> Expr<'g> {
        self.call("Log", &[])
    }

    pub fn sqrt(self) -> Expr<'g> {
        self.call("Sqrt", &[])
    }

    pub fn sin(self) -> Expr<'g> {
        self.call("Sin", &[])
    }

    pub fn cos(self) -> Expr<'g> {
        self.call("Cos", &[])
    }

    pub fn tanh(self) -> Expr<'g> {
        self.call("Tanh", &[])
    }

    pub fn erf(self) -> Expr<'g> {
        self.call("Erf", &[])
    }

    pub fn sigmoid(self) -> Expr<'g> {
        self.call("Sigmoid", &[])
    }

    pub fn abs(self) -> Expr<'g> {
        self.call("Abs", &[])
    }

    /// -1, 0 or 1.
    pub fn sign(self) -> Expr<'g> {
        self.call("Sign", &[])
    }

    pub fn pow(self, exponent: impl Operand<'g>) -> Expr<'g> {
        self.call("Pow", &[exponent.beside(self)])
    }

    pub fn matmul(self, other: Expr<'g>) -> Expr<'g> {
        self.call("MatMul", &[other])
    }

    /// Axes in a new order.
    pub fn transpose(self, order: &[i64]) -> Expr<'g> {
        if order.iter().enumerate().all(|(place, &axis)| place as i64 == axis) {
            return self;
        }
        self.call_with("Transpose", &[], vec![("perm", AttributeValue::Ints(order.to_vec()))])
    }

    /// `shape` as in ONNX's `Reshape`.
    pub fn reshape(self, shape: Expr<'g>) -> Expr<'g> {
        self.call("Reshape", &[shape])
    }

    /// To a shape whose zeros mean zero and that has no -1.
    pub fn reshape_exactly(self, shape: Expr<'g>) -> Expr<'g> {
        self.call_with("Reshape", &[shape], vec![("allowzero", 1.into())])
    }

    /// To these sizes; one may be -1 where none is 0.
    pub fn reshape_to(self, sizes: &[i64]) -> Expr<'g> {
        let shape = self.emitter.ints(sizes);
        if sizes.contains(&0) { self.reshape_exactly(shape) } else { self.reshape(shape) }
    }

    pub fn expand(self, shape: Expr<'g>) -> Expr<'g> {
        self.call("Expand", &[shape])
    }

    pub fn unsqueeze(self, axes: &[i64]) -> Expr<'g> {
        if axes.is_empty() { self } else { self.call("Unsqueeze", &[self.emitter.ints(axes)]) }
    }

    pub fn squeeze(self, axes: &[i64]) -> Expr<'g> {
        if axes.is_empty() { self } else { self.call("Squeeze", &[self.emitter.ints(axes)]) }
    }

    pub fn cast(self, data_type: DataType) -> Expr<'g> {
        if data_type == self.data_type() {
            return self;
        }
        let to = i64::from(crate::onnx::element_type_of(data_type));
        self.call_typed("Cast", &[], vec![("to", AttributeValue::Int(to))], data_type)
    }

    /// The sum over axes; over none it is the value itself.
    pub fn sum(self, axes: &[i64], keep: bool) -> Expr<'g> {
        self.reduce("ReduceSum", axes, keep)
    }

    pub fn mean(self, axes: &[i64], keep: bool) -> Expr<'g> {
        self.reduce("ReduceMean", axes, keep)
    }

    /// One of ONNX's `Reduce` operators, whose axes became an input in operator set 18, those of
    /// `ReduceSum` in 13.
    pub fn reduce(self, operator: &str, axes: &[i64], keep: bool) -> Expr<'g> {
        if axes.is_empty() {
            return self;
        }
        let keep = ("keepdims", AttributeValue::Int(i64::from(keep)));
        if operator == "ReduceSum" || self.emitter.opset() >= 18 {
            return self.call_with(operator, &[self.emitter.ints(axes)], vec![keep]);
        }
        let axes = ("axes", AttributeValue::Ints(axes.to_vec()));
        self.call_with(operator, &[], vec![axes, keep])
    }

    pub fn concat(parts: &[Expr<'g>], axis: i64) -> Expr<'g> {
        let axis = vec![("axis", AttributeValue::Int(axis))];
        parts[0].call_with("Concat", &parts[1..], axis)
    }

    /// `starts..ends` of some axes, by `steps`.
    pub fn slice(self, starts: Expr<'g>, ends: Expr<'g>, axes: &[i64], steps: &[i64]) -> Expr<'g> {
        let (axes, steps) = (self.emitter.ints(axes), self.emitter.ints(steps));
        self.call("Slice", &[starts, ends, axes, steps])
    }

    /// Elements `from..to` of one axis, as many as that many numbers say.
    pub fn slice_axis(self, axis: i64, from: i64, to: i64) -> Expr<'g> {
        let (from, to) = (self.emitter.ints(&[from]), self.emitter.ints(&[to]));
        self.slice(from, to, &[axis], &[1])
    }

    /// Places of one axis, in the order given; those that follow each other are a slice.
    pub fn pick(self, places: &[i64], axis: i64) -> Expr<'g> {
        if let Some(&first) = places.first()
            && places.iter().enumerate().all(|(index, &place)| place == first + index as i64)
        {
            return self.slice_axis(axis, first, first + places.len() as i64);
        }
        let axis = vec![("axis", AttributeValue::Int(axis))];
        self.call_with("Gather", &[self.emitter.ints(places)], axis)
    }

    pub fn equals(self, other: impl Operand<'g>) -> Expr<'g> {
        self.compare("Equal", other)
    }

    pub fn less(self, other: impl Operand<'g>) -> Expr<'g> {
        self.compare("Less", other)
    }

    pub fn less_or_equal(self, other: impl Operand<'g>) -> Expr<'g> {
        self.compare("LessOrEqual", other)
    }

    pub fn greater(self, other: impl Operand<'g>) -> Expr<'g> {
        self.compare("Greater", other)
    }

    pub fn greater_or_equal(self, other: impl Operand<'g>) -> Expr<'g> {
        self.compare("GreaterOrEqual", other)
    }

    fn compare(self, operator: &str, other: impl Operand<'g>) -> Expr<'g> {
        self.call_typed(operator, &[other.beside(self)], vec![], DataType::Bool)
    }

    pub fn and(self, other: Expr<'g>) -> Expr<'g> {
        self.call("And", &[other])
    }

    /// Where this condition holds the one, elsewhere the other; the type is that of `yes`.
    pub fn select(self, yes: Expr<'g>, no: impl Operand<'g>) -> Expr<'g> {
        self.call_typed("Where", &[yes, no.beside(yes)], vec![], yes.data_type())
    }

    /// Where this condition does not hold the value, elsewhere zero.
    pub fn zero_or(self, value: Expr<'g>) -> Expr<'g> {
        self.call_typed("Where", &[value.number(0.0), value], vec![], value.data_type())
    }

    /// The value where this condition holds, elsewhere zero: a product, several times as fast as
    /// `Where` on ONNX Runtime. What is infinite elsewhere becomes NaN; [`select`](Self::select)
    /// leaves it out.
    pub fn gate(self, value: Expr<'g>) -> Expr<'g> {
        self.cast(value.data_type()) * value
    }

    /// The shape at run time. See [`Call`](super::call::Call) for shapes that are known.
    pub fn shape(self) -> Expr<'g> {
        self.call_typed("Shape", &[], vec![], DataType::Int64)
    }
}

/// What may stand beside a value in a formula.
pub trait Operand<'g> {
    fn beside(self, value: Expr<'g>) -> Expr<'g>;
}

impl<'g> Operand<'g> for Expr<'g> {
    fn beside(self, _: Expr<'g>) -> Expr<'g> {
        self
    }
}

impl<'g> Operand<'g> for f64 {
    fn beside(self, value: Expr<'g>) -> Expr<'g> {
        value.number(self)
    }
}

macro_rules! operator {
    ($($operator:ident $method:ident),*) => {
        $(
            impl<'g, O: Operand<'g>> $operator<O> for Expr<'g> {
                type Output = Expr<'g>;

                fn $method(self, other: O) -> Expr<'g> {
                    self.call(stringify!($operator), &[other.beside(self)])
                }
            }

            impl<'g> $operator<Expr<'g>> for f64 {
                type Output = Expr<'g>;

                fn $method(self, other: Expr<'g>) -> Expr<'g> {
                    other.number(self).call(stringify!($operator), &[other])
                }
            }
        )*
    };
}

operator!(Add add, Sub sub, Mul mul, Div div);

impl<'g> Neg for Expr<'g> {
    type Output = Expr<'g>;

    fn neg(self) -> Expr<'g> {
        self.call("Neg", &[])
    }
}
