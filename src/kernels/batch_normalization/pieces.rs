//! A group of channels as it lies in a batch: one piece per image.

use super::ChannelShape;

/// The same range of every image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces<'a> {
    values: &'a [f32],
    /// Elements of an image.
    stride: usize,
    first: usize,
    length: usize,
}

impl<'a> Pieces<'a> {
    /// The group with number `index`; `values` has the shape's length, and that is not 0.
    pub(super) fn of_group(values: &'a [f32], shape: ChannelShape, index: usize) -> Pieces<'a> {
        let stride = shape.channels * shape.inner;
        let size = shape.group() * shape.inner;
        let first = index * size;
        Pieces { values, stride, first, length: size.min(stride - first) }
    }

    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = &'a [f32]> + Clone {
        let range = self.first..self.first + self.length;
        self.values.chunks_exact(self.stride).map(move |image| &image[range.clone()])
    }

    /// How many channels of `inner` elements there are in a piece.
    #[inline(always)]
    pub(super) fn channels(self, inner: usize) -> usize {
        self.length / inner
    }

    /// One channel of the group.
    #[inline(always)]
    pub(super) fn channel(self, channel: usize, inner: usize) -> Pieces<'a> {
        Pieces { first: self.first + channel * inner, length: inner, ..self }
    }

    /// How many pieces there are.
    #[inline(always)]
    pub(super) fn images(self) -> usize {
        self.values.len() / self.stride
    }

    /// The pieces of `count` images at a time.
    #[inline(always)]
    pub(super) fn runs_of_images(self, count: usize) -> impl Iterator<Item = Pieces<'a>> {
        self.values.chunks(count * self.stride).map(move |values| Pieces { values, ..self })
    }
}

/// Splits a batch into groups of channels, each with its piece of every image.
pub(super) fn split(values: &mut [f32], shape: ChannelShape) -> Vec<Vec<&mut [f32]>> {
    let stride = shape.channels * shape.inner;
    if stride == 0 {
        return Vec::new();
    }
    let group = shape.group();
    let mut groups: Vec<Vec<&mut [f32]>> =
        (0..shape.channels.div_ceil(group)).map(|_| Vec::with_capacity(shape.batch)).collect();
    for image in values.chunks_exact_mut(stride) {
        for (group, piece) in groups.iter_mut().zip(image.chunks_mut(group * shape.inner)) {
            group.push(piece);
        }
    }
    groups
}
