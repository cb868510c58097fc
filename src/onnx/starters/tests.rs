//! Promises about models to start from that hold without running them.

use super::*;
use crate::onnx::check::check;
use crate::onnx::encode;
use crate::onnx::facts::signature;
use crate::onnx::proto::GraphProto;
use crate::onnx::weights::tensor;

const STYLE: Style = Style {
    activation: Activation::Relu,
    dropout: 0.0,
    initialization: Initialization::Torch,
    seed: 0,
};

fn perceptron() -> MlpSettings {
    let normalization = Normalization::None;
    MlpSettings { inputs: 64, hidden: vec![128, 32], outputs: 10, normalization, style: STYLE }
}

fn images() -> CnnSettings {
    CnnSettings {
        inputs: ImageSize { channels: 3, height: 32, width: 24 },
        channels: vec![8, 16],
        blocks: 1,
        residual: false,
        downsampling: Downsampling::Stride,
        outputs: 5,
        normalization: Normalization::Batch,
        style: STYLE,
    }
}

fn sequences() -> TransformerSettings {
    TransformerSettings {
        vocabulary: 100,
        length: 12,
        width: 16,
        layers: 2,
        heads: 4,
        feed_forward: 32,
        mask: true,
        outputs: 2,
        style: STYLE,
    }
}

fn graph(starter: &Starter) -> &GraphProto {
    starter.model.graph.as_ref().expect("just built")
}

/// Weights of floats by name and shape, constants left out.
fn weights(starter: &Starter) -> Vec<(&str, &[i64])> {
    let weights = graph(starter).initializer.iter();
    let weights = weights.filter(|proto| proto.name().ends_with(".weight") || is_vector(proto));
    weights.map(|proto| (proto.name(), proto.dims.as_slice())).collect()
}

fn is_vector(proto: &crate::onnx::proto::TensorProto) -> bool {
    [".bias", ".running_mean", ".running_var"].iter().any(|end| proto.name().ends_with(end))
}

fn operators(starter: &Starter) -> Vec<&str> {
    graph(starter).node.iter().map(|node| node.op_type()).collect()
}

#[test]
fn a_perceptron_has_pytorchs_names_and_layouts() {
    let starter = mlp(&perceptron()).expect("it is small");
    let expected: [(&str, &[i64]); 6] = [
        ("layers.0.weight", &[128, 64]),
        ("layers.0.bias", &[128]),
        ("layers.1.weight", &[32, 128]),
        ("layers.1.bias", &[32]),
        ("head.weight", &[10, 32]),
        ("head.bias", &[10]),
    ];
    assert_eq!(weights(&starter), expected);
    assert_eq!(starter.parameters, 64 * 128 + 128 + 128 * 32 + 32 + 32 * 10 + 10);
    assert_eq!(operators(&starter), ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]);
}

#[test]
fn what_a_batch_normalization_would_take_away_is_left_out() {
    let settings = |normalization| MlpSettings { hidden: vec![7], normalization, ..perceptron() };
    let starter = mlp(&settings(Normalization::Batch)).expect("it is small");
    let expected: [(&str, &[i64]); 7] = [
        ("layers.0.weight", &[7, 64]),
        ("norms.0.weight", &[7]),
        ("norms.0.bias", &[7]),
        ("norms.0.running_mean", &[7]),
        ("norms.0.running_var", &[7]),
        ("head.weight", &[10, 7]),
        ("head.bias", &[10]),
    ];
    assert_eq!(weights(&starter), expected);
    // Running statistics are not trained.
    assert_eq!(starter.parameters, 7 * 64 + 2 * 7 + 10 * 7 + 10);
    let values = |name: &str| {
        let weights = &graph(&starter).initializer;
        let proto = weights.iter().find(|proto| proto.name() == name).expect("it is there");
        tensor(proto).expect("sound").to_f32().expect("floats")
    };
    assert_eq!(values("norms.0.weight"), [1.0; 7]);
    assert_eq!(values("norms.0.bias"), [0.0; 7]);
    assert_eq!(values("norms.0.running_mean"), [0.0; 7]);
    assert_eq!(values("norms.0.running_var"), [1.0; 7]);
    let starter = mlp(&settings(Normalization::Layer)).expect("it is small");
    assert_eq!(starter.parameters, 7 * 64 + 7 + 2 * 7 + 10 * 7 + 10);
}

#[test]
fn a_convolutional_network_has_its_stages() {
    let starter = cnn(&images()).expect("it is small");
    let shapes = weights(&starter);
    assert!(shapes.contains(&("stages.0.blocks.0.conv.weight", &[8, 3, 3, 3])), "{shapes:?}");
    assert!(shapes.contains(&("stages.1.blocks.0.norm.running_var", &[16])), "{shapes:?}");
    assert!(shapes.contains(&("head.weight", &[5, 16])), "{shapes:?}");
    let convolutions = 8 * 3 * 9 + 16 * 8 * 9;
    assert_eq!(starter.parameters, convolutions + 2 * (8 + 16) + 5 * 16 + 5);

    let downsampling = Downsampling::MaxPool;
    let pooled = cnn(&CnnSettings { downsampling, ..images() }).expect("it is small");
    let count = operators(&pooled).iter().filter(|operator| **operator == "MaxPool").count();
    assert_eq!((count, pooled.parameters), (1, starter.parameters));
    // Normalised by nothing, convolutions have biases.
    let normalization = Normalization::None;
    let plain = cnn(&CnnSettings { normalization, ..images() }).expect("it is small");
    assert_eq!(plain.parameters, convolutions + 8 + 16 + 5 * 16 + 5);
}

#[test]
fn a_residual_network_has_shortcuts_where_sizes_change() {
    let starter = cnn(&CnnSettings { residual: true, blocks: 2, ..images() }).expect("small");
    let shortcuts: Vec<(&str, &[i64])> = weights(&starter)
        .into_iter()
        .filter(|(name, _)| name.ends_with("shortcut.conv.weight"))
        .collect();
    assert_eq!(shortcuts, [("stages.1.blocks.0.shortcut.conv.weight", &[16, 8, 1, 1][..])]);
    let convolution = |from: u64, to: u64| 9 * from * to + 2 * to;
    let expected = convolution(3, 8)
        + 4 * convolution(8, 8)
        + convolution(8, 16)
        + 3 * convolution(16, 16)
        + (8 * 16 + 2 * 16)
        + (5 * 16 + 5);
    assert_eq!(starter.parameters, expected);
}

#[test]
fn an_encoder_has_its_blocks() {
    let starter = transformer(&sequences()).expect("it is small");
    let shapes = weights(&starter);
    let block: [(&str, &[i64]); 16] = [
        ("blocks.0.norm1.weight", &[16]),
        ("blocks.0.norm1.bias", &[16]),
        ("blocks.0.attention.query.weight", &[16, 16]),
        ("blocks.0.attention.query.bias", &[16]),
        ("blocks.0.attention.key.weight", &[16, 16]),
        ("blocks.0.attention.key.bias", &[16]),
        ("blocks.0.attention.value.weight", &[16, 16]),
        ("blocks.0.attention.value.bias", &[16]),
        ("blocks.0.attention.output.weight", &[16, 16]),
        ("blocks.0.attention.output.bias", &[16]),
        ("blocks.0.norm2.weight", &[16]),
        ("blocks.0.norm2.bias", &[16]),
        ("blocks.0.linear1.weight", &[32, 16]),
        ("blocks.0.linear1.bias", &[32]),
        ("blocks.0.linear2.weight", &[16, 32]),
        ("blocks.0.linear2.bias", &[16]),
    ];
    assert_eq!(shapes[0], ("embeddings.tokens.weight", &[100, 16][..]));
    assert_eq!(shapes[1], ("embeddings.positions.weight", &[12, 16][..]));
    assert_eq!(shapes[2..18], block);
    let size = |shape: &[i64]| shape.iter().product::<i64>();
    let block: i64 = block.iter().map(|(_, shape)| size(shape)).sum();
    let rest = 100 * 16 + 12 * 16 + 2 * 16 + 2 * 16 + 2;
    assert_eq!(starter.parameters, u64::try_from(2 * block + rest).expect("positive"));
}

/// Every kind, in several forms.
fn all(seed: u64) -> Vec<Starter> {
    let mut starters = Vec::new();
    for &activation in Activation::ALL {
        for &initialization in Initialization::ALL {
            let style = Style { activation, dropout: 0.0, initialization, seed };
            for &normalization in Normalization::ALL {
                starters.push(mlp(&MlpSettings { normalization, style, ..perceptron() }));
            }
            for (residual, mask) in [(false, false), (true, true)] {
                starters.push(cnn(&CnnSettings { residual, style, ..images() }));
                starters.push(transformer(&TransformerSettings { mask, style, ..sequences() }));
            }
        }
    }
    starters.into_iter().map(|starter| starter.expect("all are small")).collect()
}

#[test]
fn every_model_is_sound_and_says_what_it_takes() {
    for starter in all(0) {
        assert_eq!(check(&starter.model), []);
        let signature = signature(&starter.model).expect("all are tensors");
        let [output] = signature.outputs.as_slice() else { panic!("{signature:?}") };
        assert_eq!(output.name, "output");
        let inputs = signature.inputs.iter().map(|spec| (spec.name.as_str(), spec.shape_text()));
        let inputs: Vec<(&str, String)> = inputs.collect();
        let inputs: Vec<(&str, &str)> =
            inputs.iter().map(|(name, shape)| (*name, shape.as_str())).collect();
        let name = graph(&starter).name();
        let (expected, outputs): (&[(&str, &str)], _) = match (name, inputs.len()) {
            ("mlp", _) => (&[("input", "[batch, 64]")], 10),
            ("cnn", _) => (&[("input", "[batch, 3, 32, 24]")], 5),
            (_, 1) => (&[("input_ids", "[batch, 12]")], 2),
            _ => (&[("input_ids", "[batch, 12]"), ("attention_mask", "[batch, 12]")], 2),
        };
        assert_eq!(inputs, expected, "{name}");
        assert_eq!(output.shape_text(), format!("[batch, {outputs}]"), "{name}");
    }
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_one_others() {
    let bytes = |seed| -> Vec<Vec<u8>> {
        let encode = |starter: Starter| encode(std::path::Path::new("x"), &starter.model);
        all(seed).into_iter().map(|starter| encode(starter).expect("it is small")).collect()
    };
    let (one, again, other) = (bytes(1), bytes(1), bytes(2));
    assert!(one == again, "the same seed");
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "another seed");
}

fn check_refused(result: Result<Starter, StarterError>, setting: Option<&str>, expected: &str) {
    let error = result.expect_err(expected);
    assert_eq!((error.setting(), error.to_string().as_str()), (setting, expected));
}

#[test]
fn what_makes_no_model_is_refused_with_the_setting_and_what_was_expected() {
    let beyond = MOST_SIZE + 1;
    let size = |size: usize| format!("expected a size from 1 to {MOST_SIZE}, got {size}");
    let count = |count: usize| format!("expected 1 to 1024 of them, got {count}");
    let made = |settings: MlpSettings| mlp(&settings);
    check_refused(made(MlpSettings { inputs: 0, ..perceptron() }), Some("inputs"), &size(0));
    let hidden = vec![3, beyond];
    check_refused(made(MlpSettings { hidden, ..perceptron() }), Some("hidden"), &size(beyond));
    let hidden = vec![1; 1025];
    check_refused(made(MlpSettings { hidden, ..perceptron() }), Some("hidden"), &count(1025));
    let hidden = vec![MOST_SIZE; 1024];
    let limit = "it would have more than 500000000 weights, which is what a model file holds";
    check_refused(made(MlpSettings { hidden, ..perceptron() }), None, limit);
    let style = Style { dropout: 1.0, ..STYLE };
    let share = "expected a share from 0 to below 1, got 1";
    check_refused(made(MlpSettings { style, ..perceptron() }), Some("dropout"), share);

    let made = |settings: CnnSettings| cnn(&settings);
    check_refused(made(CnnSettings { blocks: 0, ..images() }), Some("blocks"), &count(0));
    check_refused(
        made(CnnSettings { channels: vec![4; 6], ..images() }),
        Some("channels"),
        "an image of side 24 can be halved into 5 stages at most, got 6",
    );
    check_refused(
        made(CnnSettings { normalization: Normalization::Layer, ..images() }),
        Some("normalization"),
        "layer is for rows and tokens; images take none or batch",
    );
    check_refused(
        transformer(&TransformerSettings { heads: 3, ..sequences() }),
        Some("heads"),
        "a width of 16 cannot be shared among 3 heads: expected a divisor of it",
    );
}

#[test]
fn choices_are_typed_by_their_words() {
    assert_eq!("max-pool".parse(), Ok(Downsampling::MaxPool));
    assert_eq!(Initialization::Kaiming.to_string(), "kaiming");
    assert_eq!(
        "swish".parse::<Activation>(),
        Err("unknown activation \"swish\": expected one of relu, gelu, tanh, silu, elu".to_owned())
    );
    assert_eq!("3,32,24".parse(), Ok(images().inputs));
    let wrong = "expected CHANNELS,HEIGHT,WIDTH such as 3,32,32, got \"32,32\"";
    assert_eq!("32,32".parse::<ImageSize>(), Err(wrong.to_owned()));
}
