/// One step on the way from what stands there to what was read; symbols are given by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A symbol was read as it stands.
    Keep(usize),
    /// The first was read as the second.
    Substitute(usize, usize),
    /// A symbol was passed over.
    Delete(usize),
    /// A symbol was read that does not stand there.
    Insert(usize),
}

impl Edit {
    /// Whether it is a mistake.
    pub fn is_mistake(self) -> bool {
        !matches!(self, Self::Keep(_))
    }
}

/// The fewest edits that make `read` of `text`, in order; of several ways, one with substitutions rather than deletions and
/// insertions. Their number of mistakes is Levenshtein's distance.
///
/// Source: Wagner & Fischer, The String-to-String Correction Problem, 1974, <https://doi.org/10.1145/321796.321811>.
///
/// ```
/// use ocellus::tasks::read::{Edit, edits};
/// assert_eq!(edits(&[4, 2], &[4, 3, 2]), [Edit::Keep(4), Edit::Insert(3), Edit::Keep(2)]);
/// ```
pub fn edits(text: &[usize], read: &[usize]) -> Vec<Edit> {
    let width = read.len() + 1;
    // Mistakes between the first `i` symbols of one and the first `j` of the other.
    let mut mistakes = vec![0; (text.len() + 1) * width];
    for i in 0..=text.len() {
        for j in 0..=read.len() {
            mistakes[i * width + j] = match (i, j) {
                (0, others) | (others, 0) => others,
                _ => {
                    let changed = usize::from(text[i - 1] != read[j - 1]);
                    let before = (i - 1) * width + j - 1;
                    (mistakes[before] + changed).min(mistakes[before + 1] + 1).min(mistakes[i * width + j - 1] + 1)
                }
            };
        }
    }
    let (mut i, mut j, mut edits) = (text.len(), read.len(), Vec::new());
    while i > 0 || j > 0 {
        let here = mistakes[i * width + j];
        let both = i > 0 && j > 0;
        if both && here == mistakes[(i - 1) * width + j - 1] + usize::from(text[i - 1] != read[j - 1]) {
            let (stands, seen) = (text[i - 1], read[j - 1]);
            edits.push(if stands == seen { Edit::Keep(stands) } else { Edit::Substitute(stands, seen) });
            (i, j) = (i - 1, j - 1);
        } else if i > 0 && here == mistakes[(i - 1) * width + j] + 1 {
            edits.push(Edit::Delete(text[i - 1]));
            i -= 1;
        } else {
            edits.push(Edit::Insert(read[j - 1]));
            j -= 1;
        }
    }
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(text: &str) -> Vec<usize> {
        text.chars().map(|c| c as usize).collect()
    }

    fn distance(text: &[usize], read: &[usize]) -> usize {
        edits(text, read).into_iter().filter(|edit| edit.is_mistake()).count()
    }

    /// By its definition.
    fn recursive(a: &[usize], b: &[usize]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a @ ..], [y, b @ ..]) if x == y => recursive(a, b),
            ([_, a1 @ ..], [_, b1 @ ..]) => 1 + recursive(a1, b1).min(recursive(a1, b)).min(recursive(a, b1)),
        }
    }

    #[test]
    fn known_distances() {
        for (a, b, expected) in
            [("kitten", "sitting", 3), ("saturday", "sunday", 3), ("", "abc", 3), ("abc", "", 3), ("a", "a", 0)]
        {
            assert_eq!(distance(&numbers(a), &numbers(b)), expected, "{a} {b}");
        }
        assert_eq!(edits(&[1, 7], &[2, 7]), [Edit::Substitute(1, 2), Edit::Keep(7)]);
        assert_eq!(edits(&[1, 7, 7], &[1, 7]), [Edit::Keep(1), Edit::Delete(7), Edit::Keep(7)]);
    }

    proptest! {
        #[test]
        fn edits_lead_from_one_to_the_other_by_the_shortest_way(
            a in prop::collection::vec(0..3_usize, 0..7),
            b in prop::collection::vec(0..3_usize, 0..7),
        ) {
            let edits = edits(&a, &b);
            let stands: Vec<usize> = edits.iter().filter_map(|edit| match *edit {
                Edit::Keep(x) | Edit::Substitute(x, _) | Edit::Delete(x) => Some(x),
                Edit::Insert(_) => None,
            }).collect();
            let read: Vec<usize> = edits.iter().filter_map(|edit| match *edit {
                Edit::Keep(x) | Edit::Substitute(_, x) | Edit::Insert(x) => Some(x),
                Edit::Delete(_) => None,
            }).collect();
            prop_assert_eq!((&stands, &read), (&a, &b));
            prop_assert_eq!(distance(&a, &b), recursive(&a, &b));
        }
    }
}
