use rand::seq::SliceRandom;

use super::{Dataset, Seed};
use crate::error::{Error, Result};

/// A data set in the parts in which it is used; a part that there is not is empty. All have the same classes, unless some are
/// [held out](Splits::hold_out_classes).
#[derive(Clone, Debug, Default)]
pub struct Splits {
    /// What the network learns from.
    pub train: Dataset,
    /// What it is measured on while it learns.
    pub val: Dataset,
    /// What it is measured on at the end.
    pub test: Dataset,
}

/// One of the parts of [`Splits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`Splits::train`].
    Train,
    /// [`Splits::val`].
    Val,
    /// [`Splits::test`].
    Test,
}

impl Part {
    /// The part that a folder name or a CSV's split column means; `name` in lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" => Some(Self::Val),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

impl Splits {
    /// Moves a share of each class from `train` to `val`, unless there is a `val` already or `fraction` is 0.
    ///
    /// Every class with at least two pictures gives at least one and keeps at least one. Which ones depends on the seed
    /// alone; both parts stay in file order.
    ///
    /// Errors: if `fraction` is not in 0..1, or no class has two pictures.
    pub fn split(mut self, fraction: f64, seed: Seed) -> Result<Self> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::config(format!(
                "the share held out for validation must be at least 0 and below 1, but it is {fraction}"
            )));
        }
        if fraction == 0.0 || !self.val.is_empty() {
            return Ok(self);
        }
        let held_out = held_out(&self.train, fraction, seed);
        let (val, train): (Vec<usize>, Vec<usize>) = (0..self.train.len()).partition(|&i| held_out[i]);
        if val.is_empty() {
            let message = "too few images to hold some out for validation: no class has two";
            return Err(Error::format(&self.train.root, message));
        }
        self.val = self.train.subset(&val);
        self.train = self.train.subset(&train);
        Ok(self)
    }

    /// Moves the last `count` classes from `train` to `val`: what is measured there is how a network does on classes that it has
    /// never seen. Both parts then have their own classes.
    ///
    /// Errors: if there is a validation part already, or fewer than two classes would be left on either side.
    pub fn hold_out_classes(mut self, count: usize) -> Result<Self> {
        let (root, all) = (&self.train.root, self.train.classes.len());
        if !self.val.is_empty() {
            return Err(Error::format(
                root,
                "has a validation part of its own: no classes can be held out for another",
            ));
        }
        if count < 2 || count + 2 > all {
            let message = format!("of {all} classes {count} cannot be held out: two or more are needed on either side");
            return Err(Error::format(root, message));
        }
        let (train, val) = self.train.split_classes(all - count);
        (self.train, self.val) = (train, val);
        Ok(self)
    }

    /// One part, taken out; empty if there is none.
    pub fn into_part(self, part: Part) -> Dataset {
        match part {
            Part::Train => self.train,
            Part::Val => self.val,
            Part::Test => self.test,
        }
    }

    /// The part asked for, else what was held out for a test, else for validation, else all there is.
    pub fn into_part_or_other(mut self, part: Part) -> Dataset {
        let order = [part, Part::Test, Part::Val, Part::Train];
        let filled = order.into_iter().find(|&part| !self.part_mut(part).is_empty());
        self.into_part(filled.unwrap_or(part))
    }

    /// The part itself, to be filled.
    pub(super) fn part_mut(&mut self, part: Part) -> &mut Dataset {
        match part {
            Part::Train => &mut self.train,
            Part::Val => &mut self.val,
            Part::Test => &mut self.test,
        }
    }
}

/// For every sample whether it goes to the validation part.
fn held_out(data: &Dataset, fraction: f64, seed: Seed) -> Vec<bool> {
    let mut members = vec![Vec::new(); data.classes.len()];
    for (index, sample) in data.samples.iter().enumerate() {
        members[sample.label].push(index);
    }
    let mut held_out = vec![false; data.len()];
    for (class, mut indices) in members.into_iter().enumerate().filter(|(_, indices)| indices.len() > 1) {
        indices.shuffle(&mut seed.generator("split", &[class as u64]));
        let count = (fraction * indices.len() as f64).round() as usize;
        for &index in &indices[..count.clamp(1, indices.len() - 1)] {
            held_out[index] = true;
        }
    }
    held_out
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, Source};
    use super::*;

    fn data(counts: &[usize]) -> Splits {
        let samples = counts.iter().enumerate().flat_map(|(label, &count)| {
            (0..count).map(move |i| Sample::new(Source::File(format!("{label}/{i}.png").into()), label))
        });
        let classes = (0..counts.len()).map(|class| class.to_string()).collect();
        let train = Dataset { root: "photos".into(), classes, samples: samples.collect() };
        Splits { train, ..Splits::default() }
    }

    fn names(data: &Dataset) -> Vec<String> {
        data.samples.iter().map(|sample| sample.source.to_string()).collect()
    }

    #[test]
    fn each_class_gives_its_share_in_file_order() {
        let parts = data(&[50, 10, 2, 1]).split(0.2, Seed(0)).unwrap();
        assert_eq!(parts.val.class_counts(), [10, 2, 1, 0]);
        assert_eq!(parts.train.class_counts(), [40, 8, 1, 1]);
        let mut all = [names(&parts.train), names(&parts.val)].concat();
        all.sort();
        let mut expected = names(&data(&[50, 10, 2, 1]).train);
        expected.sort();
        assert_eq!(all, expected);
        assert!(parts.val.samples.is_sorted_by_key(|sample| sample.label));
    }

    #[test]
    fn the_seed_alone_decides() {
        let val = |seed| names(&data(&[30, 30]).split(0.3, Seed(seed)).unwrap().val);
        assert_eq!(val(1), val(1));
        assert_ne!(val(1), val(2));
    }

    #[test]
    fn nothing_moves_for_zero_or_when_a_part_is_given() {
        assert!(data(&[5, 5]).split(0.0, Seed(0)).unwrap().val.is_empty());
        let given = Splits { val: data(&[1]).train, ..data(&[5, 5]) }.split(0.5, Seed(0)).unwrap();
        assert_eq!((given.train.len(), given.val.len()), (10, 1));
    }

    #[test]
    fn classes_can_be_held_out() {
        let parts = data(&[3, 1, 2, 4, 1]).hold_out_classes(2).unwrap();
        assert_eq!((parts.train.class_counts(), parts.val.class_counts()), (vec![3, 1, 2], vec![4, 1]));
        assert_eq!(parts.val.classes, ["3", "4"]);
        assert_eq!(names(&parts.val)[4], "4/0.png");
        for count in [0, 1, 4, 9] {
            assert!(data(&[3, 1, 2, 4, 1]).hold_out_classes(count).unwrap_err().to_string().contains("either side"));
        }
        assert!(parts.hold_out_classes(2).unwrap_err().to_string().contains("of its own"));
    }

    #[test]
    fn impossible_shares_are_errors() {
        for fraction in [1.0, -0.1, f64::NAN] {
            assert!(data(&[5, 5]).split(fraction, Seed(0)).unwrap_err().to_string().contains("below 1"));
        }
        assert!(data(&[1, 1]).split(0.5, Seed(0)).unwrap_err().to_string().contains("too few images"));
    }
}
