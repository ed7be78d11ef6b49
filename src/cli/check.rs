use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, catch_interrupts, interrupted, json, print, progress};
use crate::data::{Audit, Finding, GroupBy, Splits, Window, audit};
use crate::error::{Error, Result};
use crate::tasks::{RunTask, recognise, with_task};

/// Fails if a finding is serious: a picture that cannot be read, or copies in more than one part or class, groups in more than one part.
#[derive(Args)]
pub(super) struct Check {
    /// What `train` takes: a folder of class folders, a CSV, IDX or CIFAR files; pictures with masks, boxes or texts.
    data: PathBuf,
    /// What to train for: classify, segment, detect, embed, autoencode or read; without it, what the data is for.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Tell groups, patients for instance, that stand in more than one part: a regular expression of paths below DATA, whose
    /// first part in brackets is the group. A CSV's column `patient` or `group` says so too.
    #[arg(long, value_name = "REGEX")]
    group_by: Option<GroupBy>,
    /// Most lines for each finding; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    most: usize,
}

impl Check {
    pub fn run(&self, common: &Common) -> Result<()> {
        let audit = look(&self.data, self.task.as_deref(), self.group_by.as_ref(), common)?;
        if common.json {
            print(json(&audit)?)?;
        } else {
            let pictures: usize = audit.parts.iter().map(|part| part.images).sum();
            print(format!("{}: {pictures} images, {} classes", self.data.display(), audit.classes.len()))?;
            audit.findings.iter().try_for_each(|finding| self.print(finding))?;
        }
        let serious = audit.findings.iter().filter(|f| f.serious).count();
        match (serious, audit.findings.len()) {
            (0, 0) if !common.json => print("nothing to complain of"),
            (0, _) => Ok(()),
            (n, _) => {
                Err(Error::format(&self.data, format!("{n} serious {}", if n == 1 { "finding" } else { "findings" })))
            }
        }
    }

    fn print(&self, finding: &Finding) -> Result<()> {
        print(format!("\n{}  {}", if finding.serious { "error  " } else { "warning" }, finding.title))?;
        let shown = if self.most == 0 { finding.items.len() } else { self.most };
        finding.items.iter().take(shown).try_for_each(|item| print(format!("         {item}")))?;
        match finding.items.len().saturating_sub(shown) {
            0 => Ok(()),
            more => print(format!("         and {more} more")),
        }
    }
}

/// Looks at all of a data set, with a bar; without a task it is what the data is for.
pub(super) fn look(data: &Path, task: Option<&str>, group_by: Option<&GroupBy>, common: &Common) -> Result<Audit> {
    catch_interrupts()?;
    let task = task.map_or_else(|| recognise(data), Ok)?;
    let (mut splits, counts) = with_task!(task, T => opened::<T>(data))?;
    splits.prepare(Window::default(), group_by)?;
    let total = splits.train.len() + splits.val.len() + splits.test.len();
    let bar = progress::bar(common, total as u64, "looking");
    let found = audit(&splits, &counts, &|| {
        bar.inc(1);
        if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    });
    bar.finish_and_clear();
    found
}

fn opened<T: RunTask>(data: &Path) -> Result<(Splits, Vec<usize>)> {
    let splits = T::open(data, &toml::Table::new())?;
    let counts = T::class_counts(&splits.train);
    Ok((splits, counts))
}
