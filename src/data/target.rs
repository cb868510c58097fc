//! Classes and what they are called.

use std::collections::HashMap;

use super::column::Figures;
use super::value::{number, trimmed};

/// Labels of a target, and the class of every row where a row has one.
#[derive(Debug)]
pub(super) struct Labels {
    names: Vec<String>,
    /// From the order of first appearance, which the store has, to classes; `None` where the store
    /// has classes.
    classes: Option<Vec<i64>>,
    rows: Vec<u32>,
}

/// What a row is labelled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label<'a> {
    Whole(i64),
    Word(&'a str),
}

impl<'a> Label<'a> {
    /// Whole numbers are one label however they are written: `3`, `3.0` and ` 3`.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn of(field: &'a [u8]) -> Result<Label<'a>, String> {
        let text = trimmed(field).ok_or("a label in UTF-8")?;
        match number(field).and_then(|number| number.class()) {
            _ if text.is_empty() => Err("a label".to_owned()),
            Some(whole) => Ok(Label::Whole(whole)),
            None => Ok(Label::Word(text)),
        }
    }
}

/// Labels as they come. Each row takes four bytes of memory.
#[derive(Debug, Default)]
pub(super) struct LabelReader {
    words: HashMap<String, u32>,
    wholes: HashMap<i64, u32>,
    rows: Vec<u32>,
}

/// Why labels are no classes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LabelError {
    /// A whole number, where there are others too that are classes themselves.
    Outside {
        row: usize,
        label: i64,
        expected: String,
    },
    TooMany(String),
}

/// More labels than this are no classes.
const MOST_LABELS: usize = 1_000_000;

/// So many labels are shown of too many.
const SHOWN: usize = 12;

/// A label in the order of classes, and its number in the order of first appearance.
type Seen = (String, u32);

impl LabelReader {
    /// The label's number in the order of first appearance.
    ///
    /// # Errors
    /// There are too many labels.
    pub fn add(&mut self, label: Label<'_>) -> Result<i64, String> {
        let seen = match label {
            Label::Whole(whole) => self.wholes.get(&whole),
            Label::Word(word) => self.words.get(word),
        };
        let number = match seen {
            Some(&number) => number,
            None => {
                let count = self.wholes.len() + self.words.len();
                let next = u32::try_from(count).ok().filter(|_| count < MOST_LABELS);
                let next = next.ok_or_else(|| format!("one of at most {MOST_LABELS} labels"))?;
                match label {
                    Label::Whole(whole) => self.wholes.insert(whole, next),
                    Label::Word(word) => self.words.insert(word.to_owned(), next),
                };
                next
            }
        };
        self.rows.push(number);
        Ok(number.into())
    }

    /// The labels as classes. Whole numbers from 0 to below `count` are classes themselves; other
    /// whole numbers only where there are as many as the model has classes, for with one missing
    /// nobody knows which: then they are sorted, as words are.
    ///
    /// # Errors
    /// There are more labels than classes, or a number is no class.
    pub fn finish(self, count: Option<usize>) -> Result<Labels, LabelError> {
        if !self.words.is_empty() || self.wholes.is_empty() {
            return self.in_order(count);
        }
        let mut wholes: Vec<(i64, u32)> =
            self.wholes.iter().map(|(&whole, &number)| (whole, number)).collect();
        wholes.sort_unstable();
        let (least, greatest) = (wholes[0].0, wholes[wholes.len() - 1].0);
        let most = count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        // Where nobody says how many there are, numbers that are spread out are names.
        let spread = 2 * wholes.len().max(8) as i64;
        if least < 0 || greatest >= most.unwrap_or(spread) {
            let Some(most) = most.filter(|&most| (wholes.len() as i64) < most) else {
                return self.in_order(count);
            };
            let outside = |&&(whole, _): &&(i64, u32)| whole < 0 || whole >= most;
            let &(label, number) =
                wholes.iter().find(outside).expect("the least or the greatest is outside");
            let row = self.rows.iter().position(|&row| row == number).unwrap_or_default();
            let expected = format!("a class from 0 to {}", most - 1);
            return Err(LabelError::Outside { row, label, expected });
        }
        let mut classes = vec![0; wholes.len()];
        wholes.iter().for_each(|&(class, number)| classes[number as usize] = class);
        let names = (0..most.unwrap_or(greatest + 1)).map(|class| class.to_string()).collect();
        Ok(Labels { names, classes: Some(classes), rows: self.rows })
    }

    /// Numbers by size, then words by their letters.
    fn in_order(self, count: Option<usize>) -> Result<Labels, LabelError> {
        let mut wholes: Vec<(i64, u32)> = self.wholes.into_iter().collect();
        let mut words: Vec<Seen> = self.words.into_iter().collect();
        wholes.sort_unstable();
        words.sort_unstable();
        let wholes = wholes.into_iter().map(|(whole, number)| (whole.to_string(), number));
        let seen: Vec<Seen> = wholes.chain(words).collect();
        if let Some(most) = count.filter(|&most| seen.len() > most) {
            let shown: Vec<&str> = seen.iter().take(SHOWN).map(|(name, _)| name.as_str()).collect();
            return Err(LabelError::TooMany(format!(
                "the target has {} labels, the model {most} classes: {}{}",
                seen.len(),
                shown.join(", "),
                if seen.len() > shown.len() { ", …" } else { "" }
            )));
        }
        let mut classes = vec![0; seen.len()];
        for (class, (_, number)) in seen.iter().enumerate() {
            classes[*number as usize] = class as i64;
        }
        let names = seen.into_iter().map(|(name, _)| name).collect();
        Ok(Labels { names, classes: Some(classes), rows: self.rows })
    }
}

impl Labels {
    /// Classes of many in each sample, which are numbers from the beginning.
    pub fn numbered(count: usize) -> Labels {
        let names = (0..count).map(|class| class.to_string()).collect();
        Labels { names, classes: None, rows: Vec::new() }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn class_of_row(&self, row: usize) -> Option<usize> {
        let seen = *self.rows.get(row)?;
        usize::try_from(*self.classes.as_ref()?.get(seen as usize)?).ok()
    }

    /// Figures of the classes of all rows.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::new();
        for row in 0..self.rows.len() {
            figures.add(self.class_of_row(row).unwrap_or_default() as f64);
        }
        figures
    }

    /// Turns numbers of the store into classes; both are INT64.
    pub fn to_classes(&self, bytes: &mut [u8]) {
        let Some(classes) = &self.classes else { return };
        for chunk in bytes.as_chunks_mut::<8>().0 {
            let seen = i64::from_le_bytes(*chunk) as usize;
            *chunk = classes[seen].to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Named = (Vec<String>, Vec<usize>);

    fn labels(given: &[Label<'_>], count: Option<usize>) -> Result<Named, LabelError> {
        let mut reader = LabelReader::default();
        given.iter().for_each(|&label| assert!(reader.add(label).is_ok()));
        let labels = reader.finish(count)?;
        let classes = (0..given.len()).filter_map(|row| labels.class_of_row(row)).collect();
        Ok((labels.names.clone(), classes))
    }

    fn words(given: &[&'static str], count: usize) -> Result<Named, LabelError> {
        let given: Vec<Label<'_>> = given.iter().map(|word| Label::Word(word)).collect();
        labels(&given, Some(count))
    }

    fn wholes(given: &[i64], count: Option<usize>) -> Result<Named, LabelError> {
        let given: Vec<Label<'_>> = given.iter().map(|&whole| Label::Whole(whole)).collect();
        labels(&given, count)
    }

    #[test]
    fn whole_numbers_are_classes_and_words_are_sorted() {
        let (names, classes) = wholes(&[2, 0, 2], Some(4)).expect("they fit");
        assert_eq!((names.len(), classes), (4, vec![2, 0, 2]));
        let (names, classes) = wholes(&[2, 0, 2], None).expect("they fit");
        assert_eq!((names.len(), classes), (3, vec![2, 0, 2]));
        let (names, classes) = words(&["dog", "cat", "dog"], 2).expect("they fit");
        assert_eq!((names, classes), (vec!["cat".into(), "dog".into()], vec![1, 0, 1]));
    }

    #[test]
    fn as_many_numbers_as_classes_are_names_in_their_order() {
        let (names, classes) = wholes(&[10, 9, 10], Some(2)).expect("they fit");
        assert_eq!((names, classes), (vec!["9".into(), "10".into()], vec![1, 0, 1]));
        let (_, classes) = wholes(&[1, -1, 1], Some(2)).expect("they fit");
        assert_eq!(classes, [1, 0, 1]);
        let (_, classes) = wholes(&[1000, -5], None).expect("they fit");
        assert_eq!(classes, [1, 0]);
    }

    #[test]
    fn a_number_beyond_the_classes_is_an_error_with_its_row() {
        let outside = |row, label| {
            let expected = "a class from 0 to 3".to_owned();
            Err(LabelError::Outside { row, label, expected })
        };
        assert_eq!(wholes(&[0, 1, 1, 4, 4], Some(4)), outside(3, 4));
        assert_eq!(wholes(&[0, -1], Some(4)), outside(1, -1));
    }

    #[test]
    fn more_labels_than_classes_are_an_error_that_lists_them() {
        let many = |text: &str| Err(LabelError::TooMany(text.to_owned()));
        let error = "the target has 3 labels, the model 2 classes: a, b, c";
        assert_eq!(words(&["b", "a", "c"], 2), many(error));
        let error = "the target has 3 labels, the model 2 classes: 2, 3, 10";
        assert_eq!(wholes(&[3, 2, 10], Some(2)), many(error));
    }
}
