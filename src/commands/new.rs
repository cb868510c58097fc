//! `onnxd new`: an initialised model to start from.

use anyhow::Result;

use super::Ending;
use super::output::say;
use crate::cli::{
    NewCnnArguments, NewCommand, NewMlpArguments, NewOptions, NewTransformerArguments,
};
use crate::config::{ConfigProblems, Problem};
use crate::onnx::starters::{
    Activation, CnnSettings, MlpSettings, Starter, StarterError, Style, TransformerSettings, cnn,
    mlp, transformer,
};

/// Width of the feed-forward part over that of a token's vector, as it is in most encoders.
const FEED_FORWARD_RATIO: usize = 4;

/// Writes the model.
///
/// # Errors
/// There is such a file already, the options make no model, or the file cannot be written.
pub(super) fn new(command: NewCommand) -> Result<Ending> {
    let file = &options(&command).file;
    if file.exists() {
        let reason = format!("{} exists already: expected the name of a new file", file.display());
        return Err(ConfigProblems::from(Problem::on_command_line("FILE", reason)).into());
    }
    let (kind, made) = match &command {
        NewCommand::Mlp(arguments) => ("perceptron", new_mlp(arguments)),
        NewCommand::Cnn(arguments) => ("convolutional network", new_cnn(arguments)),
        NewCommand::Transformer(arguments) => ("transformer", new_transformer(arguments)),
    };
    let starter = made.map_err(|error| misfit(&error))?;
    crate::onnx::write(file, &starter.model)?;
    let parameters = starter.parameters;
    say(format_args!("{}: a {kind} of {parameters} parameters", file.display()));
    Ok(Ending::Done)
}

fn options(command: &NewCommand) -> &NewOptions {
    match command {
        NewCommand::Mlp(arguments) => &arguments.options,
        NewCommand::Cnn(arguments) => &arguments.options,
        NewCommand::Transformer(arguments) => &arguments.options,
    }
}

/// Options that make no model: a wrong command line.
fn misfit(error: &StarterError) -> ConfigProblems {
    let option = error.setting().map(|setting| format!("--{setting}")).unwrap_or_default();
    Problem::on_command_line(&option, error.to_string()).into()
}

fn new_mlp(arguments: &NewMlpArguments) -> Result<Starter, StarterError> {
    mlp(&MlpSettings {
        inputs: arguments.inputs,
        hidden: arguments.hidden.clone(),
        outputs: arguments.options.outputs,
        normalization: arguments.normalization,
        style: style(&arguments.options, Activation::Relu),
    })
}

fn new_cnn(arguments: &NewCnnArguments) -> Result<Starter, StarterError> {
    cnn(&CnnSettings {
        inputs: arguments.inputs,
        channels: arguments.channels.clone(),
        blocks: arguments.blocks,
        residual: arguments.residual,
        downsampling: arguments.downsampling,
        outputs: arguments.options.outputs,
        normalization: arguments.normalization,
        style: style(&arguments.options, Activation::Relu),
    })
}

fn new_transformer(arguments: &NewTransformerArguments) -> Result<Starter, StarterError> {
    let width = arguments.width;
    transformer(&TransformerSettings {
        vocabulary: arguments.vocabulary,
        length: arguments.length,
        width,
        layers: arguments.layers,
        heads: arguments.heads,
        feed_forward: arguments
            .feed_forward
            .unwrap_or_else(|| width.saturating_mul(FEED_FORWARD_RATIO)),
        mask: arguments.mask,
        outputs: arguments.options.outputs,
        style: style(&arguments.options, Activation::Gelu),
    })
}

fn style(options: &NewOptions, usual: Activation) -> Style {
    Style {
        activation: options.activation.unwrap_or(usual),
        dropout: options.dropout,
        initialization: options.initialization,
        seed: options.seed,
    }
}
