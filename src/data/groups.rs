use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Dataset, Splits, Window};
use crate::error::{Error, Result};

/// Tells from a picture's path which group it is of: the first part in brackets of a regular expression, or all that it
/// matches. Paths are looked at below the data's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupBy(Regex);

impl GroupBy {
    /// Gives every picture its group, in place of the one that it has.
    ///
    /// Errors: if a path does not match; its picture could stand on both sides of a split.
    pub fn apply(&self, data: &mut Dataset) -> Result<()> {
        let mut known: HashMap<String, Arc<str>> = HashMap::new();
        let mut unmatched = Vec::new();
        for sample in &mut data.samples {
            let path = below(&data.root, &sample.source.to_string());
            let found = self.0.captures(&path).and_then(|c| c.get(1).or(c.get(0))).map(|m| m.as_str().to_owned());
            match found {
                Some(group) => {
                    sample.group = Some(known.entry(group).or_insert_with_key(|g| g.as_str().into()).clone())
                }
                None => unmatched.push(path),
            }
        }
        match unmatched.first() {
            None => Ok(()),
            Some(first) => {
                let count = format!("{} of {}", unmatched.len(), data.samples.len());
                let message = format!("{count} paths do not match --group-by '{self}', the first: {first}");
                Err(Error::format(&data.root, message))
            }
        }
    }
}

/// The path below the data's folder, or below that of the file that lists the pictures, with `/` between its parts.
fn below(root: &Path, path: &str) -> String {
    let folder = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let rest = path.strip_prefix(folder.to_string_lossy().as_ref()).unwrap_or(path);
    rest.replace(std::path::MAIN_SEPARATOR, "/").trim_start_matches('/').to_owned()
}

impl Dataset {
    /// A number for each picture, equal for those of one group; pictures without a group stand alone. `None` if no picture has
    /// one.
    pub fn groups(&self) -> Option<Vec<usize>> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut next = 0;
        let mut new = || {
            next += 1;
            next - 1
        };
        let names = self.samples.iter().map(|sample| sample.group.as_deref());
        let number = |name: Option<_>| match name {
            Some(name) => *numbers.entry(name).or_insert_with(&mut new),
            None => new(),
        };
        let groups: Vec<usize> = names.map(number).collect();
        (!numbers.is_empty()).then_some(groups)
    }
}

impl Splits {
    /// How its pictures are read, and which of them belong together.
    ///
    /// Errors: as [`GroupBy::apply`].
    pub fn prepare(&mut self, window: Window, group_by: Option<&GroupBy>) -> Result<()> {
        for part in [&mut self.train, &mut self.val, &mut self.test] {
            part.window = window;
            group_by.map_or(Ok(()), |group_by| group_by.apply(part))?;
        }
        Ok(())
    }
}

/// Groups with pictures in several parts: the name, and how many pictures each part has of it.
pub(super) fn shared<const N: usize>(parts: [&Dataset; N]) -> Vec<(String, [usize; N])> {
    let mut counts: BTreeMap<&str, [usize; N]> = BTreeMap::new();
    for (part, data) in parts.into_iter().enumerate() {
        for group in data.samples.iter().filter_map(|sample| sample.group.as_deref()) {
            counts.entry(group).or_insert([0; N])[part] += 1;
        }
    }
    let several = |counts: &[usize; N]| counts.iter().filter(|&&n| n > 0).count() > 1;
    counts.into_iter().filter(|(_, n)| several(n)).map(|(group, n)| (group.to_owned(), n)).collect()
}

impl PartialEq for GroupBy {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl From<GroupBy> for String {
    fn from(group_by: GroupBy) -> Self {
        group_by.to_string()
    }
}

impl TryFrom<String> for GroupBy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for GroupBy {
    type Err = Error;

    /// Errors: if it is no regular expression.
    fn from_str(text: &str) -> Result<Self> {
        let regex = Regex::new(text);
        regex.map(Self).map_err(|e| Error::config(format!("{text:?} is no regular expression of paths: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, Source};
    use super::*;

    fn data(paths: &[&str]) -> Dataset {
        let sample = |path: &&str| Sample::new(Source::File(Path::new("photos").join(path)), 0);
        Dataset { root: "photos".into(), samples: paths.iter().map(sample).collect(), ..Dataset::default() }
    }

    fn names(data: &Dataset) -> Vec<&str> {
        data.samples.iter().map(|s| s.group.as_deref().unwrap_or("")).collect()
    }

    #[test]
    fn the_first_part_in_brackets_is_the_group() {
        let mut found = data(&["ill/p1_left.png", "ill/p1_right.png", "well/p22_a.png"]);
        GroupBy::from_str(r"(p\d+)_").unwrap().apply(&mut found).unwrap();
        assert_eq!(names(&found), ["p1", "p1", "p22"]);
        assert_eq!(found.groups().unwrap(), [0, 0, 1]);
        GroupBy::from_str("^[a-z]+/").unwrap().apply(&mut found).unwrap();
        assert_eq!(names(&found), ["ill/", "ill/", "well/"]);
    }

    #[test]
    fn a_path_without_a_group_is_an_error_that_names_it() {
        let message = GroupBy::from_str(r"p(\d+)").unwrap().apply(&mut data(&["a/p1.png", "a/x.png"])).unwrap_err();
        let expected = r"photos: 1 of 2 paths do not match --group-by 'p(\d+)', the first: a/x.png";
        assert_eq!(message.to_string(), expected);
        let message = GroupBy::from_str("(").unwrap_err().to_string();
        assert!(message.contains("is no regular expression"), "{message}");
    }

    #[test]
    fn pictures_without_a_group_stand_alone() {
        let mut found = data(&["a", "b", "c", "d"]);
        assert_eq!(found.groups(), None);
        found.samples[1].group = Some("x".into());
        found.samples[3].group = Some("x".into());
        let groups = found.groups().unwrap();
        assert_eq!(groups[1], groups[3]);
        assert_eq!(groups.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }

    #[test]
    fn groups_in_several_parts_are_found() {
        let mut parts = [data(&["p1a", "p1b", "p2"]), data(&["p2b", "p3"]), data(&[])];
        parts.iter_mut().for_each(|part| GroupBy::from_str(r"p\d").unwrap().apply(part).unwrap());
        assert_eq!(shared(parts.each_ref()), [("p2".to_owned(), [1, 1, 0])]);
    }
}
