//! ONNX Runtime's tensors as slices. Whoever runs a session may give it the same memory as input
//! and output, so that a weight is replaced where it is: here is seen to it that no slice that is
//! read lies in one that is written.

use std::marker::PhantomData;
use std::ops::Range;
use std::{ptr, slice};

use ort::AsPointer;
use ort::operator::ComputeContext;
use ort::value::{TensorElementType, Value, ValueTypeMarker};

use crate::engine::onnxruntime::value::check;
use crate::engine::operators::{Operand, Values};

/// An input: where it is, until it is known what else is there.
pub(super) struct Read<'c> {
    pub shape: Vec<usize>,
    element_type: TensorElementType,
    data: *const u8,
    count: usize,
    /// Its values, where an output shares their memory and they are needed still.
    copy: Option<Vec<f32>>,
    context: PhantomData<&'c ComputeContext>,
}

/// An output.
pub(super) struct Written<'c> {
    data: *mut f32,
    count: usize,
    /// Where the graph leaves the output out.
    _unused: Vec<f32>,
    context: PhantomData<&'c ComputeContext>,
}

/// A call's tensors as slices; `None` is an input that is left out.
pub(super) struct Slices<'m> {
    pub inputs: Vec<Option<Operand<'m>>>,
    pub outputs: Vec<&'m mut [f32]>,
}

impl<'c> Read<'c> {
    /// An input of the call, or `None` where it is left out.
    pub fn of(context: &'c ComputeContext, index: usize) -> ort::Result<Option<Read<'c>>> {
        let Some(value) = context.input(index)? else { return Ok(None) };
        let refused = || ort::Error::new(format!("input {index} is not a tensor"));
        let element_type = value.dtype().tensor_type().ok_or_else(refused)?;
        let sizes = value.dtype().tensor_shape().ok_or_else(refused)?;
        let shape: Result<Vec<usize>, _> = sizes.iter().map(|&size| size.try_into()).collect();
        let shape = shape.map_err(|_| refused())?;
        let count = shape.iter().product();
        let data = data_of(&value)?.cast_const().cast();
        Ok(Some(Read { shape, element_type, data, count, copy: None, context: PhantomData }))
    }

    fn range(&self) -> Range<usize> {
        let size = match self.element_type {
            TensorElementType::Float32 | TensorElementType::Int32 => 4,
            // Others are never read; 0 bytes are shared with nobody.
            TensorElementType::Int64 => 8,
            _ => 0,
        };
        let start = self.data.addr();
        start..start + size * self.count
    }

    /// # Safety
    /// Nothing writes to this input's memory while the answer lives.
    unsafe fn values<'m, T>(&self) -> &'m [T] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: ONNX Runtime's tensor has so many elements of the type, aligned, as long as the
        // call lasts; the caller keeps writers away.
        unsafe { slice::from_raw_parts(self.data.cast(), self.count) }
    }

    /// # Safety
    /// As [`Read::values`].
    unsafe fn operand(&self, in_place: bool) -> ort::Result<Operand<'_>> {
        let values = match (&self.copy, self.element_type) {
            _ if in_place => Values::InPlace,
            (Some(copy), _) => Values::Floats(copy),
            // SAFETY: of the type in question; the rest is the caller's promise.
            (None, TensorElementType::Float32) => Values::Floats(unsafe { self.values() }),
            // SAFETY: as above.
            (None, TensorElementType::Int32) => Values::Int32s(unsafe { self.values() }),
            // SAFETY: as above.
            (None, TensorElementType::Int64) => Values::Int64s(unsafe { self.values() }),
            (None, other) => return Err(ort::Error::new(format!("no kernel reads {other}"))),
        };
        Ok(Operand { shape: &self.shape, values })
    }
}

impl<'c> Written<'c> {
    /// An output of the call, made to have that shape.
    pub fn of(
        context: &'c ComputeContext,
        index: usize,
        shape: &[usize],
    ) -> ort::Result<Written<'c>> {
        let count = shape.iter().product();
        let sizes: Result<Vec<i64>, _> = shape.iter().map(|&size| size.try_into()).collect();
        let sizes = sizes.map_err(|_| ort::Error::new(format!("output {index} is too large")))?;
        let mut unused = Vec::new();
        // A call may end before its last outputs.
        let made =
            if index < context.num_outputs()? { context.output(index, sizes)? } else { None };
        let data = match made {
            Some(value) => data_of(&value)?.cast(),
            None => {
                unused = vec![0.0; count];
                unused.as_mut_ptr()
            }
        };
        Ok(Written { data, count, _unused: unused, context: PhantomData })
    }

    fn range(&self) -> Range<usize> {
        let start = self.data.addr();
        start..start + size_of::<f32>() * self.count
    }
}

fn data_of<T: ValueTypeMarker + ?Sized>(value: &Value<T>) -> ort::Result<*mut std::ffi::c_void> {
    let mut data = ptr::null_mut();
    // SAFETY: the value is a tensor on the CPU, which is where these operators run.
    let status = unsafe { (ort::api().GetTensorMutableData)(value.ptr().cast_mut(), &mut data) };
    check(status)?;
    Ok(data)
}

/// All of a call's tensors. An input that lies in an output is copied first, unless the operator
/// replaces exactly that input by exactly that output.
///
/// # Errors
/// Two outputs share memory, or a tensor has a type that no kernel reads.
pub(super) fn slices<'m>(
    inputs: &'m mut [Option<Read<'_>>],
    outputs: &'m mut [Written<'_>],
    in_place: &[(usize, usize)],
) -> ort::Result<Slices<'m>> {
    let mut written: Vec<(Range<usize>, usize)> =
        outputs.iter().enumerate().map(|(index, output)| (output.range(), index)).collect();
    written.retain(|(range, _)| !range.is_empty());
    written.sort_by_key(|(range, _)| range.start);
    if let Some([a, b]) = written.array_windows().find(|[a, b]| a.0.end > b.0.start) {
        let (a, b) = (a.1, b.1);
        return Err(ort::Error::new(format!("outputs {a} and {b} share memory")));
    }
    let mut replaced = vec![false; inputs.len()];
    for (index, input) in inputs.iter_mut().enumerate() {
        let Some(input) = input else { continue };
        let range = input.range();
        let first = written.partition_point(|(other, _)| other.end <= range.start);
        let Some((other, output)) = written.get(first).filter(|(other, _)| other.start < range.end)
        else {
            continue;
        };
        if *other == range && in_place.contains(&(index, *output)) {
            replaced[index] = true;
        } else if input.element_type == TensorElementType::Float32 {
            // SAFETY: nothing is written before all tensors are slices.
            input.copy = Some(unsafe { input.values::<f32>() }.to_vec());
        } else {
            return Err(ort::Error::new(format!("input {index} and output {output} share memory")));
        }
    }
    let operand = |(input, in_place): (&'m Option<Read<'_>>, bool)| {
        // SAFETY: outputs are all that is written, and this input shares memory with none, or is
        // copied, or is not read.
        input.as_ref().map(|input| unsafe { input.operand(in_place) }).transpose()
    };
    let inputs = inputs.iter().zip(replaced).map(operand).collect::<Result<_, _>>()?;
    let slice = |output: &'m mut Written<'_>| -> &'m mut [f32] {
        if output.count == 0 {
            return &mut [];
        }
        // SAFETY: ONNX Runtime's tensor, or the vector beside it, has so many floats as long as
        // the call lasts; no two outputs share memory, and no input is read there.
        unsafe { slice::from_raw_parts_mut(output.data, output.count) }
    };
    let outputs = outputs.iter_mut().map(slice).collect();
    Ok(Slices { inputs, outputs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(memory: &mut [f32], range: Range<usize>) -> Option<Read<'static>> {
        let count = range.len();
        Some(Read {
            shape: vec![count],
            element_type: TensorElementType::Float32,
            data: memory[range].as_mut_ptr().cast_const().cast(),
            count,
            copy: None,
            context: PhantomData,
        })
    }

    fn written(memory: &mut [f32], range: Range<usize>) -> Written<'static> {
        let count = range.len();
        let data = memory[range].as_mut_ptr();
        Written { data, count, _unused: Vec::new(), context: PhantomData }
    }

    /// What each input is seen as.
    fn seen(inputs: &[Option<Operand<'_>>]) -> Vec<Option<Vec<f32>>> {
        let values = |operand: &Option<Operand<'_>>| match operand.map(|operand| operand.values) {
            Some(Values::Floats(values)) => Some(values.to_vec()),
            _ => None,
        };
        inputs.iter().map(values).collect()
    }

    #[test]
    fn what_an_output_overwrites_is_replaced_in_place_or_copied_first() {
        let mut memory: Vec<f32> = (0..12).map(|index| index as f32).collect();
        let ranges = [0..4, 0..4, 3..5, 6..8, 8..8];
        let mut inputs: Vec<_> =
            ranges.into_iter().map(|range| read(&mut memory, range)).chain([None]).collect();
        let mut outputs = [written(&mut memory, 0..4), written(&mut memory, 8..12)];
        let Slices { inputs, mut outputs } =
            slices(&mut inputs, &mut outputs, &[(0, 0), (2, 0)]).expect("outputs lie apart");
        outputs.iter_mut().for_each(|output| output.fill(-1.0));
        assert!(matches!(inputs[0].map(|operand| operand.values), Some(Values::InPlace)));
        let copied = Some(vec![0.0, 1.0, 2.0, 3.0]);
        let partly = Some(vec![3.0, 4.0]);
        let apart = Some(vec![6.0, 7.0]);
        assert_eq!(seen(&inputs), [None, copied, partly, apart, Some(vec![]), None]);
    }

    #[test]
    fn outputs_that_share_memory_are_refused() {
        // An error is one of the library's own.
        let _loaded = crate::engine::onnxruntime::testing::test_engine();
        let mut memory = vec![0.0; 8];
        let mut outputs = [written(&mut memory, 0..4), written(&mut memory, 3..6)];
        let error = slices(&mut [], &mut outputs, &[]).map(|_| ()).expect_err("they overlap");
        assert!(error.to_string().contains("outputs 0 and 1 share memory"), "{error}");
    }
}
