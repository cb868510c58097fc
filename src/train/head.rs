//! Where a model's output becomes a loss: behind the logits, if the model goes on to probabilities.

use super::{Loss, TrainError};
use crate::onnx::graph::{attribute, canonical_domain};
use crate::onnx::proto::{ModelProto, NodeProto};

/// The value that a loss is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The model's output.
    pub output: String,
    /// What the loss is of: the output itself, or the logits that it is made of.
    pub logits: String,
    /// The operator between both: `Softmax`, `LogSoftmax` or `Sigmoid`.
    pub activation: Option<String>,
}

/// The head of an output; of the first where none is named.
///
/// # Errors
/// There is no such output.
pub fn head(model: &ModelProto, output: Option<&str>) -> Result<Head, TrainError> {
    let graph = model.graph.as_ref().ok_or(TrainError::NoGraph)?;
    let names: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
    let found = match output {
        Some(name) => names.iter().find(|known| **known == name),
        None => names.first(),
    };
    let no_output = || TrainError::NoOutput {
        name: output.unwrap_or_default().to_owned(),
        known: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let output = found.ok_or_else(no_output)?;
    let maker = graph.node.iter().find(|node| node.output.iter().any(|name| name == output));
    let activation = maker.filter(|node| is_activation(node));
    let logits = activation.map_or(*output, |node| node.input[0].as_str());
    Ok(Head {
        output: (*output).to_owned(),
        logits: logits.to_owned(),
        activation: activation.map(|node| node.op_type().to_owned()),
    })
}

impl Head {
    /// As this loss sees it: a regression is of the output as it is.
    pub fn for_loss(self, loss: Loss) -> Head {
        let fits = match loss {
            Loss::CrossEntropy => {
                matches!(self.activation.as_deref(), Some("Softmax" | "LogSoftmax"))
            }
            Loss::BinaryCrossEntropy => self.activation.as_deref() == Some("Sigmoid"),
            Loss::MeanSquared | Loss::L1 | Loss::Huber => false,
        };
        if fits {
            return self;
        }
        Head { logits: self.output.clone(), activation: None, output: self.output }
    }

    /// The loss that goes with it where none is asked for. `classes` is the size of the output's
    /// second axis, if it has one that is fixed.
    pub fn usual_loss(&self, classes: Option<usize>) -> Loss {
        match self.activation.as_deref() {
            Some("Softmax" | "LogSoftmax") => Loss::CrossEntropy,
            Some("Sigmoid") => Loss::BinaryCrossEntropy,
            _ if classes.is_some_and(|classes| classes > 1) => Loss::CrossEntropy,
            _ => Loss::MeanSquared,
        }
    }
}

/// A last step from logits to probabilities over the class axis.
fn is_activation(node: &NodeProto) -> bool {
    if !canonical_domain(node.domain()).is_empty() {
        return false;
    }
    match node.op_type() {
        "Sigmoid" => true,
        "Softmax" | "LogSoftmax" => {
            let axis = attribute(node, "axis").and_then(|axis| axis.i).unwrap_or(-1);
            axis == 1 || axis == -1
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node};
    use crate::tensor::DataType;

    fn model(activation: &str) -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        let x = graph.input("x", DataType::Float32, "batch, 3");
        let logits = graph.call("Relu", &[&x]);
        graph.node(Node::new(activation, &[&logits]).output("y"));
        graph.output("y", DataType::Float32, "batch, 3");
        graph.into_model(17)
    }

    #[test]
    fn probabilities_are_trained_on_their_logits() {
        for (activation, loss) in
            [("Softmax", Loss::CrossEntropy), ("Sigmoid", Loss::BinaryCrossEntropy)]
        {
            let found = head(&model(activation), None).expect("it has an output");
            assert_eq!(found.usual_loss(Some(3)), loss);
            assert_eq!(found.clone().for_loss(loss).logits, "Relu_0");
            // A regression to probabilities is of the probabilities.
            assert_eq!(found.for_loss(Loss::MeanSquared).logits, "y");
        }
    }

    #[test]
    fn other_outputs_are_logits_themselves() {
        let found = head(&model("Tanh"), Some("y")).expect("it has an output");
        assert_eq!((found.logits.as_str(), found.activation.as_deref()), ("y", None));
        assert_eq!(found.usual_loss(Some(3)), Loss::CrossEntropy);
        assert_eq!(found.usual_loss(Some(1)), Loss::MeanSquared);
        assert_eq!(found.usual_loss(None), Loss::MeanSquared);
    }

    #[test]
    fn an_unknown_output_is_an_error_that_lists_the_others() {
        let error = head(&model("Tanh"), Some("z")).expect_err("no such output").to_string();
        assert_eq!(error, "the model has no output \"z\"; there are \"y\"");
    }
}
