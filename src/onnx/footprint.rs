//! How much memory a model takes once it is decoded, told from the file's fields alone.
//!
//! A field of two bytes can become a message of some hundred: without a bound a small file fills
//! the memory before anybody has looked at it. Nothing is allocated here, and weights are stepped
//! over.

use super::proto::{
    AttributeProto, DeviceConfigurationProto, DimensionProto, FunctionProto, GraphProto,
    IntIntListEntryProto, MapTypeProto, ModelProto, NodeDeviceConfigurationProto, NodeProto,
    OpaqueTypeProto, OperatorSetIdProto, OptionalTypeProto, SequenceTypeProto, ShardedDimProto,
    ShardingSpecProto, SimpleShardedDimProto, SparseTensorProto, SparseTensorTypeProto,
    StringStringEntryProto, TensorAnnotation, TensorProto, TensorSegment, TensorShapeProto,
    TensorTypeProto, TrainingInfoProto, TypeProto, ValueInfoProto,
};
use super::wire::{
    EIGHT_BYTES, END_GROUP, FOUR_BYTES, LENGTH_DELIMITED, START_GROUP, VARINT, Varint, varint,
};

/// What any model may take, however small its file.
const BASE_BYTES: u64 = 256 * 1024 * 1024;
/// What every byte of the file may become beyond that. Nodes, attributes and types alone become
/// some ten times as large as in the file; a file so large that this counts is mostly weights,
/// which take no more than they do there.
const BYTES_PER_BYTE: u64 = 8;
/// A text beside its content, whether it is a `String` or `Bytes`.
const TEXT_BYTES: u64 = 32;
/// The decoder refuses messages nested deeper than 100, so nothing below takes memory.
const MAX_DEPTH: usize = 110;

/// A message's size, and its fields that take more memory than bytes of the file. Numbers do not
/// count: they take at most eight times what they do in the file.
struct Layout {
    size: usize,
    messages: &'static [(u64, &'static Layout)],
    /// Repeated texts; each has a size of its own beside its content.
    texts: &'static [u64],
}

/// What the model in a file of so many bytes may take.
pub(super) fn limit(file_bytes: u64) -> u64 {
    BASE_BYTES.saturating_add(BYTES_PER_BYTE.saturating_mul(file_bytes))
}

/// What the model takes: the file's bytes, and each message and repeated text by its size. A list
/// that grows may have as much again in reserve.
pub(super) fn estimate(file: &[u8]) -> u64 {
    let size = file.len() as u64;
    let mut scan = Scan { rest: file, estimate: size };
    // Where the scan stops, the decoder will stop as well.
    let _ = scan.message(&MODEL, size, 0);
    scan.estimate
}

/// Follows the decoder: whatever it would allocate before it finds a fault is counted.
struct Scan<'a> {
    rest: &'a [u8],
    estimate: u64,
}

impl Scan<'_> {
    /// `None` at a fault. A field that reaches beyond its message is one only once it is decoded.
    fn message(&mut self, layout: &Layout, length: u64, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let end = (self.rest.len() as u64).checked_sub(length)?;
        // Groups belong to no message of the format: the decoder skips all that is within.
        let mut groups = 0usize;
        while self.rest.len() as u64 > end || groups > 0 {
            let key = self.varint()?;
            match key & 7 {
                VARINT => drop(self.varint()?),
                EIGHT_BYTES => self.skip(8)?,
                FOUR_BYTES => self.skip(4)?,
                START_GROUP => groups += 1,
                END_GROUP => groups = groups.checked_sub(1)?,
                LENGTH_DELIMITED => {
                    let length = self.varint()?;
                    let known = if groups == 0 { Some(layout) } else { None };
                    self.content(known, key >> 3, length, depth)?;
                }
                _ => return None,
            }
        }
        (self.rest.len() as u64 == end).then_some(())
    }

    fn content(
        &mut self,
        layout: Option<&Layout>,
        field: u64,
        length: u64,
        depth: usize,
    ) -> Option<()> {
        let Some(layout) = layout else { return self.skip(length) };
        if let Some((_, inner)) = layout.messages.iter().find(|(number, _)| *number == field) {
            self.estimate += inner.size as u64;
            return self.message(inner, length, depth + 1);
        }
        if layout.texts.contains(&field) {
            self.estimate += TEXT_BYTES;
        }
        self.skip(length)
    }

    fn varint(&mut self) -> Option<u64> {
        match varint(self.rest) {
            Varint::Value { value, length } => {
                self.skip(length)?;
                Some(value)
            }
            Varint::Cut | Varint::TooLong => None,
        }
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}

macro_rules! layouts {
    ($($name:ident: $message:ty { $($field:literal: $inner:ident),* } [$($text:literal),*];)*) => {
        $(static $name: Layout = Layout {
            size: size_of::<$message>(),
            messages: &[$(($field, &$inner)),*],
            texts: &[$($text),*],
        };)*
        #[cfg(test)]
        static LAYOUTS: &[(&str, &Layout)] = &[$((stringify!($message), &$name)),*];
    };
}

// Name, message { field: the layout of what it holds } [fields that are lists of texts].
layouts! {
    MODEL: ModelProto {
        7: GRAPH, 8: OPERATOR_SET, 14: ENTRY, 20: TRAINING, 25: FUNCTION, 26: CONFIGURATION
    } [];
    OPERATOR_SET: OperatorSetIdProto {} [];
    ENTRY: StringStringEntryProto {} [];
    TRAINING: TrainingInfoProto { 1: GRAPH, 2: GRAPH, 3: ENTRY, 4: ENTRY } [];
    FUNCTION: FunctionProto {
        7: NODE, 9: OPERATOR_SET, 11: ATTRIBUTE, 12: VALUE, 14: ENTRY
    } [4, 5, 6];
    CONFIGURATION: DeviceConfigurationProto {} [3];
    GRAPH: GraphProto {
        1: NODE, 5: TENSOR, 11: VALUE, 12: VALUE, 13: VALUE, 14: ANNOTATION, 15: SPARSE_TENSOR,
        16: ENTRY
    } [];
    NODE: NodeProto { 5: ATTRIBUTE, 9: ENTRY, 10: PLACE } [1, 2];
    ATTRIBUTE: AttributeProto {
        5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 14: TYPE, 15: TYPE, 22: SPARSE_TENSOR,
        23: SPARSE_TENSOR
    } [9];
    ANNOTATION: TensorAnnotation { 2: ENTRY } [];
    VALUE: ValueInfoProto { 2: TYPE, 4: ENTRY } [];
    TENSOR: TensorProto { 3: SEGMENT, 13: ENTRY, 16: ENTRY } [6];
    SEGMENT: TensorSegment {} [];
    SPARSE_TENSOR: SparseTensorProto { 1: TENSOR, 2: TENSOR } [];
    TYPE: TypeProto {
        1: TENSOR_TYPE, 4: SEQUENCE, 5: MAP, 7: OPAQUE, 8: SPARSE_TENSOR_TYPE, 9: OPTIONAL
    } [];
    TENSOR_TYPE: TensorTypeProto { 2: SHAPE } [];
    SPARSE_TENSOR_TYPE: SparseTensorTypeProto { 2: SHAPE } [];
    SEQUENCE: SequenceTypeProto { 1: TYPE } [];
    MAP: MapTypeProto { 2: TYPE } [];
    OPAQUE: OpaqueTypeProto {} [];
    OPTIONAL: OptionalTypeProto { 1: TYPE } [];
    SHAPE: TensorShapeProto { 1: DIMENSION } [];
    DIMENSION: DimensionProto {} [];
    PLACE: NodeDeviceConfigurationProto { 2: SHARDING } [];
    SHARDING: ShardingSpecProto { 3: GROUP, 4: SHARDED_AXIS } [];
    GROUP: IntIntListEntryProto {} [];
    SHARDED_AXIS: ShardedDimProto { 2: SHARDS } [];
    SHARDS: SimpleShardedDimProto {} [];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::onnx::{OnnxError, read_bytes, samples};

    fn key(field: u8) -> u8 {
        field << 3 | 2
    }

    /// A message of one field.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![key(number)];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    }

    fn check_bomb(graph: &[u8]) {
        let bytes = [field(8, &[]), field(7, graph)].concat();
        let size = bytes.len() as u64;
        match read_bytes(Path::new("m.onnx"), Bytes::from(bytes)).expect_err("too large") {
            OnnxError::TooLargeDecoded { size: told, estimate, limit: most, .. } => {
                assert_eq!((told, most), (size, limit(size)));
                assert!(estimate > most);
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn small_files_that_would_fill_the_memory_are_refused() {
        let nodes = [key(1), 0].repeat(2_000_000);
        check_bomb(&nodes);
        check_bomb(&[key(5), 0].repeat(2_000_000));
        // A node's inputs.
        check_bomb(&field(1, &[key(1), 0].repeat(20_000_000)));
        // Behind a group, which no message of the format has.
        check_bomb(&[&[99 << 3 & 0x7f | 3, 99 << 3 & 0x7f | 4], nodes.as_slice()].concat());
        // In a message that is longer than the one that holds it: a fault found too late.
        let inner = field(5, &[key(11), 0].repeat(2_000_000));
        check_bomb(&[&[key(1), 2], inner.as_slice()].concat());
        // In what a fault follows.
        check_bomb(&[nodes.as_slice(), &[key(1), 0x7f]].concat());
    }

    #[test]
    fn the_refusal_names_file_estimate_and_limit() {
        let bytes = [field(8, &[]), field(7, &[key(1), 0].repeat(2_000_000))].concat();
        let error = read_bytes(Path::new("m.onnx"), Bytes::from(bytes)).expect_err("too large");
        let estimate = 4_000_007 + 2_000_000 * size_of::<NodeProto>() + size_of::<GraphProto>();
        let estimate = estimate + size_of::<OperatorSetIdProto>();
        assert_eq!(
            error.to_string(),
            format!(
                "m.onnx: its 4000007 bytes would take {estimate} bytes of memory once decoded, \
                 more than the 300435512 that a model file of this size may take"
            )
        );
    }

    /// The graph of a model is small against its weights, and the base is large against any graph.
    #[test]
    fn models_stay_far_below_the_limit() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = |path: &str| std::fs::read(root.join(path)).expect("it is in the repository");
        let models = [
            samples::mlp(64, &[128, 128], 10).encode_to_vec(),
            samples::encoder(samples::EncoderSize {
                vocabulary: 100,
                ..samples::EncoderSize::MINILM
            })
            .encode_to_vec(),
            samples::resnet18(224).encode_to_vec(),
            file("models/digits/1/model.onnx"),
            file("fuzz/corpus/model_file/functions.onnx"),
            file("fuzz/corpus/model_file/subgraphs.onnx"),
            file("fuzz/corpus/model_file/everything_else.onnx"),
        ];
        for model in models {
            let size = model.len() as u64;
            assert!(estimate(&model) < size + BASE_BYTES / 100, "{}", estimate(&model));
            read_bytes(Path::new("m.onnx"), Bytes::from(model)).expect("a model");
        }
    }

    /// What a message holds: messages by their fields, and the fields that are lists of texts.
    type Held = (BTreeMap<u64, String>, Vec<u64>);

    /// Every message as it is declared, attribute line and field line.
    fn declared() -> BTreeMap<String, Held> {
        let text = concat!(
            include_str!("proto/device.rs"),
            include_str!("proto/graph.rs"),
            include_str!("proto/model.rs"),
            include_str!("proto/tensor.rs"),
            include_str!("proto/types.rs"),
        );
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let mut holders = BTreeMap::<String, Held>::new();
        let mut holder = String::new();
        let mut choices = Vec::new();
        for pair in lines.windows(2) {
            let opening =
                ["pub struct ", "pub enum "].iter().find_map(|it| pair[0].strip_prefix(it));
            if let Some(name) = opening {
                holder = name.trim_end_matches(" {").to_owned();
                holders.insert(holder.clone(), Held::default());
            }
            let Some(field) = pair[0].strip_prefix("#[prost(") else { continue };
            let number =
                field.split_once("tag = \"").map(|(_, rest)| rest.trim_end_matches("\")]"));
            let number = number.map(|number| number.parse::<u64>().expect("a number"));
            // The innermost type of `Vec<T>`, `Option<Box<T>>` or `Variant(T)`.
            let inner = pair[1].split(['<', '(']).next_back().expect("never empty");
            let inner = inner.trim_end_matches(['>', ')', ',']).to_owned();
            let (messages, texts) = holders.get_mut(&holder).expect("it was opened");
            let is_text =
                field.starts_with("string, repeated") || field.contains("bytes\", repeated");
            match number {
                None => choices.push((holder.clone(), inner)),
                Some(number) if field.starts_with("message") => {
                    drop(messages.insert(number, inner))
                }
                Some(number) if is_text => texts.push(number),
                Some(_) => {}
            }
        }
        for (holder, choice) in choices {
            let (messages, _) = holders.remove(&choice).expect("a choice is an enum");
            holders.get_mut(&holder).expect("it was opened").0.extend(messages);
        }
        // Enumerations of numbers are left.
        holders.retain(|name, _| text.contains(&format!("pub struct {name} ")));
        holders
    }

    #[test]
    fn every_message_of_the_format_is_counted() {
        let name_of = |layout: &Layout| {
            let same = |(_, other): &&(&str, &Layout)| std::ptr::eq(*other, layout);
            LAYOUTS.iter().find(same).expect("every layout is in the list").0.to_owned()
        };
        let mut declared = declared();
        for (name, layout) in LAYOUTS {
            let messages = layout.messages.iter().map(|(number, it)| (*number, name_of(it)));
            let counted = (messages.collect(), layout.texts.to_vec());
            assert_eq!(declared.remove(*name), Some(counted), "{name}");
        }
        assert!(declared.is_empty(), "{declared:?}");
    }
}
