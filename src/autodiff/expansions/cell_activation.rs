//! The activations that a recurrent node names.

use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::onnx::build::AttributeValue;

/// One of them, with the numbers that the node gives it.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    name: String,
    alpha: f32,
    beta: f32,
}

/// A number of an activation.
#[derive(Clone, Copy)]
enum Number {
    /// It has none.
    None,
    /// What it is where the node gives none.
    Usual(f32),
    /// Engines and the standard differ in what it is then.
    Given,
}

/// Alpha and beta.
fn numbers(name: &str) -> [Number; 2] {
    use Number::{Given, None, Usual};
    match name {
        "leakyrelu" => [Usual(0.01), None],
        "elu" => [Usual(1.0), None],
        "hardsigmoid" => [Usual(0.2), Usual(0.5)],
        "thresholdedrelu" => [Given, None],
        "affine" | "scaledtanh" => [Given, Given],
        _ => [None, None],
    }
}

const KNOWN: &str = "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, \
                     HardSigmoid, Elu, Softsign or Softplus";

/// The activations of all directions, one direction after the other. Numbers are consumed in their
/// order, by those that take some.
pub(super) fn activations(
    c: &Call<'_, '_>,
    usual: &[&str],
    directions: usize,
) -> Result<Vec<Activation>, String> {
    let given = c.texts("activations").unwrap_or_default();
    let names = if given.is_empty() {
        usual.repeat(directions).into_iter().map(str::to_owned).collect()
    } else {
        given
    };
    if names.len() != usual.len() * directions {
        let expected = usual.len() * directions;
        return Err(format!("it names {} activations, expected {expected}", names.len()));
    }
    let given = |name: &str| c.floats(name).unwrap_or_default().into_iter();
    let (mut alphas, mut betas) = (given("activation_alpha"), given("activation_beta"));
    let activation = |name: String| {
        let number = |number: Number, given: &mut dyn Iterator<Item = f32>| match number {
            Number::None => Ok(0.0),
            Number::Usual(usual) => Ok(given.next().unwrap_or(usual)),
            Number::Given => given.next().ok_or_else(|| {
                format!(
                    "it does not give the numbers of its activation {name:?}, which have no \
                         value that all agree on"
                )
            }),
        };
        let lower = name.to_lowercase();
        let [alpha, beta] = numbers(&lower);
        let (alpha, beta) = (number(alpha, &mut alphas)?, number(beta, &mut betas)?);
        let activation = Activation { name: lower, alpha, beta };
        match activation.is_known() {
            true => Ok(activation),
            false => Err(format!("its activation is {name:?}, expected {KNOWN}")),
        }
    };
    names.into_iter().map(activation).collect()
}

impl Activation {
    fn is_known(&self) -> bool {
        let known = KNOWN.to_lowercase();
        known.split([',', ' ']).any(|word| word == self.name && word != "or")
    }

    pub fn apply<'g>(&self, x: Expr<'g>) -> Expr<'g> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        let with = |operator: &str| {
            x.call_with(operator, &[], vec![("alpha", AttributeValue::Float(self.alpha))])
        };
        match self.name.as_str() {
            "relu" => x.call("Relu", &[]),
            "tanh" => x.tanh(),
            "sigmoid" => x.sigmoid(),
            "affine" => x * alpha + beta,
            "leakyrelu" => with("LeakyRelu"),
            "thresholdedrelu" => with("ThresholdedRelu"),
            "scaledtanh" => (x * beta).tanh() * alpha,
            "hardsigmoid" => {
                let numbers = vec![("alpha", self.alpha.into()), ("beta", self.beta.into())];
                x.call_with("HardSigmoid", &[], numbers)
            }
            "elu" => with("Elu"),
            "softsign" => x.call("Softsign", &[]),
            _ => x.call("Softplus", &[]),
        }
    }
}
