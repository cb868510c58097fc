//! What is trained on, what chooses the best weights, and what is looked at once.

use std::collections::BTreeMap;

use super::shuffle::shuffle;
use super::{DataError, Dataset};

/// Shares of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSettings {
    pub validation: f64,
    pub test: f64,
    pub seed: u64,
    /// Whether each class is split by itself.
    pub stratified: bool,
}

/// Samples by what they are for; each is in one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub training: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
}

/// Splits by chance, the same for the same seed. A class of few samples goes to training first.
///
/// # Errors
/// The fractions are none, or a part that was asked for has no sample.
pub fn split(dataset: &Dataset, settings: &SplitSettings) -> Result<Split, DataError> {
    let SplitSettings { validation, test, .. } = *settings;
    // What is not a number is in no range.
    let sound = (0.0..1.0).contains(&validation) && (0.0..1.0).contains(&test);
    if !sound || validation + test >= 1.0 {
        return Err(DataError::Fractions { validation, test });
    }
    let class = |row| if settings.stratified { dataset.class_of(row) } else { None };
    let split = split_rows(dataset.rows(), class, settings);
    let rows = dataset.rows();
    let parts = [
        ("training", 1.0 - settings.validation - settings.test, &split.training),
        ("validation", settings.validation, &split.validation),
        ("test", settings.test, &split.test),
    ];
    match parts.iter().find(|(_, fraction, part)| *fraction > 0.0 && part.is_empty()) {
        Some(&(part, fraction, _)) => Err(DataError::EmptySplit { part, fraction, rows }),
        None => Ok(split),
    }
}

fn split_rows(
    rows: usize,
    class_of: impl Fn(usize) -> Option<usize>,
    settings: &SplitSettings,
) -> Split {
    let mut classes: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for row in 0..rows {
        classes.entry(class_of(row)).or_default().push(row);
    }
    let mut split = Split::default();
    // What rounding leaves over in one class is made up for in the next.
    let (mut owed_validation, mut owed_test) = (0.0, 0.0);
    for (class, mut members) in classes {
        let salt = class.map_or(0, |class| class as u64 + 1);
        shuffle(&mut members, settings.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = members.len() as f64;
        let mut take = |owed: &mut f64, fraction: f64| {
            *owed += count * fraction;
            let most = members.len().saturating_sub(1);
            let taken = (owed.round().max(0.0) as usize).min(most);
            // What a class is too small for is not made up for: the next would be taken whole.
            *owed = (*owed - taken as f64).min(0.5);
            members.split_off(members.len() - taken)
        };
        split.validation.extend(take(&mut owed_validation, settings.validation));
        split.test.extend(take(&mut owed_test, settings.test));
        split.training.extend(members);
    }
    // By class no more; batches are mixed by the trainer.
    split.training.sort_unstable();
    split.validation.sort_unstable();
    split.test.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(validation: f64, test: f64, seed: u64) -> SplitSettings {
        SplitSettings { validation, test, seed, stratified: true }
    }

    #[test]
    fn every_sample_is_in_one_part_and_the_seed_decides_which() {
        let none = |_| None;
        let one = split_rows(100, none, &settings(0.1, 0.2, 1));
        let mut all: Vec<usize> =
            [&one.training, &one.validation, &one.test].into_iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!((one.validation.len(), one.test.len()), (10, 20));
        assert_eq!(split_rows(100, none, &settings(0.1, 0.2, 1)), one);
        assert_ne!(split_rows(100, none, &settings(0.1, 0.2, 2)), one);
    }

    #[test]
    fn classes_are_split_alike() {
        let class_of = |row: usize| Some(row % 4);
        let split = split_rows(200, class_of, &settings(0.25, 0.0, 3));
        for class in 0..4 {
            let count = split.validation.iter().filter(|&&row| row % 4 == class).count();
            assert!((12..=13).contains(&count), "class {class}: {count}");
        }
        assert_eq!(split.validation.len(), 50);
    }

    #[test]
    fn a_lone_sample_of_a_class_is_trained_on() {
        let class_of = |row: usize| Some(usize::from(row == 7));
        let split = split_rows(40, class_of, &settings(0.4, 0.4, 5));
        assert!(split.training.contains(&7));
    }

    #[test]
    fn small_classes_take_nothing_from_those_behind_them() {
        // A thousand of one sample each, then one of ten.
        let class_of = |row: usize| Some(row.min(1000));
        let split = split_rows(1010, class_of, &settings(0.4, 0.0, 5));
        let large = split.validation.iter().filter(|&&row| row >= 1000).count();
        assert!((4..=5).contains(&large), "{large} of 10");
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_near_its_fractions(
            classes in proptest::collection::vec(0usize..5, 1..300),
            validation in 0.0..0.5,
            test in 0.0..0.5,
            seed: u64,
        ) {
            let settings = settings(validation, test, seed);
            let split = split_rows(classes.len(), |row| Some(classes[row]), &settings);
            let mut all = [&split.training[..], &split.validation, &split.test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..classes.len()).collect::<Vec<_>>());
            for class in 0..5 {
                let of = |rows: &[usize]| rows.iter().filter(|&&row| classes[row] == class).count();
                let count = classes.iter().filter(|&&other| other == class).count();
                let near = |rows, fraction: f64| (of(rows) as f64 - count as f64 * fraction).abs();
                prop_assert!(near(&split.validation, validation) <= 1.5);
                prop_assert!(near(&split.test, test) <= 1.5);
                prop_assert!(count == 0 || of(&split.training) > 0);
            }
        }
    }
}
