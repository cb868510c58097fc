//! What is said of a model's answers: loss, accuracy, errors. Pure.

use serde::Serialize;

use super::Loss;
use super::numbers::{floats, integers};
use crate::tensor::Tensor;

/// Figures over a set of samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    pub samples: usize,
    /// Mean over samples.
    pub loss: f64,
    /// Share of right answers; classification only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean absolute difference, root of the mean squared one, and share of the targets' variance
    /// that is explained; regression only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_mean_squared_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r_squared: Option<f64>,
    /// Samples by target's class and answered class; classification only.
    #[serde(skip)]
    pub confusion: Vec<Vec<u64>>,
    /// Targets and answers of some samples, for drawing; regression only.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
}

/// Points kept for drawing.
const MAX_POINTS: usize = 2000;
/// Classes beyond which there is no confusion matrix: nobody could read it.
const MAX_CLASSES: usize = 1000;

/// Metrics in the making.
#[derive(Clone, Debug)]
pub struct Tally {
    loss: Loss,
    metrics: Metrics,
    values: u64,
    correct: u64,
    absolute: f64,
    squared: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Tally {
    pub fn new(loss: Loss) -> Tally {
        Tally {
            loss,
            metrics: Metrics::default(),
            values: 0,
            correct: 0,
            absolute: 0.0,
            squared: 0.0,
            sum: 0.0,
            sum_of_squares: 0.0,
        }
    }

    /// Counts a batch: its loss, the model's output (logits for classification) and the target.
    pub fn add(&mut self, samples: usize, loss: &Tensor, output: &Tensor, target: &Tensor) {
        self.metrics.samples += samples;
        let loss = floats(loss).first().copied().unwrap_or(f64::NAN);
        self.metrics.loss += loss * samples as f64;
        match self.loss {
            Loss::CrossEntropy => self.add_classes(output, target),
            Loss::BinaryCrossEntropy => self.add_binary(output, target),
            Loss::MeanSquared | Loss::L1 | Loss::Huber => self.add_numbers(output, target),
        }
    }

    fn add_classes(&mut self, output: &Tensor, target: &Tensor) {
        let classes = output.shape()[1];
        let inner: usize = output.shape()[2..].iter().product();
        let (logits, targets) = (floats(output), integers(target));
        for (index, &expected) in targets.iter().enumerate() {
            let start = index / inner * classes * inner + index % inner;
            let logit = |class: usize| logits[start + class * inner];
            let best = (1..classes).fold(
                0,
                |best, class| {
                    if logit(class) > logit(best) { class } else { best }
                },
            );
            self.count(expected as usize, best, classes);
        }
    }

    fn add_binary(&mut self, output: &Tensor, target: &Tensor) {
        for (logit, expected) in floats(output).into_iter().zip(floats(target)) {
            self.count(usize::from(expected > 0.5), usize::from(logit > 0.0), 2);
        }
    }

    fn count(&mut self, expected: usize, answered: usize, classes: usize) {
        self.values += 1;
        self.correct += u64::from(expected == answered);
        if classes > MAX_CLASSES || expected >= classes {
            return;
        }
        let confusion = &mut self.metrics.confusion;
        confusion.resize_with(classes, || vec![0; classes]);
        confusion[expected][answered] += 1;
    }

    fn add_numbers(&mut self, output: &Tensor, target: &Tensor) {
        for (answered, expected) in floats(output).into_iter().zip(floats(target)) {
            self.values += 1;
            self.absolute += (answered - expected).abs();
            self.squared += (answered - expected).powi(2);
            self.sum += expected;
            self.sum_of_squares += expected * expected;
            if self.metrics.points.len() < MAX_POINTS {
                self.metrics.points.push((expected, answered));
            }
        }
    }

    pub fn finish(mut self) -> Metrics {
        let (samples, values) = (self.metrics.samples as f64, self.values as f64);
        self.metrics.loss /= samples;
        if self.loss.is_classification() {
            self.metrics.accuracy = Some(self.correct as f64 / values);
            return self.metrics;
        }
        let variance = self.sum_of_squares - self.sum * self.sum / values;
        self.metrics.mean_absolute_error = Some(self.absolute / values);
        self.metrics.root_mean_squared_error = Some((self.squared / values).sqrt());
        self.metrics.r_squared = (variance > 0.0).then(|| 1.0 - self.squared / variance);
        self.metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Shape};
    use bytes::Bytes;

    fn classes(values: &[i64]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = Shape::from_slice(&[values.len()]);
        Tensor::numbers(DataType::Int64, shape, Bytes::from(bytes)).expect("they fit")
    }

    fn numbers(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_f32(shape, values).expect("they fit")
    }

    #[test]
    fn accuracy_and_confusion_count_the_largest_logit() {
        let mut tally = Tally::new(Loss::CrossEntropy);
        let logits = numbers(&[3, 2], &[1.0, 2.0, 3.0, 0.0, 0.5, 0.4]);
        tally.add(3, &numbers(&[], &[0.5]), &logits, &classes(&[1, 1, 0]));
        let logits = numbers(&[1, 2], &[0.0, 1.0]);
        tally.add(1, &numbers(&[], &[1.5]), &logits, &classes(&[1]));
        let metrics = tally.finish();
        assert_eq!((metrics.samples, metrics.loss), (4, 0.75));
        assert_eq!(metrics.accuracy, Some(0.75));
        assert_eq!(metrics.confusion, [[1, 0], [1, 2]]);
    }

    #[test]
    fn classes_of_every_pixel_are_counted() {
        let mut tally = Tally::new(Loss::CrossEntropy);
        // Two classes over three places.
        let logits = numbers(&[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        tally.add(1, &numbers(&[], &[0.0]), &logits, &classes(&[0, 1, 0]));
        assert_eq!(tally.finish().accuracy, Some(2.0 / 3.0));
    }

    #[test]
    fn regression_is_told_by_errors_and_explained_variance() {
        let mut tally = Tally::new(Loss::MeanSquared);
        let (output, target) = (numbers(&[2, 1], &[1.0, 3.0]), numbers(&[2, 1], &[2.0, 6.0]));
        tally.add(2, &numbers(&[], &[5.0]), &output, &target);
        let metrics = tally.finish();
        assert_eq!(metrics.mean_absolute_error, Some(2.0));
        assert_eq!(metrics.root_mean_squared_error, Some(5f64.sqrt()));
        assert_eq!(metrics.r_squared, Some(1.0 - 10.0 / 8.0));
        assert_eq!(metrics.points, [(2.0, 1.0), (6.0, 3.0)]);
    }
}
